# frozen_string_literal: true

require "rackup/handler"
require "puma"
require "rserve/rack_handler"

module Rackup
  module Handler
    # `rackup -s puma` of Rack 3.
    module Puma
      extend ::Rserve::RackHandler
    end

    register(:puma, Puma)
  end
end
