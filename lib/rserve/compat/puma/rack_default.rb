# frozen_string_literal: true

require "puma"
require "rack/handler/puma"

# Makes this the server that rackup takes when it is not told which.
handlers = defined?(Rackup::Handler) ? Rackup::Handler : Rack::Handler
handlers.define_singleton_method(:default) { |_options = {}| self::Puma }
