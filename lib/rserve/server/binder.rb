# frozen_string_literal: true

require "socket"
require "uri"
require "rserve/runtime"
require "rserve/puma/const"
require "rserve/config/config_error"
require "rserve/config/configuration"
require "rserve/server/handover"
require "rserve/server/listener_owner"
require "rserve/puma/util"

module Rserve
  # Opens the listeners: from bind URLs, from sockets inherited over a restart, from sockets systemd opened.
  #
  # Listeners are real `TCPServer`/`UNIXServer` objects, since applications find and close them.
  class Binder
    include Handover

    # Connections the kernel queues for a listener before they are accepted.
    DEFAULT_BACKLOG = 1024

    # @return [Array<IO>] every open listener
    attr_accessor :ios

    # @return [Array<Array(String, IO)>] URL and listener, of those that survive a restart
    attr_reader :listeners

    # @return [Hash{String => Integer}] file descriptors inherited over a restart, by the URL they were bound to
    attr_reader :inherited_fds

    # @return [Hash{Array => IO}] sockets systemd opened, by `[:tcp, host, port]` or `[:unix, path]`
    attr_reader :activated_sockets

    # @return [Hash{IO => Hash}] what is particular to the env of requests on a listener
    attr_reader :envs

    # @return [Hash] the env every request starts from
    attr_reader :proto_env

    # @return [Array<String>] unix sockets made here, removed when the server stops
    attr_reader :unix_paths

    # @param log_writer [LogWriter]
    # @param options [Configuration, UserFileDefaultOptions, Hash]
    def initialize(log_writer, options = Configuration.new, env: ENV)
      @log_writer = log_writer
      @options = options.is_a?(Configuration) ? options._options : options
      @ios = []
      @listeners = []
      @inherited_fds = {}
      @further_fds = {} # of those URLs that have several
      @bound = []
      @activated_sockets = {}
      @borrowed = []
      @unix_paths = []
      @envs = {}
      @before_parse = []
      @proto_env = make_proto_env(env)
    end

    # @return [Hash] the proto-env of requests that arrive on `io`
    def env(io)
      @envs.fetch(io, @proto_env)
    end

    # Calls the block (and gives it the binder) before each {#parse}, or returns the blocks when there is none.
    def before_parse(&block)
      @before_parse << block if block
      @before_parse
    end

    # Opens a listener for each URL.
    #
    # @param binds [Array<String>]
    # @param log_message [String] how the log announces a listener
    # @raise [OperatorError] when one cannot be opened: a SystemCallError (`Errno::EADDRINUSE`), a SocketError (the host
    #   does not resolve), a RuntimeError (a unix path has a live server), an ArgumentError or a MiniSSL::SSLError
    def parse(binds, log_writer = nil, log_message = "Listening")
      @log_writer = log_writer if log_writer
      @before_parse.each { |block| block.arity.zero? || block.arity == -1 ? block.call : block.call(self) }
      binds.each { |url| open_bind(url, log_message) }
      close_leftovers
    end

    # Takes the sockets over that systemd opened for this process (sd_listen_fds(3)).
    #
    # @return [Array<String>] variables to remove from the environment
    def create_activated_fds(env)
      @log_writer.debug("LISTEN_FDS=#{env["LISTEN_FDS"]} LISTEN_PID=#{env["LISTEN_PID"]}")
      return [] unless env["LISTEN_FDS"] && env["LISTEN_PID"].to_i == Process.pid

      env["LISTEN_FDS"].to_i.times do |index|
        key, io = adopt(activated_listener(env, socket_activation_fd(index)))
        @activated_sockets[key] = io
        @borrowed << io.fileno
        @log_writer.debug("Registered #{key.join(":")} for activation from LISTEN_FDS")
      end
      %w[LISTEN_FDS LISTEN_PID]
    end

    # Adds a bind for each activated socket that has none.
    #
    # @param only_matching [Boolean] drop the binds that no socket was activated for
    # @return [Array<String>] URLs
    def synthesize_binds_from_activated_fs(binds, only_matching)
      return binds unless activated_sockets.any?

      matched = []
      synthesized = activated_sockets.keys.filter_map do |protocol, address, port|
        own = binds.find { |url| url.split("?").first.sub(/\Assl:/, "tcp:") == activated_url(protocol, address, port) }
        matched << own if own
        activated_url(protocol, address, port) unless own
      end
      (only_matching ? matched : binds) + synthesized
    end

    # Is there a TLS listener?
    def tls?
      @ios.any?(MiniSSL::Server)
    end

    # @return [Array<Integer>] TCP ports listened on, each once
    def connected_ports
      addresses(@ios).map { |address| address[1] }.uniq
    end

    # Lets no more TCP connections begin, in any process that shares the listeners, so that all that wait can be taken:
    # closing a listener resets them. New clients are refused once the listeners are closed. A socket of systemd's
    # stays open, and new clients wait in it for the next server.
    def turn_newcomers_away
      filter = DROP_SYNS.map { |instruction| instruction.pack("SCCL") }.join
      pointer_size = [nil].pack("p").bytesize
      program = [DROP_SYNS.size, filter].pack("S @#{pointer_size} p") # struct sock_fprog: length, pointer
      @ios.grep(TCPServer).reject { |io| io.closed? || @borrowed.include?(io.fileno) }.each do |io|
        io.setsockopt(Socket::SOL_SOCKET, Socket::SO_ATTACH_FILTER, program)
      end
    rescue NameError, SystemCallError # no Linux, or not allowed: the last few may be reset then
      nil
    end

    # A socket filter (code, jump if true, jump if false, operand): of what comes for the listener it drops the segments
    # with SYN and no ACK. The rest of a handshake that has begun passes.
    DROP_SYNS = [
      [0x30, 0, 0, 13],         # load the octet of the TCP header that has the flags
      [0x54, 0, 0, 0x12],       # and: SYN, ACK
      [0x15, 0, 1, 0x02],       # if it is SYN alone
      [0x06, 0, 0, 0],          # drop it
      [0x06, 0, 0, 0xffff_ffff] # else take all of it
    ].freeze
    private_constant :DROP_SYNS

    # Closes every listener, and leaves unix sockets where they are.
    def close
      @ios.each(&:close)
    end

    # Removes the unix sockets made here.
    def remove_unix_paths
      @unix_paths.each { |path| File.unlink(path) if File.socket?(path) }
    end

    # Closes the listeners for good, and removes the unix sockets made here.
    def close_listeners
      @listeners.each do |url, io|
        io.close unless io.closed?
        scheme, path = url.split("://", 2)
        next unless scheme == "unix"

        path = unix_path_of(path)
        File.unlink(path) if @unix_paths.include?(path) && File.exist?(path)
      end
    end

    # Listens for TCP.
    #
    # @param host [String] "localhost" for every loopback address
    # @param port [Integer] 0 for any free one
    # @param optimize_for_latency [Boolean] sets TCP_NODELAY
    # @return [TCPServer] or an Array of them for "localhost"
    def add_tcp_listener(host, port, optimize_for_latency = true, backlog = DEFAULT_BACKLOG)
      if host == "localhost"
        return loopback_addresses.each { |address| add_tcp_listener(address, port, optimize_for_latency, backlog) }
      end

      server = open_tcp_socket(host.delete("[]").sub("%25", "%"), port) # a zone as in a URI (RFC 6874), or as it is
      server.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) if optimize_for_latency
      server.setsockopt(Socket::SOL_SOCKET, Socket::SO_REUSEADDR, true)
      server.listen(backlog)
      @ios << server
      server
    end

    # Takes an inherited TCP listener over.
    #
    # @param fd [Integer, TCPServer]
    def inherit_tcp_listener(_host, _port, fd)
      take_over(fd.is_a?(TCPServer) ? fd : TCPServer.for_fd(fd))
    end

    # Listens for TLS.
    #
    # @param host [String] "localhost" for every loopback address
    # @param context [MiniSSL::Context, nil] `nil` for the localhost gem's certificate
    # @return [TCPServer] or an Array of addresses for "localhost"
    # @raise [MiniSSL::SSLError] when the context is of no use
    def add_ssl_listener(host, port, context, optimize_for_latency = true, backlog = DEFAULT_BACKLOG)
      context ||= localhost_context
      raise "Please specify an SSL context: without one the localhost gem has to be loaded" unless context

      if host == "localhost"
        return loopback_addresses.each do |address|
          add_ssl_listener(address, port, context, optimize_for_latency, backlog)
        end
      end

      prepare(context) # before a port is taken
      socket = add_tcp_listener(host, port, optimize_for_latency, backlog)
      @ios.delete(socket)
      keep_ssl(socket, context)
      socket
    end

    # Takes an inherited TLS listener over.
    #
    # @param fd [Integer, TCPServer]
    # @return [MiniSSL::Server]
    def inherit_ssl_listener(fd, context)
      context ||= localhost_context
      prepare(context)
      socket = take_over(fd.is_a?(TCPServer) ? fd : TCPServer.for_fd(fd))
      @ios.delete(socket)
      keep_ssl(socket, context)
    end

    # Listens on a unix socket.
    #
    # @param path [String] `@name` for an abstract one
    # @param umask [Integer, nil] 0 unless given
    # @param mode [Integer, nil] of the socket's file
    # @raise [RuntimeError] when another server listens there
    def add_unix_listener(path, umask = nil, mode = nil, backlog = DEFAULT_BACKLOG)
      abstract = path.start_with?("@")
      path = "\0#{path[1..]}" if abstract
      server = abstract ? UNIXServer.new(path) : bind_unix_path(path, umask)
      server.listen(backlog)
      File.chmod(mode, path) if mode && !abstract
      @ios << server
      @envs[server] = unix_env
      server
    end

    # Takes an inherited unix listener over.
    #
    # @param fd [Integer, UNIXServer, TCPServer]
    def inherit_unix_listener(_path, fd)
      fd = fd.fileno if fd.is_a?(TCPServer)
      server = take_over(fd.is_a?(UNIXServer) ? fd : UNIXServer.for_fd(fd))
      @envs[server] = unix_env
      server
    end

    # @return [Array<String>] addresses of the loopback interface
    def loopback_addresses
      Socket.ip_address_list.select { |a| a.ipv6_loopback? || a.ipv4_loopback? }.map(&:ip_address).uniq
    end

    private

    def make_proto_env(env)
      {
        "rack.version" => [1, 6].freeze,
        "rack.errors" => @log_writer.stderr,
        "rack.multithread" => @options[:max_threads] > 1,
        "rack.multiprocess" => @options[:workers] >= 1,
        "rack.run_once" => false,
        Const::RACK_URL_SCHEME => @options[:rack_url_scheme],
        Const::SCRIPT_NAME => env["SCRIPT_NAME"] || "",
        Const::QUERY_STRING => "",
        Const::SERVER_SOFTWARE => Const::PUMA_SERVER_STRING,
        Const::GATEWAY_INTERFACE => Const::CGI_VER
      }
    end

    def prepare(context)
      context.tickets ||= (@tickets ||= Native::TlsTickets.new)
      context.native
    end

    def keep_ssl(socket, context)
      server = MiniSSL::Server.new(socket, context)
      @ios << server
      @envs[server] = @proto_env.merge(Const::HTTPS_KEY => Const::HTTPS)
      server
    end

    def unix_env
      @proto_env.merge("REMOTE_ADDR" => Const::LOCALHOST_IP)
    end

    def open_bind(url, log_message)
      uri = parse_uri(url)
      case uri.scheme
      when "tcp" then open_tcp(url, uri, log_message)
      when "unix" then open_unix(url, uri, log_message)
      when "ssl" then open_ssl(url, uri, log_message)
      else refuse(url)
      end
    rescue SystemCallError, SocketError, RuntimeError, ArgumentError, RangeError, MiniSSL::SSLError => e
      raise e if e.is_a?(OperatorError)

      named = e.is_a?(Errno::EADDRINUSE) || e.is_a?(RuntimeError) || e.is_a?(MiniSSL::SSLError)
      reason = e.message.sub(/ - (?:bind|connect)\(2\) for (?:".*?" port \d+|\S+)/, "")
      e = e.exception("Cannot listen on #{url.split("?").first}: #{reason}") unless named
      raise e.extend(OperatorError) # not a defect of the server's
    end

    def refuse(url)
      raise ConfigError, "Invalid URI: #{url} (#{DSL::Listeners::BINDABLE})"
    end

    def parse_uri(url)
      URI.parse(url)
    rescue URI::InvalidURIError
      # Names with characters a URI may not have, e.g. `unix://@a b`, and addresses with a zone, `[fe80::1%eth0]`.
      scheme, rest = url.split("://", 2)
      return refuse(url) unless rest

      address, query = rest.split("?", 2)
      host, path = address.split("/", 2)
      host, port = host.to_s.match(/\A(\[[^\]]*\]|.*?)(?::([^:]*))?\z/).captures unless scheme == "unix"
      refuse_port(url) unless port.to_s.match?(/\A\d*\z/)
      URI::Generic.new(scheme, nil, host, port, nil, path && "/#{path}", nil, query, nil, URI::RFC2396_Parser.new)
    end

    # @return [Array(String, Integer)] host and port
    def place_of(url, uri)
      refuse(url) if uri.host.to_s.empty?
      port = uri.port || 0
      port <= 65_535 ? [uri.host, port] : refuse_port(url)
    end

    def refuse_port(url)
      raise ConfigError, "Cannot listen on #{url}: a port is a number up to 65535"
    end

    def open_tcp(url, uri, log_message)
      host, port = place_of(url, uri)
      if (fds = take_inherited(url))
        listeners = fds.map { |fd| inherit_tcp_listener(host, port, fd) }
        @log_writer.log("* Inherited #{url}")
      elsif (socket = @activated_sockets.delete([:tcp, host, port]))
        listeners = [inherit_tcp_listener(host, port, socket)]
        @log_writer.log("* Activated #{url}")
      else
        params = params_of(uri)
        before = @ios.size
        add_tcp_listener(host, port, low_latency?(params, false), params.fetch("backlog", DEFAULT_BACKLOG).to_i)
        listeners = @ios.drop(before)
        addresses(listeners).each { |address| @log_writer.log("* #{log_message} on http://#{host_port(address)}") }
      end
      keep(url, listeners)
    end

    def open_unix(url, uri, log_message)
      # Not the URI's: it takes the @ of `unix://@name` away.
      path = unix_path_of(url.delete_prefix("unix://")) || refuse(url)
      if (fds = take_inherited(url))
        io = inherit_unix_listener(path, fds.first)
        @log_writer.log("* Inherited #{url}")
      elsif (socket = @activated_sockets.delete([:unix, path]))
        io = inherit_unix_listener(path, socket)
        @log_writer.log("* Activated #{url}")
      else
        params = params_of(uri)
        umask = params["umask"] && Integer(params["umask"])
        mode = params["mode"] && Integer("0#{params["mode"]}")
        io = add_unix_listener(path, umask, mode, params.fetch("backlog", DEFAULT_BACKLOG).to_i)
        @log_writer.log("* #{log_message} on #{url}")
      end
      @listeners << [url, io]
      @bound << [url, io]
    end

    def open_ssl(url, uri, log_message)
      params = params_of(uri)
      pems_from_store(params)
      context = localhost_context(params) || MiniSSL::ContextBuilder.new(params, @log_writer).context
      host, port = place_of(url, uri)
      check_expiry(context, restarted: !inherited_url(url).nil?)
      if (fds = take_inherited(url))
        listeners = fds.map { |fd| inherit_ssl_listener(fd, context) }
        @log_writer.log("* Inherited #{url}")
      elsif (socket = @activated_sockets.delete([:tcp, host, port]))
        listeners = [inherit_ssl_listener(socket, context)]
        @log_writer.log("* Activated #{url}")
      else
        before = @ios.size
        add_ssl_listener(host, port, context, low_latency?(params, true), params.fetch("backlog", DEFAULT_BACKLOG).to_i)
        listeners = @ios.drop(before)
        addresses(listeners).each do |address|
          @log_writer.log("* #{log_message} on ssl://#{host_port(address)}?#{uri.query}")
        end
      end
      keep(url, listeners)
    end

    # Nobody is served by a start with an expired certificate, but a restart must not end what some clients still take.
    def check_expiry(context, restarted:)
      prepare(context).expired.each do |place|
        message = "#{place}: the certificate has expired"
        raise MiniSSL::SSLError, message unless restarted

        @log_writer.log("! WARNING: #{message}")
      end
    end

    # `store:n` stands for a text that no URL can hold.
    def pems_from_store(params)
      %w[cert key].each do |name|
        next unless (index = params[name]&.delete_prefix!("store:"))

        params.delete(name)
        params["#{name}_pem"] = @options[:store][Integer(index)]
      end
    end

    # The localhost gem's self-signed certificate, when the gem is loaded and no other certificate is given.
    def localhost_context(params = {})
      return if %w[cert cert_pem key key_pem].any? { |name| params[name] }
      return unless defined?(::Localhost::Authority)

      authority = ::Localhost::Authority.fetch
      context = MiniSSL::Context.new
      context.key = authority.key_path
      context.cert = authority.certificate_path
      context
    end

    # A URL that opened several sockets, as `localhost` does, cannot name them one by one after a restart.
    def keep(url, listeners)
      listeners.each { |io| @bound << [url, io.to_io] }
      @listeners << [url, listeners.first.to_io] if listeners.size == 1 && !url.match?(%r{\A\w+://localhost[:/?]})
    end

    def params_of(uri)
      Util.parse_query(uri.query)
    end

    def low_latency?(params, default)
      params.key?("low_latency") ? params["low_latency"] != "false" : default
    end

    # `%20` is how a path with a space is written in a URL.
    def unix_path_of(path)
      path.gsub("%20", " ").split("?").first
    end

    def open_tcp_socket(host, port)
      TCPServer.new(host, port)
    rescue Errno::EADDRINUSE => e
      owner = ListenerOwner.of_tcp(host, port)
      raise owner ? e.exception("#{e.message} (#{owner})") : e
    rescue Errno::EACCES => e
      raise e.exception("#{e.message} (low ports are root's, see net.ipv4.ip_unprivileged_port_start)")
    end

    def bind_unix_path(path, umask)
      old_umask = File.umask(umask || 0)
      if File.exist?(path)
        refuse_live_server(path)
        File.unlink(path)
      else
        @unix_paths << path
      end
      UNIXServer.new(path)
    ensure
      File.umask(old_umask) if old_umask
    end

    # One that does not accept at the moment is none the less there.
    def refuse_live_server(path)
      socket = Socket.new(:UNIX, :STREAM)
      begin
        socket.connect_nonblock(Socket.sockaddr_un(path))
      rescue Errno::EAGAIN
        nil
      rescue Errno::EACCES
        return unless ListenerOwner.unix?(path)
      rescue SystemCallError
        return
      end
      owner = ListenerOwner.of_unix(path)
      raise "There is already a server bound to: #{path}#{" (#{owner})" if owner}"
    ensure
      socket&.close
    end

    def take_over(io)
      close_on_exec(io.fileno)
      let_newcomers_in(io) if io.is_a?(TCPServer) && !@borrowed.include?(io.fileno)
      @ios << io
      io
    end

    # Ends {#turn_newcomers_away}: an earlier incarnation may have begun to stop when it was told to restart.
    def let_newcomers_in(listener)
      listener.setsockopt(Socket::SOL_SOCKET, Socket::SO_DETACH_FILTER, 0)
    rescue NameError, SystemCallError
      nil # no Linux, or there is none
    end

    # Sockets that systemd passes come from number 3 on.
    def socket_activation_fd(index)
      index + 3
    end

    def activated_listener(env, descriptor)
      listener = TCPServer.for_fd(descriptor)
      return listener if listener.getsockopt(:SOCKET, :ACCEPTCONN).bool

      listener.autoclose = false
      raise Errno::ENOTSOCK
    rescue SystemCallError
      raise ConfigError, "LISTEN_FDS is #{env["LISTEN_FDS"]}, but descriptor #{descriptor} is no listening socket " \
                         "(systemd opens them by a .socket unit with Accept=no)"
    end

    # @return [Array(Array, IO)] key and listener
    def adopt(io)
      address = io.local_address
      if address.unix?
        [[:unix, address.unix_path], io]
      else
        host = address.ipv6? ? "[#{address.ip_address}]" : address.ip_address
        [[:tcp, host, address.ip_port], io]
      end
    end

    def activated_url(protocol, address, port)
      port ? "#{protocol}://#{address}:#{port}" : "#{protocol}://#{address}"
    end

    # @return [Array<Array(String, Integer)>] host and port of each TCP listener
    def addresses(ios)
      ios.filter_map do |io|
        address = io.to_io.local_address
        [address.ip_address, address.ip_port] if address.ip?
      end
    end

    def host_port((host, port))
      host.include?(":") ? "[#{host}]:#{port}" : "#{host}:#{port}"
    end
  end
end
