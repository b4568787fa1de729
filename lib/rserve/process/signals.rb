# frozen_string_literal: true

module Rserve
  # Turns signals into calls on an ordinary thread: in a trap handler neither locks nor most of the library work, and
  # hooks of the application must not run there.
  #
  # Handlers go through `Signal.trap`, so that an application's own traps and these see each other.
  class Signals
    PURPOSES = {
      "TERM" => "gracefully stopping", "INT" => "stopping", "HUP" => "logs reopening", "USR1" => "phased restart",
      "USR2" => "restart", "URG" => "refork", "INFO" => "thread dump", "PWR" => "thread dump"
    }.freeze
    private_constant :PURPOSES

    NOTHING = proc {}
    private_constant :NOTHING

    # Beyond the limit of a file (`ulimit -f`) writing fails, and does not end the process: how long a body is that
    # goes to a file is up to a client. A trap, since programs that the application starts would inherit that it is
    # ignored.
    def self.outlive_file_limit
      previous = Signal.trap("XFSZ", NOTHING)
      Signal.trap("XFSZ", previous) unless %w[DEFAULT SYSTEM_DEFAULT].include?(previous)
    rescue ArgumentError
      nil # the system knows no such signal
    end

    def initialize(log_writer)
      @log_writer = log_writer
      @pid = Process.pid
      @queue = Thread::Queue.new
      @handlers = {}
      @in_child = {}
      @previous = {}
      start
    end

    # Calls the block each time the signal arrives, one signal after the other.
    #
    # @param name [String] without `SIG`
    # @param in_child [#call, nil] called instead, and from the trap, in a process forked from this one that has not
    #   set its own traps yet
    def on(name, in_child: nil, &handler)
      @handlers[name] = handler
      @in_child[name] = in_child
      previous = trap(name)
      @previous[name] ||= previous
    rescue ArgumentError
      @log_writer.log("*** SIG#{name} not implemented, signal based #{PURPOSES.fetch(name, "control")} unavailable!")
    end

    # Takes signals back from an application that has set traps of its own for them.
    #
    # @param names [Array<String>]
    def take_back(*names)
      (names & @previous.keys).each { |name| trap(name) }
    end

    # As if the signal had come.
    def deliver(name)
      @queue << name if @handlers.key?(name)
    end

    # `Process.daemon`, and whatever else goes on in a child, leaves the thread behind.
    def follow_fork
      return if @pid == Process.pid

      @pid = Process.pid
      start
    end

    # Puts the handlers back that were there before. Signals that arrived are still handled.
    #
    # @param for_good [Boolean] the process ends now: only what could end it sooner is put back, other signals mean
    #   nothing any more
    def close(for_good: false)
      previous = for_good ? last_traps : @previous
      previous.each { |name, handler| Signal.trap(name, handler || "DEFAULT") }
      @queue << nil
    end

    private

    # Ruby's own trap of INT would end what is still to be done, too, but with a backtrace.
    def last_traps
      @previous.slice("INT", "TERM").to_h do |name, handler|
        default = handler.nil? || %w[DEFAULT SYSTEM_DEFAULT].include?(handler)
        [name, name == "INT" && default ? proc { exit 130 } : handler]
      end
    end

    def start
      Rserve.new_thread do
        Rserve.set_thread_name "signals"
        dispatch
      end
    end

    def trap(name)
      Signal.trap(name) { Process.pid == @pid ? @queue << name : @in_child[name]&.call }
    end

    def dispatch
      while (name = @queue.pop)
        begin
          @handlers.fetch(name).call
        rescue StandardError => e
          @log_writer.unknown_error(e, nil, "SIG#{name} handler")
        end
      end
    end
  end
end
