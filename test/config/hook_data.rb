# frozen_string_literal: true

# What a worker's boot hook keeps under its key, the same worker's shutdown hook finds.
workers 2
on_worker_boot(:test) { |index, data| data[:test] = index }
on_worker_shutdown(:test) { |index, data| File.write("hook_data-#{index}.txt", "index #{index} data #{data[:test]}") }
