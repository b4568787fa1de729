# frozen_string_literal: true

require "rackup/handler"
require "rserve/rack_handler"

# Rack 3's command, which looks for handlers in `Rackup::Handler`.
module Rackup
  module Handler # :nodoc:
    # `rackup -s rserve` of Rack 3.
    module Rserve
      extend ::Rserve::RackHandler
    end

    register(:rserve, Rserve)
  end
end
