# frozen_string_literal: true

threads 5, 5
workers Integer(ENV.fetch("WEB_CONCURRENCY", 0))
plugin :tmp_restart
preload_app! ENV["PRELOAD_APP"] == "true" # which is otherwise the default with WEB_CONCURRENCY

if ENV.fetch("WEB_CONCURRENCY", "0") != "0"
  before_fork { ActiveRecord::Base.connection_pool.disconnect! if defined?(ActiveRecord::Base) }
  on_worker_boot { ActiveRecord::Base.establish_connection if defined?(ActiveRecord::Base) }
  # Jobs of the async adapter live in this process: what was accepted is done before it ends.
  on_worker_shutdown { ActiveJob::Base.queue_adapter.shutdown(wait: true) }
end
