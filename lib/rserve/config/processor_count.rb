# frozen_string_literal: true

require "etc"

module Rserve
  # How many workers `workers :auto` and `WEB_CONCURRENCY=auto` mean: as many as there are processors that this process
  # may use, by affinity and by the quotas of its control groups (cgroups(7)), rounded down. Where there is the
  # concurrent-ruby gem it is that which counts, as with Puma: applications use it without loading it.
  module ProcessorCount
    module_function

    # @return [Integer] 0 with less than one processor
    def detect
      require "concurrent/utility/processor_counter"
      Concurrent.respond_to?(:available_processor_count) ? Concurrent.available_processor_count.to_i : count
    rescue LoadError
      count
    end

    # @param processors [Integer] that the scheduler may run this process on
    # @param root [String] folder of `proc` and `sys`
    # @return [Integer]
    def count(processors: Etc.nprocessors, root: "/")
      [processors, *quotas(root)].min.to_i
    end

    # @return [Array<Float>] processors that each group above this process may use
    def quotas(root)
      File.readlines(File.join(root, "proc/self/cgroup"), chomp: true).flat_map do |line|
        _, controllers, path = line.split(":", 3)
        if controllers.empty?
          groups(root, [""], path).filter_map { |group| unified_quota(group) }
        elsif controllers.split(",").include?("cpu")
          groups(root, [controllers, "cpu"], path).filter_map { |group| legacy_quota(group) }
        else
          []
        end
      end
    rescue SystemCallError
      [] # not Linux, or hidden
    end
    private_class_method :quotas

    # A group is bounded by those that it is in. In a container the path may be the host's, of which only the root is
    # there.
    #
    # @return [Array<String>] folders
    def groups(root, mounts, path)
      paths = path.split("/").reject(&:empty?).then { |names| (0..names.size).map { |count| names.first(count) } }
      mounts.flat_map { |mount| paths.map { |names| File.join(root, "sys/fs/cgroup", mount, *names) } }
    end
    private_class_method :groups

    # Version 2: `QUOTA PERIOD`, in microseconds, or `max PERIOD`.
    def unified_quota(group)
      quota, period = File.read(File.join(group, "cpu.max")).split
      Float(quota) / Float(period) unless quota == "max"
    rescue SystemCallError, ArgumentError, TypeError
      nil
    end
    private_class_method :unified_quota

    # Version 1: -1 is no quota.
    def legacy_quota(group)
      quota, period = %w[quota period].map { |name| Float(File.read(File.join(group, "cpu.cfs_#{name}_us"))) }
      quota / period if quota.positive? && period.positive?
    rescue SystemCallError, ArgumentError
      nil
    end
    private_class_method :legacy_quota
  end
end
