# frozen_string_literal: true

require "rackup/handler"
require "rserve/rack_handler"

module Rackup
  module Handler # :nodoc:
    # `rackup -s rserve` of Rack 3.
    module Rserve
      extend ::Rserve::RackHandler
    end

    register(:rserve, Rserve)
  end
end
