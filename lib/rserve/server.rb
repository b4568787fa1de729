# frozen_string_literal: true

require "tmpdir"
require "stringio"
require "rserve"
require "rserve/config/options"
require "rserve/config/configuration"
require "rserve/process/signals"
require "rserve/server/client"
require "rserve/server/fiber_lane"
require "rserve/server/http_errors"
require "rserve/server/thread_pool"

module Rserve
  class Server
    # It is there before its parts: nothing needs to load it for them.
  end
end

require "rserve/server/answers"
require "rserve/server/collector"
require "rserve/server/front_door"
require "rserve/server/late_requests"

module Rserve
  # Serves an application inside this process: Puma's embedding API. May be run many times.
  #
  # The native core owns the connections. Ruby owns the threads: one that manages (`srv`), and the pool (`srv tp 001`).
  class Server
    include Answers
    include LateRequests
    include FrontDoor

    # How often the managing thread looks at its own deadlines, in seconds.
    TICK = 0.5
    # How long connections may bring another request to a server that ends while another generation serves, or whose
    # worker is forked anew again and again: nobody waits for its end, in seconds.
    PATIENT_GRACE = 1
    # What `env["puma.mark_as_io_bound"]` is (Puma 8) without `max_io_threads`: a request that only waits counts as any
    # other.
    COUNTS_AS_ANY = -> {}
    private_constant :TICK, :PATIENT_GRACE, :COUNTS_AS_ANY

    # Figures of the level that `RSERVE_COMPAT` asks for. Those of every level are methods, too.
    STAT_METHODS = CompatLevel.stat_names(CompatLevel.from_env).freeze

    # @return [Thread, nil] the managing thread
    attr_reader :thread

    # @return [Boolean] responses to failures show the exception and its backtrace
    attr_reader :leak_stack_on_error

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
      @options = options.is_a?(UserFileDefaultOptions) ? options : make_options(options)
      @log_writer = @options[:log_writer] || LogWriter.stdio
      @min_threads = @options[:min_threads]
      @max_threads = @options[:max_threads]
      @early_hints = @options[:early_hints]
      @leak_stack_on_error = [nil, "", "development", "test"].include?(@options[:environment]&.to_s)
      @binder = Binder.new(@log_writer, @options)
      @status = @telemetry = nil
    end

    def app=(app)
      @app = app
      @reactor&.app = served_app
    end

    # Serves on the listeners of `binder`, which stay its own.
    def inherit_binder(binder)
      @binder = binder
    end

    # @return [TCPServer]
    def add_tcp_listener(host, port, optimize_for_latency = true, backlog = 1024)
      @binder.add_tcp_listener(host, port, optimize_for_latency, backlog)
    end

    # @param context [MiniSSL::Context, nil] `nil` for the localhost gem's certificate
    # @return [TCPServer]
    def add_ssl_listener(host, port, context, optimize_for_latency = true, backlog = 1024)
      @binder.add_ssl_listener(host, port, context, optimize_for_latency, backlog)
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
      Signals.outlive_file_limit
      @events.fire(:state, :booting)
      @status = :run
      @reactor = make_reactor
      begin_collecting if collects?
      @thread_pool = ThreadPool.new(thread_name, self, @reactor, @options)
      @reactor.start
      start_fibers(thread_name) if @options[:fibers]
      follow_curtain if @generation
      spawn_minimum
      @events.fire(:state, :running)
      return supervise unless background

      @thread = Rserve.new_thread do
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

    # Goes on serving, but keeps no connection beyond its next response.
    def retire
      @reactor&.retire
    end

    # As {#halt}, also where a stop has begun, whose requests are ended.
    def cancel
      return unless @reactor

      @status = :halt
      @reactor.halt
      @thread_pool.cancel
      @fiber_lane&.cancel
    end

    # As {#stop}, but leaves the listeners open for the next incarnation.
    def begin_restart(sync = false)
      end_with(:restart, sync)
    end

    # Reads the certificates of TLS listeners again before long, whether their files have changed or not. If there is
    # anything wrong with them that is logged, and the old ones stay.
    def reload_certificates
      @certificates_wanted = true
    end

    def shutting_down?
      %i[stop restart halt].include?(@status)
    end

    # @return [Boolean] it serves with fewer threads than it wants, because no more can be made
    def short_of_threads?
      @thread_pool&.short? || false
    end

    # @return [String] the port of a request that names none
    def default_server_port(env)
      https = env["HTTPS"] || env["HTTP_X_FORWARDED_PROTO"]&.start_with?("https") ||
              env["HTTP_X_FORWARDED_SCHEME"] == "https" || env["HTTP_X_FORWARDED_SSL"] == "on"
      https ? "443" : "80"
    end

    # Changes the bounds of the thread pool while the server runs (Puma 8). Threads beyond them end with their requests.
    # Bounds that make no sense are logged, and nothing changes.
    #
    # @param min [Integer] threads that are kept without work
    # @param max [Integer] threads at most
    def update_thread_pool_min_max(min: @min_threads, max: @max_threads)
      return @log_writer.log("`min' value cannot be greater than `max' value.") if min > max
      return @log_writer.log("`min' value cannot be less than 0") if min.negative?
      return @log_writer.log("`max' value cannot be less than 1") if max < 1

      @min_threads = min
      @max_threads = max
      @reactor&.resize(min, max)
    end

    # @return [Hash{Symbol => Integer}] the level's figures, in Puma's order; before {#run}, those of an empty pool, or
    #   from level 7 on the two that there are without one
    def stats
      return { max_threads:, requests_count: } unless @reactor || CompatLevel.figures_before_run?(compat_level)

      figures = @reactor ? @reactor.take_stats : idle_stats
      figures.slice(*CompatLevel.stat_names(compat_level, tls: @binder.tls?, static: @options.key?(:static),
                                                          fibers: @options.key?(:fibers)))
    end

    CompatLevel::RELEASES.each_key.flat_map { |level| CompatLevel.stat_names(level) }.uniq.each do |name|
      define_method(name) { (@reactor ? @reactor.stats : idle_stats).fetch(name) } unless method_defined?(name)
    end

    # @api private
    # Makes it the server of a worker, before it runs.
    #
    # @param worker [#tell_idle] told when nobody came for `idle_timeout`, and when somebody comes again
    # @param link [Native::Worker] to the master and the other workers
    def serve_for(worker, link)
      @worker = worker
      @link = link
    end

    # @api private
    # @param telemetry [Native::Telemetry, nil] where operators see what it does, unless it serves for a worker
    def tell_in(telemetry)
      @telemetry = telemetry
    end

    # @api private
    # Makes it the server of a worker that takes nobody else's connections than the keeper's, until it may.
    #
    # @param generation [Succession::Generation]
    def wait_for(generation)
      @generation = generation
    end

    # @api private
    # Tells the master all figures.
    def ping
      @reactor ? @link.ping(@reactor) : @link.ping_idle(@max_threads)
    end

    private

    # The threads that are kept without work exist when {#run} returns.
    def spawn_minimum
      @thread_pool.spawn_thread while @reactor.stats[:running] < @min_threads && @reactor.manage(0) == :spawn
    end

    # Of several workers one speaks for all.
    def start_fibers(thread_name)
      @fiber_lane = FiberLane.new(thread_name, self, @reactor, @options)
      @fiber_lane.advise if [nil, 0].include?(@worker&.index)
      @fiber_lane.start
    end

    def idle_stats
      Native.idle_stats(@max_threads)
    end

    def make_options(options)
      defaults = Configuration.defaults(options[:compat] || CompatLevel.from_env)
      UserFileDefaultOptions.new(options, defaults.merge(log_writer: nil, environment: nil))
    end

    def make_reactor
      reactor = Native::Core.new(self, served_app, settings)
      @tls_listeners = @binder.ios.grep(MiniSSL::Server)
      @certificates_at = 0
      follow_certificates # a worker may be younger than they are
      # The same in all workers: they know listeners by their order.
      reactor.add_door(@generation.door.fileno, prototype(door_env), !@generation.open?) if @generation
      @binder.ios.each do |io|
        tls = io.native_context if io.is_a?(MiniSSL::Server)
        reactor.add_listener(io.to_io.fileno, prototype(@binder.env(io)), tls)
      end
      reactor.tell_in(@link || @telemetry) if @telemetry
      reactor.balance(@link) if @link && @options[:wait_for_less_busy_worker].to_f.positive?
      reactor
    end

    def door_env
      @binder.proto_env.merge("REMOTE_ADDR" => Const::LOCALHOST_IP)
    end

    # The door of a server that waits is its only listener; then the others are, too.
    def follow_curtain
      reactor = @reactor
      Rserve.new_thread do
        Rserve.set_thread_name "curtain"
        @generation.wait_until_open
        reactor.open
      end
    end

    def settings
      settings = %i[max_io_threads first_data_timeout persistent_timeout idle_timeout queue_requests
                    enable_keep_alives http_content_length_limit write_timeout unread_limit stuck_after
                    request_timeout hard_request_timeout queue_time_limit queue_limit shed_exempt
                    remote_address_header early_hints http2]
                 .to_h { |name| [name, @options[name]] }
      keep = @options[:max_keep_alive]
      settings.merge(
        min_threads: @min_threads,
        max_threads: @max_threads,
        compat: compat_level,
        early_hints: @early_hints ? true : false,
        out_of_band: !@options.all_of(:out_of_band).empty?,
        collects: collects?,
        supported_http_methods: supported_methods,
        drain_grace: (Succession::Generation.current || @options[:refork_after]) && PATIENT_GRACE,
        proxy_protocol:,
        proxies: @options[:proxy_protocol_from],
        poses_as_puma: Rserve.poses_as_puma?,
        strict: @options[:strict],
        strict_host: @options[:strict_host] || CompatLevel.requires_host?(compat_level),
        show_version: !http_version?,
        strict_framing: @options[:strict_framing],
        request_start: @options[:request_start],
        hide_underscores: @options[:allow_underscore_headers] == false,
        max_keep_alive: keep == Float::INFINITY ? nil : keep&.ceil,
        remote_address_value:,
        temp_folder: Dir.tmpdir,
        stream_uploads: @options[:stream_uploads],
        fibers: @options[:fibers]&.then { |fibers| [fibers[:routes], fibers[:max]] },
        **front_door_settings
      )
    end

    def remote_address_value
      case @options[:remote_address]
      when :localhost then "127.0.0.1"
      when :value then @options[:remote_address_value]
      end
    end

    # @return [Array<String>, nil] `nil` for any
    def supported_methods
      methods = @options[:supported_http_methods]
      methods = methods.keys if methods.is_a?(Hash)
      methods == :any ? nil : methods || Const::SUPPORTED_HTTP_METHODS
    end

    # @return [Integer, nil] version of the PROXY protocol
    def proxy_protocol
      return unless @options[:remote_address] == :proxy_protocol

      @options[:remote_address_proxy_protocol] == :v2 ? 2 : 1
    end

    # @return [Integer] 6 to 9
    def compat_level
      @options[:compat] || CompatLevel.from_env
    end

    # The application as the core calls it.
    def served_app
      return @app unless @options[:fiber_per_request] || @options[:clean_thread_locals]

      app = @app
      return ->(env) { Fiber.new { app.call(env) }.resume } unless @options[:fibers]

      # In the fiber lane each request has a fiber of its own already.
      ->(env) { Fiber.current_scheduler ? app.call(env) : Fiber.new { app.call(env) }.resume }
    end

    def io_threads?
      @options[:max_io_threads]&.positive?
    end

    # @return [Hash] what every environment of a listener begins with; the core adds what each request has of its own
    def prototype(env)
      https = env["HTTPS"] || env["rack.url_scheme"] == "https"
      prototype = env.transform_keys(&:-@).merge(
        "rack.url_scheme" => @options[:rack_url_scheme] || (https ? "https" : "http"),
        "rack.input" => EMPTY_INPUT,
        "rack.hijack?" => true,
        "puma.request_body_wait" => 0.0,
        "QUERY_STRING" => "",
        "SERVER_PORT" => https ? "443" : "80"
      )
      prototype["HTTP_VERSION"] = "" if http_version?
      prototype["puma.peercert"] = nil if https
      # What each request gets a value of has its place here: one entry more would make the copy grow.
      prototype["rserve.timeout"] = nil if @options[:request_timeout] || @options[:hard_request_timeout]
      prototype["HTTP_X_REQUEST_START"] = nil if @options[:request_start]
      prototype["sendfile.type"] = "X-Sendfile" if @options[:x_sendfile]
      prototype["puma.mark_as_io_bound"] = COUNTS_AS_ANY if CompatLevel.marks_io_bound?(compat_level) || io_threads?
      prototype
    end

    def http_version?
      CompatLevel.always_http_version?(compat_level) || (defined?(::Rack.release) && ::Rack.release < "3.1")
    end

    EMPTY_INPUT = NullIO.new
    private_constant :EMPTY_INPUT

    # ---- the managing thread ------------------------------------------------------------------------------------

    def supervise
      loop do
        case @reactor.manage(TICK)
        when :spawn then @thread_pool.spawn_thread
        when :idle then idle_timeout_reached
        when :busy then @worker&.tell_idle(false)
        when :log then @reactor.notices.each { |notice| log_notice(notice) }
        when :late then @reactor.take_late.each { |late| tell_late(*late) }
        when :drain then begin_shutdown
        when :done then break
        end
        shutting_down? ? force : @thread_pool.trim
        @fiber_lane&.revive
        follow_certificates
        @reactor.tick_garbage if @collector
      end
      finish
    end

    # Certificates are replaced while the server runs: new connections get the new ones.
    def follow_certificates
      now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      return if @tls_listeners.empty? || @certificates_at > now

      @certificates_at = now + TICK
      wanted = @certificates_wanted
      @certificates_wanted = false
      @tls_listeners.each { |listener| renew_certificates(listener, wanted) }
    end

    def renew_certificates(listener, wanted)
      changed = listener.reload_changed
      @log_writer.log "* New certificates on port #{listener.addr[1]}" if changed && !listener.closed?
      listener.reload if wanted && !changed
    rescue MiniSSL::SSLError => e
      @log_writer.log "! The new certificates are of no use, the old ones stay: #{e.message}"
    end

    # The core has taken what waited at the listeners: new clients are to be refused, not left waiting.
    def begin_shutdown
      @binder.close unless @status == :restart
      @thread_pool.shut_down(@options[:force_shutdown_after])
      @fiber_lane&.shut_down(@options[:force_shutdown_after])
    end

    def force
      @thread_pool.force
      @fiber_lane&.force
    end

    def collects?
      @options[:gc] == :out_of_band && Collector.possible?
    end

    def begin_collecting
      @collector = Collector.new
      @collector.take_over
    end

    def finish
      @collector&.give_back
      @binder.close unless @status == :restart || !shutting_down?
      # A halt does not wait for the application, and a stop does not wait for a request that hangs.
      unless @status == :halt
        @thread_pool.join(@reactor.hung_threads)
        @fiber_lane&.join
      end
      @reactor.join
      @events.fire(:state, @status) if shutting_down?
      @events.fire(:state, :done)
    end

    def idle_timeout_reached
      return if shutting_down?
      return @worker.tell_idle(true) if @worker

      @log_writer.log "- Idle timeout reached"
      stop
    end

    def end_with(status, sync)
      if @reactor&.running?
        @status = status
        @thread_pool.dump_backtraces("Shutdown initiated") if @options[:shutdown_debug] == true
        status == :halt ? @reactor.halt : @reactor.drain
      end
      # Also when another thread began it: a caller that waits must not return before the last request is answered.
      @thread&.join if sync && @thread != Thread.current
    end
  end
end
