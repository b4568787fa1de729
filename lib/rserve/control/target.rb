# frozen_string_literal: true

require "rserve/control/request"
require "rserve/control/state_file"

module Rserve
  module Control
    # There is no server where one should be; the message says how that shows.
    class NotRunning < StandardError
    end

    # Where a running server is: its pid, and the URL and token of its control server, as far as they are known.
    class Target
      # @param path [String] a server's state file
      # @raise [NotRunning] when there is none
      def self.of_state_file(path)
        state = StateFile.new
        state.load(path)
        new(pid: state.pid, url: state.control_url, token: state.control_auth_token)
      rescue Errno::ENOENT
        raise NotRunning, "State file not found: #{path}"
      end

      # @param path [String] a server's pid file
      # @return [Integer]
      # @raise [NotRunning] when there is none
      def self.pid_in(path)
        Integer(File.read(path).strip)
      rescue Errno::ENOENT
        raise NotRunning, "Pid file not found: #{path}"
      rescue ArgumentError
        raise ControlRequest::Failure, "No pid in #{path}"
      end

      attr_reader :pid, :url, :token

      # To kill(2) numbers below are groups of processes, this one's own and the whole user's among them.
      PIDS = 1..(2**31) - 1
      private_constant :PIDS

      # @raise [ControlRequest::Failure] when one of them cannot be
      def initialize(pid: nil, url: nil, token: nil)
        raise ControlRequest::Failure, "'#{pid}' is no pid" unless pid.nil? || (pid.is_a?(Integer) && PIDS.cover?(pid))
        raise ControlRequest::Failure, "'#{url}' is no URL" unless url.nil? || url.is_a?(String)

        @pid = pid
        @url = url
        @token = token
      end

      # What neither this nor `other` knows of stays open; where both do, it is this one's.
      #
      # @return [Target]
      def or(other)
        Target.new(pid: pid || other.pid, url: url || other.url, token: token || other.token)
      end

      # Is the server that `other` names this one? It is not known to be, where they have nothing in common.
      def same?(other)
        common = %i[pid url].select { |name| public_send(name) && other.public_send(name) }
        common.any? && common.all? { |name| public_send(name) == other.public_send(name) }
      end
    end
  end
end
