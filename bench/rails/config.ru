# frozen_string_literal: true

require "logger" # Active Support 6.1 does not, and concurrent-ruby stopped doing it
require "rails"
require "action_controller/railtie"

# A Rails app in production mode as most are, without a database: what it costs to answer is the framework's part.
class Application < Rails::Application
  config.load_defaults Rails::VERSION::STRING.to_f
  config.root = __dir__
  config.eager_load = true
  config.cache_classes = true
  config.consider_all_requests_local = false
  config.secret_key_base = "not a secret, for this measurement only"
  config.hosts.clear
  config.action_controller.perform_caching = true
  config.log_level = :info
  config.logger = Logger.new(File::NULL)
  config.paths["app/views"] = ["views"]
  routes.append do
    root "pages#plain"
    get "/plain", to: "pages#plain"
    get "/page", to: "pages#show"
    get "/welcome", to: "pages#welcome"
  end
end

Rails.application.initialize!

# What is asked for. It comes after `initialize!`, which gives controllers the routes' helpers.
class PagesController < ActionController::Base
  Item = Struct.new(:id, :name, :price)
  ITEMS = Array.new(40) { |number| Item.new(number, "Item <#{number}>", number * 3.5) }.freeze

  layout "page"

  def plain = render(plain: "Hello World")

  def welcome; end

  def show
    session[:visits] = session[:visits].to_i + 1
    @items = ITEMS
  end
end

run Rails.application
