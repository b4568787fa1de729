# frozen_string_literal: true

module Rserve
  module Control
    # What Linux tells of a process; where there is no /proc, nothing is known and nothing kept from being done.
    class ProcessState
      # @param pid [Integer]
      def initialize(pid)
        @pid = pid
      end

      # Has it ended, but for its status?
      def gone?
        state == "Z"
      end

      # Has a signal or a debugger stopped it?
      def suspended?
        %w[T t].include?(state)
      end

      # Would this signal do what the kernel does with it: end or suspend the process?
      #
      # @param name [String] e.g. "SIGTTIN"
      def defenceless?(name)
        bit = Signal.list.fetch(name.delete_prefix("SIG")) - 1
        masks = status.scan(/^Sig(?:Ign|Cgt):\s*(\h+)/).flatten
        masks.any? && masks.all? { |mask| mask.hex[bit].zero? }
      end

      # Are its standard output and error, and whatever else it has open, something else than files to append to?
      def without_log_files?
        descriptors = Dir.children("/proc/#{@pid}/fd")
        descriptors.any? && descriptors.none? { |fd| log_file?(fd) }
      rescue SystemCallError
        false
      end

      private

      def log_file?(descriptor)
        return false unless File.file?("/proc/#{@pid}/fd/#{descriptor}")

        flags = File.read("/proc/#{@pid}/fdinfo/#{descriptor}")[/^flags:\s*(\d+)/, 1].to_i(8)
        %w[1 2].include?(descriptor) || flags.anybits?(File::APPEND)
      rescue SystemCallError
        false # it was closed meanwhile
      end

      def state
        status[/^State:\s*(\w)/, 1]
      end

      def status
        @status ||= File.read("/proc/#{@pid}/status")
      rescue SystemCallError
        @status = ""
      end
    end
  end
end
