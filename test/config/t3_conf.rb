# frozen_string_literal: true

workers 3
pidfile "t3-pid"
on_worker_boot { |index| File.write("t3-worker-#{index}-pid", Process.pid) }
