# frozen_string_literal: true

require "socket"
require "rserve/process/succession/generation"

module Rserve
  # Messages to systemd (sd_notify(3)), each one datagram to the socket that `NOTIFY_SOCKET` names. Without the variable
  # nothing is sent.
  module SdNotify
    # A message could not be sent.
    class NotifyError < RuntimeError
    end

    class << self
      # Everything serves.
      def ready(unset_env = false)
        notify("READY=1", unset_env)
      end

      # The configuration is being loaded anew.
      def reloading(unset_env = false)
        notify("RELOADING=1", unset_env)
      end

      # The end has begun.
      def stopping(unset_env = false)
        notify("STOPPING=1", unset_env)
      end

      # @param status [String] one line for `systemctl status`
      def status(status, unset_env = false)
        notify("STATUS=#{status}", unset_env)
      end

      # @param errno [Integer] of a failure
      def errno(errno, unset_env = false)
        notify("ERRNO=#{errno}", unset_env)
      end

      # @param pid [Integer] of the main process
      def mainpid(pid, unset_env = false)
        notify("MAINPID=#{pid}", unset_env)
      end

      # A sign of life.
      def watchdog(unset_env = false)
        notify("WATCHDOG=1", unset_env)
      end

      # @return [Float, nil] microseconds between which systemd wants a sign of life from this process
      def watchdog_usec
        usec = ENV.fetch("WATCHDOG_USEC", nil)
        return unless usec && Integer(usec).positive?

        pid = ENV.fetch("WATCHDOG_PID", nil)
        main = [Process.pid, Succession::Generation.current&.keeper_pid]
        Integer(usec).to_f if pid.nil? || main.include?(Integer(pid))
      rescue ArgumentError
        nil
      end

      # Does systemd watch this process?
      def watchdog?
        !watchdog_usec.nil?
      end

      # @param state [String] e.g. "READY=1"
      # @param unset_env [Boolean] make this the last message, also of children
      # @return [Integer, nil] octets sent
      # @raise [NotifyError]
      def notify(state, unset_env = false)
        path = ENV.fetch("NOTIFY_SOCKET", nil)
        return unless path

        keeper = Succession::Generation.current
        return keeper.notify(state) && state.bytesize if keeper # systemd hears no other process

        ENV.delete("NOTIFY_SOCKET") if unset_env
        address = Addrinfo.unix(path.sub(/\A@/, "\0"), Socket::SOCK_DGRAM)
        address.connect { |socket| socket.write(state) }
      rescue SystemCallError, ArgumentError => e # the path may be longer than a socket's can be
        raise NotifyError, "#{e.class}: #{e.message}"
      end
    end
  end
end
