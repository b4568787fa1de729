# frozen_string_literal: true

require "fileutils"
require "tmpdir"
require_relative "../helper"
require "rserve/config/processor_count"

# What `WEB_CONCURRENCY=auto` counts, by files as the kernel has them.
class ProcessorCountTest < Minitest::Test
  V1 = "sys/fs/cgroup/cpu,cpuacct"

  # What is in the folder, and the workers that makes of 8 processors.
  CASES = {
    "no control groups" => [{}, 8],
    "version 2, a container's own root" =>
      [{ "proc/self/cgroup" => "0::/", "sys/fs/cgroup/cpu.max" => "250000 100000" }, 2],
    "version 2 without a quota" =>
      [{ "proc/self/cgroup" => "0::/", "sys/fs/cgroup/cpu.max" => "max 100000" }, 8],
    "version 2, more than there are" =>
      [{ "proc/self/cgroup" => "0::/", "sys/fs/cgroup/cpu.max" => "6400000 100000" }, 8],
    "version 2, half a processor" =>
      [{ "proc/self/cgroup" => "0::/", "sys/fs/cgroup/cpu.max" => "50000 100000" }, 0],
    "version 2, a unit in a slice with less" =>
      [{ "proc/self/cgroup" => "0::/web.slice/shop.service", "sys/fs/cgroup/web.slice/cpu.max" => "300000 100000",
         "sys/fs/cgroup/web.slice/shop.service/cpu.max" => "500000 100000" }, 3],
    "version 2, the host's path in a container" =>
      [{ "proc/self/cgroup" => "0::/../../docker/4711", "sys/fs/cgroup/cpu.max" => "400000 100000" }, 4],
    "version 1" =>
      [{ "proc/self/cgroup" => "5:memory:/x\n4:cpu,cpuacct:/docker/1", "#{V1}/docker/1/cpu.cfs_quota_us" => "350000",
         "#{V1}/docker/1/cpu.cfs_period_us" => "100000" }, 3],
    "version 1, the host's path in a container, by the link named cpu" =>
      [{ "proc/self/cgroup" => "4:cpuacct,cpu:/docker/4711\n0::/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us" => "200000",
         "sys/fs/cgroup/cpu/cpu.cfs_period_us" => "100000" }, 2],
    "version 1 without a quota" =>
      [{ "proc/self/cgroup" => "4:cpu:/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us" => "-1",
         "sys/fs/cgroup/cpu/cpu.cfs_period_us" => "100000" }, 8],
    "nonsense" => [{ "proc/self/cgroup" => "0::/", "sys/fs/cgroup/cpu.max" => "" }, 8]
  }.freeze

  def test_quotas
    CASES.each do |name, (files, workers)|
      Dir.mktmpdir do |root|
        files.each do |path, content|
          FileUtils.mkdir_p(File.join(root, File.dirname(path)))
          File.write(File.join(root, path), "#{content}\n")
        end
        assert_equal workers, Rserve::ProcessorCount.count(processors: 8, root:), name
      end
    end
  end

  def test_here
    assert_includes 0..Etc.nprocessors, Rserve::ProcessorCount.detect
  end

  def test_with_and_without_the_gem
    script = "require 'rserve/config/processor_count'; print Rserve::ProcessorCount.detect"
    Dir.mktmpdir do |folder|
      FileUtils.mkdir_p(File.join(folder, "concurrent/utility"))
      {
        "def Concurrent.available_processor_count = 3.5" => "3", "" => Rserve::ProcessorCount.count.to_s,
        "raise LoadError" => Rserve::ProcessorCount.count.to_s
      }.each do |code, counted|
        File.write(File.join(folder, "concurrent/utility/processor_counter.rb"), "module Concurrent; end\n#{code}")
        output = IO.popen([RbConfig.ruby, "-I#{TestServer::ROOT}/lib", "-I#{folder}", "-e", script], &:read)
        assert_equal counted, output, code
      end
    end
  end
end
