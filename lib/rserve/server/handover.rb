# frozen_string_literal: true

require "rserve/process/succession/generation"

module Rserve
  # How a {Binder} hands its listeners over: to the next incarnation of its process, or to another process.
  module Handover
    # Variable that tells the next incarnation which unix sockets it has to remove in the end.
    OWN_PATHS = "RSERVE_UNIX_PATHS"
    # … and which of the inherited descriptors are somebody else's sockets, who will go on listening on them.
    BORROWED = "RSERVE_BORROWED_FDS"
    # … and what it resumes TLS sessions with.
    TICKETS = "RSERVE_TICKETS"
    private_constant :OWN_PATHS, :BORROWED, :TICKETS

    # Takes the listeners over that an earlier incarnation left open: `PUMA_INHERIT_n=fd:url`.
    #
    # @return [Array<String>] variables to remove from the environment
    # @raise [StaleVariable]
    def create_inherited_fds(env)
      own = [OWN_PATHS, BORROWED, TICKETS].select { |name| env.key?(name) }
      @unix_paths.concat(env[OWN_PATHS].to_s.split(File::PATH_SEPARATOR))
      @borrowed.concat(env[BORROWED].to_s.split(",").map(&:to_i))
      tickets = env[TICKETS].to_s[/\A\d{1,9}\z/]
      @tickets = Native::TlsTickets.adopt(Integer(tickets, 10)) if tickets
      own + env.select { |name, _| name.match?(/\APUMA_INHERIT_\d+\z/) }.map do |name, value|
        fd, url = value.match(%r{\A(\d{1,9}):(\w+://.+)\z})&.captures
        raise StaleVariable.new(name, value) unless fd && listening?(Integer(fd, 10))

        inherit(Integer(fd, 10), url)
        name
      end
    end

    # Takes over what another binder has inherited for these URLs.
    def inherit_from(other, urls)
      urls.each { |url| @inherited_fds[url] = other.inherited_fds.delete(url) if other.inherited_fds.key?(url) }
      @unix_paths.concat(other.unix_paths)
    end

    # Hands the listeners of another binder on, too, when this process executes itself anew.
    def hand_on(other)
      @listeners.concat(other.listeners)
      @unix_paths |= other.unix_paths
    end

    # @return [Hash] for `exec`: the listeners stay open, everything else is closed
    def redirects_for_restart
      fds = [*@listeners.map { |_url, io| io.to_i }, *@tickets&.fileno].to_h { |fd| [fd, fd] }
      fds.merge(close_others: true)
    end

    # @return [Hash{String => String}] `PUMA_INHERIT_n` for each listener, and which unix sockets are ours to remove
    def redirects_for_restart_env
      env = @listeners.each_with_index.to_h { |(url, io), index| ["PUMA_INHERIT_#{index}", "#{io.to_i}:#{url}"] }
      env[OWN_PATHS] = @unix_paths.join(File::PATH_SEPARATOR) unless @unix_paths.empty?
      env[BORROWED] = @borrowed.join(",") unless @borrowed.empty?
      env[TICKETS] = @tickets.fileno.to_s if @tickets
      env
    end

    # Takes a listener over as {#create_inherited_fds} does.
    #
    # @param fd [Integer]
    # @param url [String]
    def inherit(fd, url)
      close_on_exec(fd)
      if @inherited_fds.key?(url)
        (@further_fds[url] ||= []) << fd
      else
        @inherited_fds[url] = fd
      end
    end

    # What another process needs to listen here.
    #
    # @return [Array<Array(String, String, String, IO)>] kind ("own", or "borrowed" where others listen, too), URL, the
    #   path that is removed in the end or nil, and the socket
    def handover
      @bound.map do |url, io|
        path = url.start_with?("unix://") ? unix_path_of(url.delete_prefix("unix://")) : nil
        [@borrowed.include?(io.fileno) ? "borrowed" : "own", url, (path if @unix_paths.include?(path)), io]
      end
    end

    # What another process needs to resume the TLS sessions of this one's clients.
    #
    # @return [Array<Array(String, String, String, IO)>] as {#handover}
    def tickets_handover
      @tickets ? [["tickets", "tls", nil, IO.for_fd(@tickets.fileno, autoclose: false)]] : []
    end

    private

    def listening?(fd)
      socket = BasicSocket.for_fd(fd)
      socket.autoclose = false
      socket.getsockopt(:SOCKET, :ACCEPTCONN).bool
    rescue SystemCallError, ArgumentError # it is open nowhere, no socket, or Ruby's own
      false
    end

    # Where an address was bound with other parameters, as with another certificate, it is the same listener.
    #
    # @return [String, nil] the URL by which a listener for this one was handed over
    def inherited_url(url)
      return url if @inherited_fds.key?(url)

      place = place_in(url)
      @inherited_fds.each_key.find { |other| place_in(other) == place }
    end

    def place_in(url)
      url.split("?").first.sub(/\Assl:/, "tcp:")
    end

    # @return [Array<Integer>, nil]
    def take_inherited(url)
      url = inherited_url(url) or return
      [@inherited_fds.delete(url), *@further_fds.delete(url)]
    end

    # What was handed over but is bound no longer must not stay open: nobody would accept there.
    def close_leftovers
      @inherited_fds.each do |url, fd|
        @log_writer.log("* Closing unused inherited connection: #{url}")
        close_leftover(IO.for_fd(fd), url[%r{\Aunix://(.*)\z}, 1])
        @further_fds.delete(url)&.each { |further| IO.for_fd(further).close }
      end
      @activated_sockets.each do |(protocol, address, port), io|
        @log_writer.log("* Closing unused activated socket: #{activated_url(protocol, address, port)}")
        close_leftover(io, (address if protocol == :unix))
      end
      @inherited_fds.clear
      @activated_sockets.clear
    end

    def close_leftover(io, path)
      io.close
      return if Succession::Generation.current # others may listen there yet

      path &&= unix_path_of(path)
      File.unlink(path) if path && !path.start_with?("@") && File.exist?(path)
    rescue SystemCallError
      nil
    end

    # exec cleared the flag so that this process could have the descriptor; what this process runs must not.
    def close_on_exec(fd)
      IO.for_fd(fd, autoclose: false).close_on_exec = true
    rescue Errno::EBADF
      nil
    end
  end
end
