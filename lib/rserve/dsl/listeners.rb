# frozen_string_literal: true

require "rserve/puma/util"

module Rserve
  class DSL
    # Words about what the server listens on, and what it takes for its peers' addresses.
    module Listeners
      # For messages about a URL that cannot be.
      BINDABLE = "tcp://HOST:PORT, unix:///PATH and ssl://HOST:PORT?… can be bound"

      # Listens at a URL; each call adds one.
      #
      # The default is "tcp://0.0.0.0:9292".
      #
      # @example
      #   bind "tcp://127.0.0.1:3000"
      #   bind "unix:///var/run/puma.sock?umask=0111&backlog=512"
      #   bind "unix://@abstract"
      #   bind "ssl://0.0.0.0:9292?key=path_to_key&cert=path_to_cert"
      # @raise [ConfigError] when it is nothing of the kind
      def bind(url)
        refuse_unbindable(url)
        (@options[:binds] ||= []) << url
      end

      # Forgets the binds so far.
      def clear_binds!
        @options[:binds] = []
      end

      # Listens for TCP on a port.
      #
      # @param port [#to_i, String]
      # @param host [String, nil] the default host unless given
      def port(port, host = nil)
        bind(Listeners.tcp_url(host || default_host, Integer(port)))
      end

      # Also listens on the sockets systemd opened for the service.
      #
      # @param bind [true, false, "only"] "only" drops every other bind
      def bind_to_activated_sockets(bind = true)
        @options[:bind_to_activated_sockets] = bind
      end

      # Listens for TLS. Certificates are read again when their files change; connections that are open keep theirs.
      #
      # @example
      #   ssl_bind "127.0.0.1", "9292", cert: "server.crt", key: "server.key", verify_mode: "peer", ca: "ca.crt"
      #   ssl_bind "127.0.0.1", "9292", cert_pem: File.read("server.crt"), key_pem: File.read("server.key")
      # @example for clients that ask for another name
      #   ssl_bind "0.0.0.0", "443", cert: "a.crt", key: "a.key", sni: [{ cert: "b.crt", key: "b.key" }]
      # @param opts [Hash] `cert`, `key` (paths) or `cert_pem`, `key_pem`, `key_password_command`, `ca`, `verify_mode`
      #   ("none", "peer", "force_peer"), `verification_flags`, `ssl_cipher_filter`, `ssl_ciphersuites`, `no_tlsv1`,
      #   `no_tlsv1_1`, `reuse`, `backlog`, `low_latency`, `sni`
      def ssl_bind(host, port, opts = {})
        keep_pem_in_store(opts)
        bind(Listeners.ssl_url(host, port, opts))
      end

      # Where `REMOTE_ADDR` comes from.
      #
      # The default is `:socket`.
      #
      # @example
      #   set_remote_address :localhost
      #   set_remote_address header: "X-Real-IP"
      #   set_remote_address proxy_protocol: :v1
      #   set_remote_address "10.0.0.1"
      # @raise [ArgumentError] for anything else
      def set_remote_address(value = :socket)
        case value
        when :socket, :localhost then @options[:remote_address] = value
        when String
          @options[:remote_address] = :value
          @options[:remote_address_value] = value
        when Hash then remote_address_from(value)
        else
          raise ArgumentError, "Invalid value for set_remote_address: #{value.inspect}"
        end
      end

      # Forces `rack.url_scheme`, for an application behind a proxy that does not say.
      def rack_url_scheme(scheme = nil)
        @options[:rack_url_scheme] = scheme
      end

      # How sockets are waited for. There is one way here, so this is taken and left unused.
      def io_selector_backend(backend)
        @options[:io_selector_backend] = backend.to_sym
      end

      # The host that `port` binds when it is given none.
      def set_default_host(host)
        @options[:default_host] = host
      end

      # @return [String] see {#set_default_host}; else any host
      def default_host
        @options[:default_host] || @config._options[:tcp_host]
      end

      class << self
        # @return [String] `tcp://host:port`, an IPv6 address in brackets
        def tcp_url(host, port)
          "tcp://#{bracketed(host)}:#{port}"
        end

        # @param opts [Hash] TLS options: `cert`, `key`, `verify_mode` ("none" unless given), `ca`, …
        # @return [String] `ssl://` URL whose query holds the options; paths are escaped
        def ssl_url(host, port, opts)
          pair = [*query_part("cert", opts[:cert], escape: true), *query_part("key", opts[:key], escape: true)]
          parts = [pair.join("&"), "verify_mode=#{opts.fetch(:verify_mode, "none")}"]
          %i[ca key_password_command].each { |name| parts.concat(query_part(name, opts[name], escape: true)) }
          parts.concat(query_part(:reuse, session_cache(opts[:reuse])))
          parts.concat(query_part(:sni, more_certificates(opts[:sni]), escape: true))
          %i[ssl_cipher_filter ssl_ciphersuites no_tlsv1 no_tlsv1_1 verification_flags backlog low_latency]
            .each { |name| parts.concat(query_part(name, opts[name])) }
          "ssl://#{bracketed(host)}:#{port}?#{parts.join("&")}"
        end

        private

        # An IPv6 address, as URLs have it.
        def bracketed(host)
          host.count(":") > 1 && !host.start_with?("[") ? "[#{host}]" : host
        end

        def query_part(name, value, escape: false)
          return [] if value.nil? || (value == false && name.to_s.start_with?("no_"))

          value = Array(value).join(",")
          ["#{name}=#{escape ? Util.escape(value) : value}"]
        end

        def more_certificates(pairs)
          pairs&.flat_map { |pair| pair.fetch_values(:cert, :key) }
        end

        def session_cache(reuse)
          case reuse
          when true then "dflt"
          when Hash then [reuse[:size], *([reuse[:timeout]] if reuse[:timeout])].join(",")
          else reuse
          end
        end
      end

      private

      def refuse_unbindable(url)
        return if url.to_s.match?(/\A(?:tcp|unix|ssl):[^[:cntrl:]]*\z/i)

        raise ConfigError, "#{place}Invalid URI: #{url.to_s.inspect[1..-2]} (#{BINDABLE})"
      end

      # A URL cannot hold a certificate, so the text goes into the store and the URL says where.
      def keep_pem_in_store(opts)
        %i[cert key].each do |name|
          pem = opts[:"#{name}_pem"]
          next unless pem

          store = (@options[:store] ||= [])
          store << pem
          opts[name] = "store:#{store.size - 1}"
        end
      end

      def remote_address_from(source)
        if (header = source[:header])
          @options[:remote_address] = :header
          @options[:remote_address_header] = "HTTP_#{header.upcase.tr("-", "_")}"
        elsif source[:proxy_protocol]
          version = source[:proxy_protocol].to_s
          unless version == "v1"
            raise ArgumentError, "Invalid value for set_remote_address: proxy_protocol must be :v1, not #{version}"
          end

          @options[:remote_address] = :proxy_protocol
          @options[:remote_address_proxy_protocol] = :v1
        else
          raise ArgumentError, "Invalid value for set_remote_address: #{source.inspect}"
        end
      end
    end
  end
end
