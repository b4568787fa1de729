# frozen_string_literal: true

require "sinatra/base"
require_relative "answers"

# With Sinatra.
class SinatraArena < Sinatra::Base
  set :environment, :production
  set :logging, false
  set :protection, false
  set :public_folder, Arena::FILES
  set :static, !Arena::SERVER_DOES
  set :views, Arena::VIEWS
  helpers { def h(text) = Rack::Utils.escape_html(text) }

  get("/fast") { text "ok" }
  get("/sum") { text Arena.sum(request) }
  post("/sum") { text Arena.sum(request) }
  post("/upload") { text Arena.count(request) }
  get("/wait") { text Arena.wait }
  get("/json") { json Arena.items }
  get("/items") { json Arena.items_of_database }
  get("/page") { erb :"page.html" }

  private

  def text(body)
    content_type :text
    body
  end

  def json(body)
    content_type :json
    body
  end
end

Arena.serve(self, SinatraArena)
