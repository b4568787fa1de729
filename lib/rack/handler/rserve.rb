# frozen_string_literal: true

require "rserve/rack_handler"

# Handlers moved from the rack gem to the rackup gem with Rack 3; each has its own registry.
if defined?(Rackup::Handler)
  require "rackup/handler/rserve"
elsif !defined?(Rack::Handler::Rserve)
  # Rack 2's, which looks for handlers in `Rack::Handler`.
  module Rack
    module Handler # :nodoc:
      # `rackup -s rserve` of Rack 2.
      module Rserve
        extend ::Rserve::RackHandler
      end

      register(:rserve, "Rack::Handler::Rserve") if respond_to?(:register)
    end
  end
end
