# frozen_string_literal: true

require "tmpdir"

worker_shutdown_timeout 0

# A child of the master that is no worker, waited for by a thread of its own. It outlives any test; the test ends it by
# the pid in the file.
before_fork do
  pid = fork { sleep 60 }
  Process.detach(pid)
  File.write(File.join(Dir.tmpdir, "process_detach_test.pid"), pid)
end
