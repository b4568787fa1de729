# frozen_string_literal: true

require "logger" # Active Support 6.1 does not, and concurrent-ruby stopped doing it
require "rails"
require "action_controller/railtie"
require_relative "answers"

# With Rails, in production mode.
class RailsArena < Rails::Application
  config.load_defaults Rails::VERSION::STRING.to_f
  config.root = __dir__
  config.eager_load = true
  config.cache_classes = true
  config.consider_all_requests_local = false
  config.secret_key_base = "not a secret, for this measurement only"
  config.hosts.clear
  config.public_file_server.enabled = !Arena::SERVER_DOES
  config.paths["public"] = [Arena::FILES]
  config.paths["app/views"] = [Arena::VIEWS]
  config.logger = Logger.new(File::NULL)
  config.log_level = :info
  routes.append do
    %w[fast sum wait json items page].each { |path| get "/#{path}", to: "arena##{path}" }
    %w[sum upload].each { |path| post "/#{path}", to: "arena##{path}" }
  end
end

Rails.application.initialize!

# It comes after `initialize!`, which gives controllers the routes' helpers.
class ArenaController < ActionController::Base
  skip_forgery_protection

  def fast = render(plain: "ok")
  def sum = render(plain: Arena.sum(request))
  def upload = render(plain: Arena.count(request))
  def wait = render(plain: Arena.wait)
  def json = render(json: Arena.items)
  def items = render(json: Arena.items_of_database)
  def page = render(template: "page", layout: false)
end

Arena.serve(self, Rails.application)
