# frozen_string_literal: true

require "logger" # Active Support 6.1 does not, and concurrent-ruby stopped doing it
require "rails"
require "action_controller/railtie"

Bundler.require

# The smallest Rails app that is one: a router, a controller, sessions.
class Application < Rails::Application
  config.load_defaults Rails::VERSION::STRING.to_f
  config.root = File.expand_path("..", __dir__)
  config.eager_load = Rails.env.production?
  config.secret_key_base = "not a secret, for this test only"
  config.hosts.clear
  config.logger = Logger.new($stdout)
end
