# frozen_string_literal: true

require "json"
require_relative "server_case"

# A server whose requests for `/ai/*` wait in fibers, and an application that waits in many ways until a gate opens.
class FiberCase < ServerCase
  # Octets of what nobody reads at once.
  BIG = 40 << 20

  # Each request that waits leaves an octet; GATE is a file.
  APP = <<~'RUBY'.sub("BIG", BIG.to_s).freeze
    require "json"
    require "net/http"
    require "timeout"
    GATE, MARKS, PEER = ENV.values_at("GATE", "MARKS", "PEER")

    def mark = File.write(MARKS, ".", mode: "a")
    def pass = (sleep 0.01 until File.exist?(GATE))
    def parts = Class.new { def each = 3.times { |n| yield "#{n} "; sleep 0.01 } }.new
    def big = Class.new { def each = 40.times { yield "b" * (1 << 20) } }.new
    def after_gate = Thread.new { pass; yield }

    def after_timeout
      Timeout.timeout(0.02) { sleep }
    rescue Timeout::Error
      mark
      pass
      "timeout"
    end

    def fetch
      require "async/http/internet"
      internet = Async::HTTP::Internet.new
      internet.get("http://127.0.0.1:#{PEER}/").read && "async_http"
    ensure
      internet&.close
    end

    def never_end(stream)
      loop { stream.write("more "); sleep 0.02 }
    rescue StandardError => e
      warn "the stream has ended: #{e.class}"
    ensure
      stream.close
    end

    LISTENING = []

    def listen(stream)
      LISTENING << (queue = Queue.new)
      while (event = queue.pop) do stream.write(event) end
      stream.close
    end

    LOCK, CHANGED = Mutex.new, ConditionVariable.new

    WAYS = {
      "hold" => -> { mark; pass; "held" },
      "popen" => -> { mark; IO.popen(["sh", "-c", "until [ -e #{GATE} ]; do sleep 0.02; done; printf popen"], &:read) },
      "timeout" => -> { after_timeout },
      "mutex" => lambda {
        mutex, locked = Mutex.new, Queue.new
        Thread.new { mutex.synchronize { locked << 1; pass } }
        locked.pop
        mark
        mutex.synchronize { "mutex" }
      },
      "queue" => -> { queue = Queue.new; after_gate { queue << "queue" }; mark; queue.pop },
      "thread" => -> { thread = after_gate { "thread" }; mark; thread.value },
      "condition" => lambda {
        done = false
        after_gate { LOCK.synchronize { done = true; CHANGED.broadcast } }
        mark
        LOCK.synchronize { CHANGED.wait(LOCK) until done }
        "condition"
      },
      "net_http" => -> { Net::HTTP.get(URI("http://127.0.0.1:#{PEER}/")) && "net_http" },
      "async_http" => -> { fetch },
      "sqlite3" => lambda {
        require "sqlite3"
        db = SQLite3::Database.new(":memory:")
        db.execute("create table t (v text)")
        db.execute("insert into t values ('sqlite3')")
        mark
        pass
        db.execute("select v from t").first.first
      }
    }.freeze

    run lambda { |env|
      what = env["PATH_INFO"].delete_prefix("/ai").delete_prefix("/")
      next [200, {}, [WAYS[what].call]] if WAYS.key?(what)

      case what
      when "who" then [200, {}, [[Thread.current.name, Fiber.current.blocking?, Fiber.current_scheduler&.class].to_json]]
      when "quick" then sleep 0.001; [200, {}, ["held nothing"]]
      when "hello" then [200, {}, ["hello"]]
      when "figures" then [200, {}, [Puma.stats_hash.values_at(:fibers, :fiber_backlog, :max_fibers).to_json]]
      when "requests" then [200, {}, [Puma.stats_hash[:requests_count].to_s]]
      when "collect" then GC.start; GC.compact; [200, {}, []]
      when "local"
        (env["rack.after_reply"] ||= []) << -> { sleep 0.01; warn "after reply" }
        before, Thread.current[:of_fiber] = Thread.current[:of_fiber], 1
        [200, {}, [before.inspect]]
      when "each" then [200, {}, parts]
      when "call" then [200, {}, ->(stream) { 3.times { |n| stream.write("#{n} "); sleep 0.01 }; stream.close }]
      when "big" then [200, { "content-length" => "BIG" }, big]
      when "endless" then [200, {}, ->(stream) { never_end(stream) }]
      when "listen" then [200, {}, ->(stream) { listen(stream) }]
      when "listening" then [200, {}, [LISTENING.size.to_s]]
      when "tell" then [200, {}, [LISTENING.each { |queue| queue << "event " }.size.to_s]]
      when "over" then [200, {}, [LISTENING.each { |queue| queue << nil }.size.to_s]]
      when "hijack"
        io = env["rack.hijack"].call
        io.write("ready\n")
        io.write(io.gets.chomp, " back\n")
        io.close
        [200, {}, []]
      when "partial"
        [200, { "rack.hijack" => ->(io) { io.write("ready\n"); io.write(io.gets.chomp, " back\n"); io.close } }, []]
      when "raise" then sleep 0.01; raise "of the application"
      when "kill" then Thread.current.kill
      else [404, {}, []]
      end
    }
  RUBY

  def setup
    super
    skip "fibers serve requests from Ruby 3.3 on" if RUBY_VERSION < "3.3"
    skip "not here: async 2" unless FiberCase.async?
    @gate = File.join(folder, "gate")
    @marks = file("marks", "")
    @peer = TCPServer.new("127.0.0.1", 0)
    @peers = Thread.new { loop { Thread.new(@peer.accept) { |socket| answer_after_gate(socket) } } }
  end

  def teardown
    @peers&.kill
    @peer&.close
    super
  end

  # Whether this bundle has it, in a version that will do.
  def self.async? = there?("async") && Gem.loaded_specs.fetch("async").version >= Gem::Version.new("2")

  # Whether this bundle has a library.
  def self.there?(library) = !$LOAD_PATH.resolve_feature_path(library).nil?

  private

  def there?(library) = FiberCase.there?(library)

  def start(config = nil, *mode, app: APP, before: "")
    config ||= 'rserve { fiber_routes "/ai/*" }'
    env = { "GATE" => @gate, "MARKS" => @marks, "PEER" => @peer.addr[1].to_s }
    spawn_server("-t", "1:1", *mode, app: file("app.ru", before + app), config:, env:)
  end

  # Another server, to which fibers talk.
  def answer_after_gate(socket)
    socket.gets("\r\n\r\n")
    File.write(@marks, ".", mode: "a")
    sleep 0.01 until File.exist?(@gate)
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npeer")
  ensure
    socket.close
  end

  # Sends so many requests, and waits until as many wait in the application.
  def hold(count, path: "/ai/hold", marks: count)
    close_gate
    readers = Array.new(count) { ask(path) }
    server.wait_until("#{marks} wait", 20) { self.marks == marks }
    readers
  end

  def ask(path)
    socket = server.connect
    socket.write("GET #{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    ResponseReader.new(socket)
  end

  # So many times each of them, at once.
  def at(times, *paths) = paths.flat_map { |path| Array.new(times) { ask(path) } }.map { |it| it.receive(timeout: 60) }
  def bodies(readers) = readers.map { |reader| reader.receive(timeout: 30).body }
  def figures = JSON.parse(get("/figures").body)
  def marks = File.size(@marks)
  def open_gate = File.write(@gate, "")

  def close_gate
    FileUtils.rm_f(@gate)
    File.write(@marks, "")
  end
end
