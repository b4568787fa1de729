# frozen_string_literal: true

require "etc"
require "rserve/config/config_error"
require "rserve/server/listener_owner"

module Rserve
  # Looks, before anything is loaded or forked, whether the server's own files can be written, and whether the pid file
  # is another server's.
  class OwnFilesCheck
    FILES = { pidfile: "pidfile", state: "state_path", redirect_stdout: "Cannot redirect STDOUT to",
              redirect_stderr: "Cannot redirect STDERR to" }.freeze
    # Files that replace a symbolic link.
    REPLACING = %i[pidfile state].freeze
    # Clocks of a file system and of the kernel differ a little.
    LEEWAY = 2
    private_constant :FILES, :REPLACING, :LEEWAY

    # @param options [UserFileDefaultOptions]
    # @param restarted [Boolean] the server goes on without what it cannot write, and says so then
    def initialize(options, restarted: false)
      @options = options
      @restarted = restarted
    end

    # @yieldparam pid [Integer] of a process that lives and is in the pid file
    # @yieldreturn [Boolean] whether that is no mistake
    # @raise [ConfigError]
    def run
      look_at_files unless @restarted
      pid = running
      return unless pid && !(block_given? && yield(pid))

      raise ConfigError, "pidfile #{@options[:pidfile]}: #{ListenerOwner.new([pid])} is running. " \
                         "Stop it, or remove the file if that is no server of yours"
    end

    private

    def look_at_files
      FILES.each do |option, name|
        path = @options[option]
        reason = fault(path, REPLACING.include?(option)) if path
        raise ConfigError, "#{name} #{path}: #{reason}" if reason
      end
    end

    # @return [String, nil]
    def fault(path, replacing)
      folder = File.dirname(path)
      if File.exist?(path) && !(replacing && File.symlink?(path))
        return "is a folder" if File.directory?(path)

        "may not be written" unless File.writable?(path)
      elsif !File.exist?(folder) then "there is no folder #{folder} (mkdir -p #{folder})"
      elsif !File.directory?(folder) then "#{folder} is no folder"
      elsif !File.writable?(folder) then "the folder #{folder} may not be written to"
      end
    rescue ArgumentError, TypeError # an octet of zero in it, or something else
      "is no path"
    end

    # @return [Integer, nil] who is in the pid file, lives, and lived already when it was written
    def running
      path = @options[:pidfile]
      return unless path && File.file?(path) && File.readable?(path)

      pid = Integer(File.read(path), exception: false)
      return if pid.nil? || !pid.positive? || ours?(pid)

      Process.kill(0, pid)
      return if ended?(pid)

      began = began_at(pid)
      pid unless began && began > File.mtime(path) + LEEWAY
    rescue Errno::ESRCH, Errno::EPERM # gone; or another user's, as what has got an old number may be
      nil
    end

    # In a container the numbers are small, and threads have numbers, too. A configuration that forks, and goes on in
    # the child or in the child's child, has done so after a hot restart: where the program began was the server, which
    # may take its time to end.
    def ours?(pid)
      [Process.pid, Process.ppid, FIRST_PID].include?(pid) || File.exist?("/proc/self/task/#{pid}")
    end

    # Its parent has not asked yet how it ended.
    def ended?(pid)
      File.read("/proc/#{pid}/stat").rpartition(")").last.start_with?(" Z")
    rescue SystemCallError
      false
    end

    # @return [Time, nil] when the process was started, as far as Linux tells
    def began_at(pid)
      ticks = File.read("/proc/#{pid}/stat").rpartition(")").last.split[19].to_f
      since_boot = Process.clock_gettime(Process::CLOCK_BOOTTIME)
      Time.now - since_boot + (ticks / Etc.sysconf(Etc::SC_CLK_TCK))
    rescue NameError, SystemCallError
      nil
    end
  end
end
