# frozen_string_literal: true

require "rserve/puma/puma_gem"

module Rserve
  # Tells that another server than rserve is about to serve the application.
  class Railtie < ::Rails::Railtie
    server do
      remark = PumaGem.in_place_of_rserve
      warn remark if remark
    end
  end
end
