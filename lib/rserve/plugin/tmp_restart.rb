# frozen_string_literal: true

require "rserve/plugin"

# Restarts the server when `tmp/restart.txt` is touched, as `rails restart` does.
Rserve::Plugin.create do
  def start(launcher)
    path = File.join("tmp", "restart.txt")
    touched = modified(path)
    in_background do
      loop do # one may fail, and this process go on
        sleep 2 while [touched, nil].include?(modified(path))
        touched = modified(path)
        launcher.restart
      end
    end
  end

  private

  def modified(path)
    File.mtime(path)
  rescue Errno::ENOENT
    nil
  end
end
