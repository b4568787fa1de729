# frozen_string_literal: true

require "puma/plugin"

# In the shape of solid_queue's plugin: a word of its own, a forked supervisor whose life is tied to the server's by
# events, and each watching the other by pid.
module Puma
  class DSL
    def queue_supervisor_mode(mode = :fork)
      @options[:queue_supervisor_mode] = mode.to_sym
    end
  end
end

Puma::Plugin.create do
  attr_reader :server_pid, :supervisor_pid, :log_writer

  def start(launcher)
    @log_writer = launcher.log_writer
    @server_pid = $$ # rubocop:disable Style/SpecialGlobalVars
    raise "unknown mode" unless launcher.options[:queue_supervisor_mode] == :fork

    in_background { watch_supervisor }
    if Gem::Version.new(Puma::Const::VERSION) < Gem::Version.new("7")
      launcher.events.on_booted { begin_supervisor }
      launcher.events.on_stopped { stop_supervisor }
      launcher.events.on_restart { stop_supervisor }
    else
      launcher.events.after_booted { begin_supervisor }
      launcher.events.after_stopped { stop_supervisor }
      launcher.events.before_restart { stop_supervisor }
    end
  end

  private

  def begin_supervisor
    @supervisor_pid = fork do
      trap("INT") { exit!(0) }
      log_writer.log "supervisor #{Process.pid} of #{server_pid} runs"
      sleep 0.05 until Process.ppid != server_pid
      log_writer.log "supervisor lost its server"
      exit!(1)
    end
  end

  def stop_supervisor
    Process.waitpid(supervisor_pid, Process::WNOHANG)
    log_writer.log "stopping the supervisor"
    Process.kill(:INT, supervisor_pid)
    Process.wait(supervisor_pid)
    log_writer.log "supervisor stopped"
  rescue Errno::ECHILD, Errno::ESRCH
    log_writer.log "supervisor was gone"
  end

  # When the supervisor dies, so does the server.
  def watch_supervisor
    sleep 0.05 until supervisor_pid
    loop do
      begin
        break if Process.waitpid(supervisor_pid, Process::WNOHANG)
      rescue Errno::ECHILD
        break
      end
      sleep 0.2
    end
    log_writer.log "supervisor has gone, stopping the server"
    Process.kill(:INT, $$) # rubocop:disable Style/SpecialGlobalVars
  end
end
