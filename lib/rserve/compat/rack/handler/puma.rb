# frozen_string_literal: true

require "puma"
require "rserve/rack_handler"

# Handlers moved from the rack gem to the rackup gem with Rack 3; each has its own registry.
if defined?(Rackup::Handler)
  require "rackup/handler/puma"
elsif !defined?(Rack::Handler::Puma)
  module Rack
    module Handler
      # `rackup -s puma` of Rack 2.
      module Puma
        extend ::Rserve::RackHandler
      end

      register(:puma, "Rack::Handler::Puma") if respond_to?(:register)
    end
  end
end
