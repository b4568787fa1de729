# frozen_string_literal: true

require "rserve/dsl/fibers"
require "rserve/dsl/front_door"
require "rserve/dsl/retirement"
require "rserve/dsl/unknown_words"

module Rserve
  class DSL
    # The words of a `rserve do … end` block: what Puma does not have. One config file can serve both:
    #
    # @example
    #   rserve { compat 8 } if respond_to?(:rserve)
    class OwnWords
      include UnknownWords
      include Retirement
      include FrontDoor
      include Fibers

      # @return [String, nil] the config file being evaluated
      attr_reader :path

      # @param dsl [DSL] the words around the block
      # @param options [Hash] the layer to write
      def initialize(dsl, options)
        @dsl = dsl
        @options = options
        @path = dsl.path
      end

      # As `puma_compat`.
      #
      # @param level [Integer] 6 to 9
      def compat(level)
        @dsl.puma_compat(level)
      end

      # How long a client may leave a response unread before its connection is closed.
      #
      # The default is 10 seconds, as Puma has it without a word for it.
      #
      # @param seconds [Numeric]
      def write_timeout(seconds)
        @options[:write_timeout] = Float(seconds)
      end

      # How long the application may have a request before the log says so: how many threads have had one for so long,
      # and which is the oldest. A body that is being sent does not count. `false` for never.
      #
      # The default is 60 seconds.
      #
      # @param seconds [Numeric, false]
      def stuck_after(seconds)
        @options[:stuck_after] = seconds ? Float(seconds) : 0.0
      end

      # How long the application may have a request, from when a thread gives it the request until it gives its
      # response; a body that is being sent does not count. Then the log tells where the thread is, and
      # {#on_request_timeout} is called. Nothing is raised in the thread.
      #
      # With `hard`, the client gets 504 after that time, and the worker is replaced: its other requests are finished
      # first. Without workers, another thread takes the place of the one that hangs.
      # `env["rserve.timeout"].extend(10)` gives a request 10 seconds more.
      #
      # The default is `false`, for ever.
      #
      # @example
      #   request_timeout 30, hard: 60
      # @param seconds [Numeric, false]
      # @param hard [Numeric, nil]
      def request_timeout(seconds, hard: nil)
        soft = seconds ? positive(:request_timeout, seconds) : nil
        hard &&= positive(:request_timeout, hard)
        raise ArgumentError, "request_timeout: hard needs a time before it" if hard && !soft
        if hard && hard <= soft
          raise ArgumentError, "request_timeout: hard must be more than the #{soft} seconds before it"
        end

        @options[:request_timeout] = soft
        @options[:hard_request_timeout] = hard
      end

      # Runs the block when a request takes longer than {#request_timeout}, on a thread of its own.
      #
      # @yieldparam env [Hash] of the request
      # @yieldparam thread [Thread] that has it
      # @yieldparam seconds [Float] for so long
      def on_request_timeout(&block)
        raise ArgumentError, "expected on_request_timeout to be given a block" unless block

        (@options[:on_request_timeout] ||= []) << block
      end

      # How long a complete request may wait for a thread: after that it is answered 503 and never reaches the
      # application.
      #
      # The default is `false`, for ever.
      #
      # @param seconds [Numeric, false]
      def queue_time_limit(seconds)
        @options[:queue_time_limit] = seconds ? positive(:queue_time_limit, seconds) : nil
      end

      # How many complete requests may wait for a thread of a process: those that come then are answered 503 at once.
      #
      # The default is `false`, any number.
      #
      # @param requests [Integer, false]
      def queue_limit(requests)
        requests = requests ? Integer(requests) : nil
        Numbers.in_range(:queue_limit, requests, least: 0) if requests

        @options[:queue_limit] = requests
      end

      # Requests for these paths wait for as long as it takes, whatever {#queue_time_limit} and {#queue_limit} say. A
      # path that ends with `*` stands for all that begin so.
      #
      # @example
      #   shed_exempt "/up", "/admin/*"
      # @param paths [Array<String>] as clients send them, without a query
      def shed_exempt(*paths)
        wrong = paths.find { |path| !path.is_a?(String) || !path.start_with?("/") }
        raise ArgumentError, "shed_exempt takes paths that begin with a slash, not #{wrong.inspect}" if wrong

        (@options[:shed_exempt] ||= []).concat(paths)
      end

      # How much clients may leave unread of their responses, all clients of a process together, in memory and temporary
      # files. When it is more those that read most slowly are cut off.
      #
      # The default is 268435456 (256 MiB).
      #
      # @param octets [Integer]
      def unread_limit(octets)
        octets = Integer(octets)
        @options[:unread_limit] = Numbers.in_range(:unread_limit, octets, least: 0, most: (2**63) - 1)
      end

      # Whether to be as strict with requests as RFC 9110 and 9112 let a server be: {#strict_host}, {#strict_framing},
      # and of the rest what docs/http.md lists.
      #
      # The default is false.
      def strict(answer = true)
        @options[:strict] = @options[:strict_host] = @options[:strict_framing] = answer
      end

      # Whether a request on HTTP/1.1 must name its host (RFC 9112 §3.2). One that does not is answered 400.
      #
      # The default is false, as in Puma.
      def strict_host(answer = true)
        @options[:strict_host] = answer
      end

      # Whether to refuse requests with both `Content-Length` and `Transfer-Encoding`, or with a transfer coding other
      # than `chunked`. A proxy in front that reads the wrong one of the two could be made to smuggle requests.
      #
      # The default is false, as in Puma: `chunked` decides, and the connection is closed after such a request.
      def strict_framing(answer = true)
        @options[:strict_framing] = answer
      end

      # Whether clients may speak HTTP/2: on `ssl://` listeners those that choose it (ALPN), on others those that begin
      # with it (prior knowledge). docs/http2.md has what is then different for an application, and the limits.
      #
      # The default is false.
      def http2(answer = true)
        @options[:http2] = answer
      end

      # What the server's core tells of its doings in the log: `:off`, `:error`, `:warn`, `:info`, `:debug`, `:trace`,
      # or a String with levels of its parts. `RSERVE_LOG` in the environment beats it.
      #
      # The default is `:off`. The lines that Puma has, too, are written whatever this says.
      #
      # @example
      #   rserve { log_level "warn,rserve_core::net=debug" }
      # @raise [ArgumentError] when it is none of these
      def log_level(level)
        @options[:log_level] = Native.check_log_filter(level.to_s)
      end

      # Whether to write a line for each request at the end of its response, and where: `true` for the standard
      # output, or a file, which HUP opens anew. docs/logs.md has what it tells.
      #
      # The default is false. It is written by the core, for requests too that never reach the application, and costs
      # no Ruby; `log_requests` is Puma's.
      #
      # @param answer [Boolean, String]
      def access_log(answer = true)
        @options[:access_log] = answer
      end

      # Whether operators see what the server does: its metrics, and what each thread has in hand, by the control server
      # and `rservectl`.
      #
      # The default is false.
      def telemetry(answer = true)
        @options[:telemetry] = answer
      end

      # Whether a request that comes without `X-Request-Start` gets one, in its environment: when its head was
      # complete, as `t=1700000000.123`.
      #
      # The default is false.
      def request_start(answer = true)
        @options[:request_start] = answer
      end

      # Which share of the requests that went well has a line in the {#access_log}, between 0 and 1. Every one has that
      # was answered with a status from 400 on, was not answered in full, or was not served at all.
      #
      # The default is 1.
      #
      # @param share [Numeric]
      def log_sample(share)
        share = Float(share)
        raise ArgumentError, "log_sample must be from 0 to 1, not #{share}" unless share.between?(0, 1)

        @options[:log_sample] = share
      end

      # How log lines are written: as `:text`, or as `:json`, one object a line with `time`, `level`, `msg` and `pid`.
      #
      # The default is `:text`. A `log_formatter` beats it for the lines that Puma has, too.
      def log_format(format)
        one_of(format, :log_format, :text, :json)
        @options[:log_format] = format
      end

      # Whether a preloaded application's memory is collected and compacted before the first fork (`Process.warmup`,
      # Ruby 3.3 and later), so that workers share more of it. C extensions that cannot be compacted want `false`.
      #
      # The default is false: a heap without room costs each worker several full collections before it has grown again.
      def process_warmup(answer = true)
        @options[:process_warmup] = answer
      end

      # When garbage is collected in full: `:out_of_band` keeps that out of requests. A worker that needs it leaves new
      # and kept connections to the others, finishes what it has, collects, and comes back; without others it collects
      # when nobody waits. After two seconds, or when the heap has grown by half, it collects in any case.
      #
      # The default is `:in_band`: Ruby decides. From Ruby 3.4 on it can be told to wait; 3.3 says that one is due;
      # before, this has no effect.
      #
      # @param how [Symbol] `:out_of_band` or `:in_band`
      def gc(how)
        one_of(how, :gc, :out_of_band, :in_band)
        @options[:gc] = how
      end

      # Opens the operator's port: `/livez`, `/readyz`, `/metrics`, `/threads` and `/status` over HTTP, which are
      # answered whatever the application does. docs/operate.md has what they tell. Who can reach it needs no token.
      #
      # @example
      #   health_bind "tcp://127.0.0.1:9394"
      # @param urls [Array<String>] `tcp://HOST:PORT` or `unix://PATH`
      def health_bind(*urls)
        urls.each do |url|
          unless url.match?(%r{\A(?:tcp|unix)://})
            raise ArgumentError, "health_bind must be tcp://HOST:PORT or unix://PATH, not #{url.inspect}"
          end
        end
        (@options[:health_bind] ||= []).concat(urls)
      end

      # How long all threads may be busy while requests wait before `/readyz` says `saturated`.
      #
      # The default is never. Who takes instances that are busy out of the rotation leaves the others with more to do.
      #
      # @param seconds [Numeric]
      def ready_saturation(seconds)
        @options[:ready_saturation] = not_negative(:ready_saturation, seconds)
      end

      # How long everything goes on after TERM: `/readyz` says `draining`, requests are taken, and responses say
      # `Connection: close`. Then the server stops. A second signal ends the wait.
      #
      # The default is 0. Kubernetes and load balancers need some seconds to stop sending requests here.
      #
      # @param seconds [Numeric]
      def shutdown_delay(seconds)
        @options[:shutdown_delay] = not_negative(:shutdown_delay, seconds)
      end

      # What the process is called: `:rserve` or `:puma`. Gems that look for `puma` in `$0` (New Relic, Scout, GitLab's
      # exporter) find it there with `:puma`; titles of processes are Puma's then, too.
      #
      # The default is `:rserve`, or `:puma` where rserve was started by that name.
      def process_name(name)
        one_of(name, :process_name, :rserve, :puma)
        Rserve.go_by(name)
      end

      # Whether a restart starts another generation of the server, which proves itself before the last one goes. For
      # clusters with `preload_app!` and without `fork_worker`; elsewhere, as under `bin/rails server`, of no effect.
      #
      # The default is false.
      #
      # @example
      #   overlap_restart
      #   restart_ready path: "/up"
      def overlap_restart(answer = true)
        @options[:overlap_restart] = answer
      end

      # What a new generation is asked for before it serves; a response below 400 counts. Without it, it is ready when
      # its workers have booted.
      #
      # @param path [String]
      # @param timeout [Numeric] seconds that it may take after it has booted
      # @param interval [Numeric] seconds between two questions
      def restart_ready(path:, timeout: 30, interval: 1)
        raise ArgumentError, "restart_ready path: must begin with /" unless path.match?(%r{\A/[^\s]*\z})

        @options[:restart_ready] = { path:, timeout: positive(:timeout, timeout),
                                     interval: positive(:interval, interval) }
      end

      # How many workers are started, and ended, at a time in a restart that overlaps, or `:all`: memory holds so many
      # workers more than before.
      #
      # The default is 1.
      #
      # @param workers [Integer, Symbol]
      def restart_step(workers)
        unless workers == :all || (workers.is_a?(Integer) && workers.positive?)
          raise ArgumentError, "restart_step must be a positive number or :all, not #{workers.inspect}"
        end

        @options[:restart_step] = workers
      end

      # How long a new generation must live, ready, before it serves.
      #
      # The default is 5 seconds.
      #
      # @param seconds [Numeric]
      def restart_settle(seconds)
        seconds = Float(seconds)
        raise ArgumentError, "restart_settle must not be negative" if seconds.negative?

        @options[:restart_settle] = seconds
      end

      # How long the requests of the last generation may take when another one serves.
      #
      # The default is 30 seconds. `worker_shutdown_timeout` bounds them as well.
      #
      # @param seconds [Numeric]
      def restart_drain(seconds)
        @options[:restart_drain] = positive(:restart_drain, seconds)
      end

      # The PROXY protocol that load balancers in front speak: who the client is comes before its first request.
      #
      # @example
      #   proxy_protocol :v2, from: %w[10.0.0.0/8 fd00::/8]
      # @param version [Symbol] `:v1` or `:v2`
      # @param from [Array<String>] addresses and networks of the load balancers; empty for any client
      def proxy_protocol(version, from: [])
        one_of(version, :proxy_protocol, :v1, :v2)
        @options[:remote_address] = :proxy_protocol
        @options[:remote_address_proxy_protocol] = version
        @options[:proxy_protocol_from] = Array(from).each { |network| check_network(network) }
      end

      private

      def one_of(given, word, first, second)
        return if [first, second].include?(given)

        raise ArgumentError, "#{word} must be #{first.inspect} or #{second.inspect}, not #{given.inspect}"
      end

      def not_negative(word, seconds)
        seconds = Float(seconds)
        raise ArgumentError, "#{word} must not be negative" if seconds.negative?

        seconds
      end

      def positive(word, seconds)
        seconds = Float(seconds)
        raise ArgumentError, "#{word} must be more than 0 seconds" unless seconds.positive?

        seconds
      end

      def check_network(network)
        require "ipaddr"
        IPAddr.new(network)
      rescue IPAddr::Error
        raise ArgumentError, "proxy_protocol from #{network.inspect}: not an address or ADDRESS/BITS"
      end
    end
  end
end
