# frozen_string_literal: true

require "rserve/operator/helper_process"
require "rserve/server/binder"

module Rserve
  # The operator's port (`health_bind`): opens it, has the core serve it, and hands it on over a hot restart.
  #
  # In single mode a native thread serves it. The master of a cluster must not have one, for it forks: there a process
  # of its own does, which never loads the application.
  class OperatorPort
    # `FD:PID` of the process that serves the port when this program is executed: it ends when that descriptor is
    # closed.
    FORMER = "RSERVE_OPERATOR"
    private_constant :FORMER

    # @param launcher [Launcher]
    # @param urls [Array<String>]
    # @param env [Hash, ENV]
    def initialize(launcher, urls, env)
      @launcher = launcher
      @options = launcher.options
      @urls = urls
      @former, @former_pid = former(env)
      @binder = Binder.new(launcher.log_writer, @options)
    end

    # Is there to be one?
    def wanted?
      !@urls.empty?
    end

    # Opens the listeners.
    #
    # @param inherited [Binder] has what an earlier incarnation left open
    # @raise [OperatorError]
    def open(inherited)
      @binder.inherit_from(inherited, @urls)
      @binder.parse(@urls, nil, "Operator's port")
    end

    # Serves from now on.
    def serve
      Process.detach(@former_pid) if @former
      return unless wanted?

      @launcher.clustered? ? start_process : start_thread
    ensure
      @former&.close
    end

    # The server is another process from now on.
    def follow_fork
      return unless started?

      @process ? @process.follow_fork : start_thread
    end

    # A worker has nothing to do with it.
    def close_in_child
      @process&.close_in_child
      @binder.close
    end

    # Ends it, and waits for that.
    def stop
      return @binder.close if @launcher.generation && !started? # another generation serves there

      (@process || @thread)&.stop
      @binder.close_listeners
    end

    # Leaves it to the next generation.
    def abandon
      @process&.stop
      @process = nil
      @binder.close
    end

    # @return [Array<Array(String, String, String, IO)>] as {Binder#handover}
    def handover
      @binder.handover
    end

    # This process is about to execute itself anew. The port's process goes on until the next one serves; a thread ends
    # here, and who comes meanwhile waits in the listener's queue.
    #
    # @param main [Binder] hands the listeners on
    # @param env [Hash] of the next incarnation
    # @return [Array<IO>] what else it is to have
    def hand_on(main, env)
      main.hand_on(@binder)
      @thread&.stop
      return [] unless @process

      @process.let_go
      env[FORMER] = "#{@process.lifeline.fileno}:#{@process.pid}"
      [@process.lifeline]
    end

    private

    # @return [Array(IO, Integer), nil]
    def former(env)
      value = env.delete(FORMER) or return
      fd, pid = value.match(/\A(\d{1,9}):(\d{1,9})\z/)&.captures&.map { |number| Integer(number, 10) }
      raise StaleVariable.new(FORMER, value) unless fd

      lifeline = IO.for_fd(fd)
      lifeline.close_on_exec = true
      [lifeline, pid]
    rescue Errno::EBADF, ArgumentError # not open, or Ruby's own
      raise StaleVariable.new(FORMER, value)
    end

    def started?
      !(@process || @thread).nil?
    end

    def start_thread
      listeners = @binder.ios.map { |io| "listener=#{io.fileno}" }
      backtraces = @launcher.backtraces if token
      arguments = [*listeners, *facts, *("token=#{token}" if token)]
      @thread = Native::OperatorPort.new(@launcher.telemetry, backtraces, arguments)
      answer_questions(backtraces) if backtraces
    end

    # Whoever has the token asks where the threads of this process are. What cannot be told must not end this.
    def answer_questions(backtraces)
      backtraces.listen
      Rserve.new_thread do
        Rserve.set_thread_name "backtraces"
        loop do
          backtraces.hear
          backtraces.answer(@launcher.backtraces_of(0))
        rescue StandardError => e
          @launcher.log_writer.unknown_error(e, nil, "Backtraces")
        end
      end
    end

    def start_process
      fds = @binder.ios.to_h { |io| [io.fileno, "listener"] }
      fds[@launcher.telemetry.fileno] = "telemetry"
      fds.update(@launcher.backtraces.filenos.zip(%w[bell answers]).to_h) if token
      @process = HelperProcess.new(@launcher.log_writer, title:, arguments: facts, fds:, token:)
      @process.start(@former)
    end

    def title
      tag = @options[:tag].to_s
      name = "#{Rserve.process_name}: operator: #{Process.pid}"
      tag.empty? ? name : "#{name} [#{tag}]"
    end

    # @return [String, nil] what whoever asks for backtraces has to know; without it nobody gets them
    def token
      token = @options[:control_auth_token].to_s
      token unless ["", "none"].include?(token)
    end

    def facts
      saturation = @options[:ready_saturation]
      ["identity=#{Rserve.identity}", "version=rserve #{VERSION}", "version=puma #{Const::PUMA_VERSION}",
       "version=#{RUBY_DESCRIPTION}", *("ready_saturation=#{saturation}" if saturation)]
    end
  end
end
