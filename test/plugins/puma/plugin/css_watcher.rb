# frozen_string_literal: true

require "puma/plugin"

# In the shape of tailwindcss-rails' plugin: a watcher is forked at once, before anything listens, ends with the server,
# and takes the server along when it dies.
Puma::Plugin.create do
  def start(launcher)
    server = Process.pid
    writer = launcher.log_writer
    watcher = fork do
      Thread.new do
        sleep 0.05 while Process.ppid == server
        Process.kill(:INT, Process.pid)
      end
      writer.log "watcher #{Process.pid} runs"
      sleep
    rescue Interrupt
      exit!(0)
    end
    launcher.events.on_stopped do
      Process.kill(:INT, watcher)
      Process.wait(watcher)
    rescue Errno::ECHILD, Errno::ESRCH
      nil
    end
    in_background do
      Process.wait(watcher)
      writer.log "watcher has gone, stopping the server"
      Process.kill(:INT, server)
    rescue Errno::ECHILD
      nil
    end
  end
end
