# frozen_string_literal: true

require "logger" # Active Support 6.1 does not, and concurrent-ruby stopped doing it
require "rails"
require "active_record/railtie"
require "active_job/railtie"
require "active_storage/engine"
require "action_controller/railtie"
require "action_view/railtie"
require "action_cable/engine"

Bundler.require

# A small Rails app that is whole, for Rails 6.1 and later.
#
# APP_DATA           folder of the database and of uploads
# CABLE_ADAPTER      Action Cable's (async)
# FORCE_SSL          redirect to https
# ISOLATION_LEVEL    whose state Rails keeps apart: threads' or fibers'
# X_SENDFILE_HEADER  the field by which a proxy is told to send a file
class Application < Rails::Application
  data = Pathname(ENV.fetch("APP_DATA") { File.expand_path("../tmp", __dir__) })

  config.load_defaults Rails::VERSION::STRING.to_f
  config.root = File.expand_path("..", __dir__)
  config.eager_load = config.cache_classes = Rails.env.production?
  config.consider_all_requests_local = !Rails.env.production?
  config.secret_key_base = "not a secret, for this test only"
  config.hosts.clear
  config.logger = Logger.new($stdout)
  config.log_level = :info
  config.force_ssl = ENV.key?("FORCE_SSL")
  config.action_dispatch.x_sendfile_header = ENV.fetch("X_SENDFILE_HEADER", nil)
  config.active_support.isolation_level = ENV["ISOLATION_LEVEL"].to_sym if ENV.key?("ISOLATION_LEVEL")
  config.active_job.queue_adapter = :async
  config.active_storage.service = :local

  # Several processes may boot at once, the first of them makes the tables.
  config.after_initialize do
    data.mkpath
    data.join("schema.lock").open("w") do |lock|
      lock.flock(File::LOCK_EX)
      load root.join("db/schema.rb") unless ActiveRecord::Base.connection.table_exists?("notes")
    end
  end

  # While sqlite's own `timeout` waits for another thread's lock, it keeps that thread from running, up to Rails 7.0.
  ActiveSupport.on_load(:active_record_sqlite3adapter) do
    prepend(Module.new do
      def configure_connection
        raw = @raw_connection || @connection
        raw.busy_handler { |tries| sleep(0.002) && tries < 10_000 }
        super # wants a lock, too
      end
    end)
  end
end
