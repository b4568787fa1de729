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

  get "/items" do
    content_type :json
    items = Database.pool.with do |database|
      database.exec_params("SELECT id, name, price FROM items WHERE price >= $1 ORDER BY price LIMIT 50", [rand(5000)])
    end
    JSON.generate(count: items.ntuples, items: items.to_a)
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

# Connections that threads borrow, as many as there are threads.
class Database
  MUTEX = Mutex.new
  private_constant :MUTEX

  # @return [Database] made after the fork
  def self.pool = MUTEX.synchronize { @pool ||= new(5) }

  def initialize(size)
    require "pg"
    @free = Thread::Queue.new(Array.new(size) { PG.connect })
  end

  def with
    connection = @free.pop
    yield connection
  ensure
    @free << connection if connection
  end
end

# What comes by a WebSocket goes back by it. A thread for each, as apps without an event loop have.
class Echo
  attr_reader :env, :url

  def self.call(env)
    require "websocket/driver"
    echo = new(env)
    Thread.new { echo.serve }
    [200, {}, []]
  end

  def initialize(env)
    @env = env
    @url = "ws://localhost/echo"
    @socket = env["rack.hijack"].call
  end

  def write(octets) = @socket.write(octets)

  def serve
    driver = WebSocket::Driver.rack(self)
    driver.on(:message) { |message| driver.text(message.data) }
    driver.start
    loop { driver.parse(@socket.readpartial(4096)) }
  rescue EOFError, SystemCallError
    @socket.close
  end
end

map("/echo") { run Echo }
map("/") { run Arena }
