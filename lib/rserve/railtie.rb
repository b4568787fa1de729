# frozen_string_literal: true

require "rserve/puma/puma_gem"

module Rserve
  # Tells that another server than rserve is about to serve the application, and what is answered where a body that is
  # read while it comes ends before its time.
  class Railtie < ::Rails::Railtie
    server do
      remark = PumaGem.in_place_of_rserve
      warn remark if remark
    end

    initializer "rserve.body_errors", before: "action_dispatch.configure" do |app|
      if app.config.respond_to?(:action_dispatch)
        app.config.action_dispatch.rescue_responses.update(
          "Rserve::BodyError" => 400, "Rserve::BodyAborted" => 400, "Rserve::BodyTimeout" => 408,
          "Rserve::BodyTooLarge" => 413
        )
      end
    end
  end
end
