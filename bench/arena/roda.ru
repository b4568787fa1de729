# frozen_string_literal: true

require "roda"
require_relative "answers"

# With Roda.
class RodaArena < Roda
  plugin :public, root: Arena::FILES
  plugin :render, views: Arena::VIEWS
  plugin :h

  route do |r|
    r.public unless Arena::SERVER_DOES
    r.get("fast") { text "ok" }
    r.is("sum") { text Arena.sum(r) }
    r.post("upload") { text Arena.count(r) }
    r.get("wait") { text Arena.wait }
    r.get("json") { json Arena.items }
    r.get("items") { json Arena.items_of_database }
    r.get("page") { render("page.html") }
  end

  private

  def text(body)
    response[RodaResponseHeaders::CONTENT_TYPE] = "text/plain;charset=utf-8"
    body
  end

  def json(body)
    response[RodaResponseHeaders::CONTENT_TYPE] = "application/json"
    body
  end
end

Arena.serve(self, RodaArena.freeze.app)
