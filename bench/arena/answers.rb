# frozen_string_literal: true

require "json"

# What the apps beside answer, in whatever framework: what public comparisons of servers ask for.
module Arena
  ITEMS = Array.new(50) do |number|
    { id: number, name: "Item #{number}", price: number * 3.5, tags: %w[red green blue], active: number.even? }
  end.freeze

  QUERY = "SELECT id, name, price FROM items WHERE price >= $1 ORDER BY price LIMIT 50"
  FILES = File.expand_path("../../docs", __dir__)

  # The template page.html.erb.
  VIEWS = __dir__

  # Whether the server sends files and compresses by itself: whoever cannot has the framework and a middleware for it.
  SERVER_DOES = defined?(Rserve) || defined?(Itsi) ? true : false

  class << self
    # @param builder [Rack::Builder] of a rackup file
    # @param app [#call]
    def serve(builder, app)
      builder.map("/echo") { run Echo }
      builder.map("/") do
        use Rack::Deflater unless SERVER_DOES
        run app
      end
    end

    # @param request [Rack::Request]
    # @return [String] what its query and its body come to
    def sum(request)
      sum = request.GET.values_at("a", "b").sum(&:to_i)
      sum += request.body.read.to_i if request.post?
      sum.to_s
    end

    # @param request [Rack::Request]
    # @return [String] how many octets its body has
    def count(request)
      octets = 0
      part = +""
      octets += part.bytesize while request.body.read(65_536, part)
      octets.to_s
    end

    # @return [String] how long it took
    def wait = sleep(1).to_s

    # @return [String] JSON
    def items = JSON.generate(count: ITEMS.size, items: ITEMS.map { |item| item.merge(total: item[:price] * 2) })

    # @return [String] JSON
    def items_of_database
      items = Database.pool.with do |database|
        database.exec_params(QUERY, [rand(5000)])
      end
      JSON.generate(count: items.ntuples, items: items.to_a)
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
end
