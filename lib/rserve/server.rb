# frozen_string_literal: true

require "tmpdir"
require "stringio"
require "rserve"
require "rserve/options"
require "rserve/configuration"
require "rserve/client"
require "rserve/server_answers"

module Rserve
  # The client went away, or would not read, while a response was being sent.
  class ConnectionError < RuntimeError; end

  # Name space of {ForceShutdown}, as gems know it.
  class ThreadPool
    # Raised into threads that are still serving when `force_shutdown_after` is over.
    class ForceShutdown < RuntimeError; end

    # Seconds that a thread has to end after {ForceShutdown} before it is killed.
    SHUTDOWN_GRACE_TIME = 5
  end

  # Serves an application inside this process: Puma's embedding API. May be run many times.
  #
  # The native core owns the connections. Ruby owns the threads: one that manages (`srv`), and the pool (`srv tp 001`).
  class Server
    include Answers

    # How often the managing thread looks at its own deadlines, in seconds.
    TICK = 0.5
    private_constant :TICK

    # Keys of {#stats}, in Puma's order.
    STAT_METHODS = %i[backlog running pool_capacity max_threads requests_count busy_threads].freeze

    # @return [Thread, nil] the managing thread
    attr_reader :thread

    attr_reader :options, :events, :log_writer, :min_threads, :max_threads, :early_hints

    # @return [Binder]
    attr_accessor :binder

    # @return [#call]
    attr_reader :app

    class << self
      # @return [Server, nil] the one that the calling thread serves for
      def current
        Thread.current.thread_variable_get(:rserve_server)
      end
    end

    # @param app [#call] a Rack application
    # @param events [Events, nil]
    # @param options [Hash, UserFileDefaultOptions] what is missing has Puma's default
    def initialize(app, events = nil, options = {})
      @app = app
      @events = events || Events.new
      @options = options.is_a?(UserFileDefaultOptions) ? options : UserFileDefaultOptions.new(options, defaults)
      @log_writer = @options[:log_writer] || LogWriter.stdio
      @min_threads = @options[:min_threads]
      @max_threads = @options[:max_threads]
      @early_hints = @options[:early_hints]
      @leak_stack_on_error = [nil, "", "development", "test"].include?(@options[:environment]&.to_s)
      @binder = Binder.new(@log_writer, @options)
      @threads = []
      @status = nil
    end

    def app=(app)
      @app = app
      @core&.app = served_app
    end

    # Serves on the listeners of `binder`, which stay its own.
    def inherit_binder(binder)
      @binder = binder
    end

    # @return [TCPServer]
    def add_tcp_listener(host, port, optimize_for_latency = true, backlog = 1024)
      @binder.add_tcp_listener(host, port, optimize_for_latency, backlog)
    end

    # @return [UNIXServer]
    def add_unix_listener(path, umask = nil, mode = nil, backlog = 1024)
      @binder.add_unix_listener(path, umask, mode, backlog)
    end

    # @return [Array<Integer>] ports of the TCP listeners
    def connected_ports
      @binder.connected_ports
    end

    # Serves until {#stop}, {#halt} or {#begin_restart}.
    #
    # @param background [Boolean] from a thread of its own
    # @param thread_name [String]
    # @return [Thread, nil] the managing thread, when in the background
    def run(background = true, thread_name: "srv")
      BasicSocket.do_not_reverse_lookup = true
      @events.fire(:state, :booting)
      @status = :run
      @thread_name = thread_name
      @core = make_core
      @core.start
      @events.fire(:state, :running)
      return supervise unless background

      @thread = Thread.new do
        Rserve.set_thread_name thread_name
        supervise
      end
    end

    # Accepts no more, answers what was accepted, then ends. Does nothing when not running.
    #
    # @param sync [Boolean] wait for the end
    def stop(sync = false)
      end_with(:stop, sync)
    end

    # Ends without answering what is still waiting.
    def halt(sync = false)
      end_with(:halt, sync)
    end

    # As {#stop}, but leaves the listeners open for the next incarnation.
    def begin_restart(sync = false)
      end_with(:restart, sync)
    end

    def shutting_down?
      %i[stop restart halt].include?(@status)
    end

    # @return [Hash{Symbol => Integer}] Puma's figures, in Puma's order
    def stats
      figures = @core ? @core.stats : Hash.new(0)
      STAT_METHODS.to_h { |name| [name, figures[name]] }
    end

    STAT_METHODS.each do |name|
      define_method(name) { stats[name] } unless method_defined?(name)
    end

    private

    def defaults
      Configuration::DEFAULTS.merge(log_writer: nil, environment: nil)
    end

    def make_core
      core = Native::Core.new(self, served_app, core_settings)
      @binder.ios.each { |io| core.add_listener(io.to_io.fileno, prototype(@binder.env(io))) }
      core
    end

    def core_settings
      settings = %i[min_threads max_threads first_data_timeout persistent_timeout idle_timeout queue_requests
                    enable_keep_alives http_content_length_limit remote_address_header early_hints]
                 .to_h { |name| [name, @options[name]] }
      keep = @options[:max_keep_alive]
      settings.merge(
        compat: @options[:compat] || CompatLevel.from_env,
        early_hints: @early_hints ? true : false,
        max_keep_alive: keep == Float::INFINITY ? nil : keep,
        remote_address_value:,
        temp_folder: Dir.tmpdir
      )
    end

    def remote_address_value
      case @options[:remote_address]
      when :localhost then "127.0.0.1"
      when :value then @options[:remote_address_value]
      end
    end

    # The application as the core calls it.
    def served_app
      return @app unless @options[:fiber_per_request] || @options[:clean_thread_locals]

      app = @app
      ->(env) { Fiber.new { app.call(env) }.resume }
    end

    # @return [Hash] every key that is in every environment of a listener; the core fills in what differs
    def prototype(env)
      https = env["HTTPS"] || env["rack.url_scheme"] == "https"
      request = %w[REQUEST_METHOD REQUEST_URI REQUEST_PATH PATH_INFO SERVER_NAME REMOTE_ADDR puma.socket rack.hijack
                   rack.after_reply rack.response_finished puma.request_body_wait].to_h { |key| [-key, nil] }
      prototype = env.transform_keys(&:-@).merge(
        "rack.url_scheme" => @options[:rack_url_scheme] || (https ? "https" : "http"),
        "rack.input" => EMPTY_INPUT,
        "rack.hijack?" => true,
        "QUERY_STRING" => "",
        "SERVER_PROTOCOL" => "HTTP/1.1",
        "SERVER_PORT" => https ? "443" : "80"
      )
      prototype["HTTP_VERSION"] = "HTTP/1.1" if http_version?
      prototype.merge(request)
    end

    def http_version?
      level = @options[:compat] || CompatLevel.from_env
      !CompatLevel.seven?(level) || (defined?(::Rack) && ::Rack.release < "3.1")
    end

    EMPTY_INPUT = NullIO.new
    private_constant :EMPTY_INPUT

    # ---- the managing thread ------------------------------------------------------------------------------------

    def supervise
      force_at = nil
      loop do
        case @core.manage(TICK)
        when :spawn then spawn_thread
        when :idle then idle_timeout_reached
        when :log then @core.notices.each { |line| @log_writer.unknown_error(nil, nil, "Listen loop: #{line}") }
        when :done then break
        end
        force_at ||= force_shutdown_time if shutting_down?
        force_at = force_shutdown(force_at) if force_at && now >= force_at
      end
      finish
    end

    # The time at which patience ends, `nil` for never.
    def force_shutdown_time
      after = @options[:force_shutdown_after]
      return if after.nil? || after.negative?

      now + after
    end

    # Raises {ThreadPool::ForceShutdown} into threads that are not done; the second time they are killed.
    #
    # @return [Float, nil] when to come again
    def force_shutdown(_due)
      alive = @threads.select(&:alive?)
      if @forced
        alive.each(&:kill)
        @core.halt
        return
      end
      @forced = true
      @core.evict
      alive.each { |thread| thread.raise ThreadPool::ForceShutdown }
      now + ThreadPool::SHUTDOWN_GRACE_TIME
    end

    def finish
      @threads.each(&:join)
      @threads.clear
      @core.join
      @binder.close unless @status == :restart || !@status
      @events.fire(:state, @status) if shutting_down?
      @events.fire(:state, :done)
    end

    def idle_timeout_reached
      return if shutting_down?
      return @options[:idle_timeout_reached].call if @options[:idle_timeout_reached]

      @log_writer.log "- Idle timeout reached"
      stop
    end

    def end_with(status, sync)
      return unless @core&.running?

      @status = status
      status == :halt ? @core.halt : @core.drain
      @thread&.join if sync && @thread != Thread.current
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # ---- the pool -----------------------------------------------------------------------------------------------

    def spawn_thread
      @threads.select!(&:alive?)
      number = (1..).find { |n| @threads.none? { |thread| thread[:rserve_number] == n } }
      @threads << Thread.new do
        Thread.current[:rserve_number] = number
        Thread.current.report_on_exception = false
        Rserve.set_thread_name Kernel.format("%s tp %03i", @thread_name, number)
        Thread.current.thread_variable_set(:rserve_server, self)
        work
      end
    end

    def work
      thread_hooks(:before_thread_start)
      @core.work
      thread_hooks(:before_thread_exit)
    rescue ThreadPool::ForceShutdown
      nil # it had nothing to serve
    rescue Exception => e # rubocop:disable Lint/RescueException
      @log_writer.unknown_error(e, nil, "Thread pool")
    ensure
      @core.leave
    end

    def thread_hooks(name)
      @options.all_of(name).each do |hook|
        hook = hook[:block] if hook.is_a?(Hash)
        hook.arity.zero? || hook.lambda? == false ? hook.call : hook.call(self)
      rescue StandardError => e
        warn "WARNING hook #{name} failed with exception (#{e.class}) #{e.message}"
      end
    end
  end
end
