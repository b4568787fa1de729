# frozen_string_literal: true

require "ipaddr"
require "socket"

module Rserve
  # The processes that have a listener open, as far as Linux's /proc tells this user. For messages: that an address is
  # taken is of little use without the process that has it.
  class ListenerOwner
    LISTENING = "0A" # as /proc/net/tcp has it
    private_constant :LISTENING

    class << self
      # @param url [String] `tcp://`, `ssl://` or `unix://`
      # @return [ListenerOwner, nil]
      def of_url(url)
        scheme, address = url.split("://", 2)
        address = address.to_s.split("?").first.to_s
        return of_unix(address.gsub("%20", " ")) if scheme == "unix"

        host, port = address.match(/\A\[?(.*?)\]?:(\d+)/)&.captures
        of_tcp(host, port.to_i) if port
      end

      # @param host [String] name or address, also one that stands for all
      # @return [ListenerOwner, nil] nil when nobody is found
      def of_tcp(host, port)
        wanted = Addrinfo.getaddrinfo(host, port, nil, :STREAM).map { |info| IPAddr.new(info.ip_address).native }
        of_inodes(tcp_listeners.filter_map { |address, at, inode| inode if at == port && overlap?(address, wanted) })
      rescue SystemCallError, SocketError, IPAddr::Error
        nil
      end

      # @param path [String] as in a bind URL, so `@name` for an abstract socket
      # @return [ListenerOwner, nil] nil when nobody is found
      def of_unix(path)
        of_inodes(unix_inodes(path))
      rescue SystemCallError
        nil
      end

      # @param path [String] as in a bind URL
      # @return [Boolean] whether a process has it open, be it another user's; also when that cannot be told
      def unix?(path)
        unix_inodes(path).any?
      rescue SystemCallError
        true
      end

      private

      def unix_inodes(path)
        path = File.expand_path(path) unless path.start_with?("@")
        lines = File.readlines("/proc/net/unix", chomp: true).drop(1).map { |line| line.split(" ", 8) }
        names = [path, File.basename(path)] # as it was bound, perhaps by a relative path
        lines.filter_map { |fields| fields[6] if names.include?(fields[7]) }
      end

      # @return [Array<Array(IPAddr, Integer, String)>] address, port and inode
      def tcp_listeners
        lines = %w[/proc/net/tcp /proc/net/tcp6].select { |path| File.readable?(path) }
                                                .flat_map { |path| File.readlines(path).drop(1) }
        lines.map(&:split).select { |fields| fields[3] == LISTENING }.map do |fields|
          address, port = fields[1].split(":")
          [decode(address), port.hex, fields[9]]
        end
      end

      # The kernel prints an address as numbers of 32 bits in the machine's byte order.
      def decode(hex)
        IPAddr.new_ntoh([hex].pack("H*").unpack("L>*").pack("L*")).native
      end

      def overlap?(address, wanted)
        any?(address) || wanted.any? { |one| one == address || any?(one) }
      end

      def any?(address)
        address.to_i.zero?
      end

      def of_inodes(inodes)
        return if inodes.empty?

        links = inodes.map { |inode| "socket:[#{inode}]" }
        pids = Dir.children("/proc").grep(/\A\d+\z/).select { |pid| open_files(pid).intersect?(links) }
        new(pids.map(&:to_i)) unless pids.empty?
      end

      # Of another user's process, or of one that has just ended, there are none to be seen.
      def open_files(pid)
        Dir.children("/proc/#{pid}/fd").filter_map do |fd|
          File.readlink("/proc/#{pid}/fd/#{fd}")
        rescue SystemCallError
          nil
        end
      rescue SystemCallError
        []
      end
    end

    # @return [Array<Integer>] of every process that has it open, a master's and its workers'
    attr_reader :pids

    def initialize(pids)
      @pids = pids
    end

    # @return [Integer] the process to talk to: the one whose parent is not one of them
    def pid
      @pid ||= pids.find { |pid| !pids.include?(parent(pid)) } || pids.min
    end

    # @return [String] what that process calls itself
    def command
      text = read("cmdline").tr("\0", " ").strip
      text = read("comm").strip if text.empty?
      text.scrub("?").gsub(/[[:cntrl:]]+/, " ").slice(0, 80)
    end

    # @return [String] e.g. "pid 4711: rserve 1.0.0.rc1 as Puma 6.6.0 (tcp://0.0.0.0:9292) [shop]"
    def to_s
      "pid #{pid}: #{command}".delete_suffix(": ")
    end

    private

    def parent(pid)
      File.read("/proc/#{pid}/stat")[/.*\) \S (\d+)/m, 1].to_i
    rescue SystemCallError
      nil
    end

    def read(name)
      File.read("/proc/#{pid}/#{name}")
    rescue SystemCallError
      ""
    end
  end
end
