# frozen_string_literal: true

class FilesController < ActionController::Base
  skip_forgery_protection

  # What the browser's end of Action Cable is, for want of an asset pipeline.
  def action_cable
    folder = "#{Gem.loaded_specs.fetch("actioncable").full_gem_path}/app/assets/javascripts"
    send_file Dir["#{folder}/action{_,}cable.js"].first, type: "text/javascript", disposition: :inline
  end

  def download = send_file(Rails.root.join("public/500.html"), type: "text/html", filename: "error.html")
end
