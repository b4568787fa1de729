# frozen_string_literal: true

require "socket"

module Rserve
  # The connections that a listener's kernel has made and that no process has accepted yet. Linux tells it of TCP; of
  # unix sockets it does not.
  module AcceptQueue
    # Of struct tcp_info, whose fields mean this for a listening socket: tcpi_unacked and tcpi_sacked.
    LENGTH_AND_LIMIT = "@24 L2"
    private_constant :LENGTH_AND_LIMIT

    module_function

    # @param ios [Array<#to_io>] listeners
    # @return [Hash{Symbol => Integer}] of all of them together; empty where nothing is known
    def stats(ios)
      known = ios.filter_map { |io| length_and_limit(io.to_io) }
      return {} if known.empty?

      { accept_queue: known.sum(&:first), accept_queue_limit: known.sum(&:last) }
    end

    def length_and_limit(io)
      return if io.closed? || !io.is_a?(TCPServer)

      numbers = io.getsockopt(Socket::IPPROTO_TCP, Socket::TCP_INFO).unpack(LENGTH_AND_LIMIT)
      numbers if numbers.all?
    rescue NameError, SystemCallError # no Linux
      nil
    end
    private_class_method :length_and_limit
  end
end
