# frozen_string_literal: true

# What Ruby loads first after a hot restart (`ruby -r`). Until the server has its own traps, Bundler and the server
# itself are loaded: half a second in which INT would be a backtrace, and either signal leave a pid file behind.
#
# The next program may be of another version: it finds a trap that it replaces, and nothing else.
Signal.trap("INT") { exit 130 }

if (path = ENV.delete("RSERVE_PIDFILE"))
  pid = Process.pid
  at_exit do
    File.unlink(path) if pid == Process.pid && File.file?(path) && File.read(path).to_i == pid
  rescue SystemCallError
    nil
  end
end
