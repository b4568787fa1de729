# frozen_string_literal: true

require "json"
require "sinatra/base"

# What public comparisons of servers ask for, in a small app of a kind that there are many of.
class Arena < Sinatra::Base
  ITEMS = Array.new(50) do |number|
    { id: number, name: "Item #{number}", price: number * 3.5, tags: %w[red green blue], active: number.even? }
  end.freeze

  set :environment, :production
  set :logging, false
  set :protection, false
  set :public_folder, File.expand_path("../docs", __dir__)
  # Files and compression are the part of servers that can do both; whoever cannot has the middlewares for it.
  set :static, !defined?(Rserve)
  use Rack::Deflater unless defined?(Rserve)

  get("/fast") { text "ok" }
  get("/sum") { text sum }
  post("/sum") { text sum + request.body.read.to_i }
  post("/upload") { text count(request.body) }
  get("/wait") { text sleep(1) }
  get "/json" do
    content_type :json
    JSON.generate(count: ITEMS.size, items: ITEMS.map { |item| item.merge(total: item[:price] * 2) })
  end

  private

  def text(body)
    content_type :text
    body.to_s
  end

  def sum = params.values_at("a", "b").sum(&:to_i)

  def count(body)
    octets = 0
    part = +""
    octets += part.bytesize while body.read(65_536, part)
    octets
  end
end

run Arena
