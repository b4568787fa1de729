# frozen_string_literal: true

require_relative "../helpers/server_case"

# Exits of Ruby that meet a response on its way: an exception that nobody is told of leaves nothing behind in its
# thread, and a `Thread#kill` is never lost.
class ExitsTest < ServerCase
  # The app waits in the request until its client has gone. `/seen` says what `$!` was wherever code of the app's ran.
  APP = <<~'RUBY'
    require "socket"
    SEEN = Queue.new
    BEGUN = Queue.new
    GONE = Queue.new
    BIG = "b" * 30_000_000
    look = ->(where) { SEEN << "#{where}: #{$!.inspect}" if $! }
    closing = lambda do |where, &each|
      Class.new do
        define_method(:each, &each)
        define_method(:close) { look.call("#{where} close") }
      end.new
    end
    file = File.open(__FILE__)
    file.define_singleton_method(:close) { look.call("file close") }
    parts = closing.call("parts") { |&part| 3.times { part.call(BIG) } }
    rescues = closing.call("rescues") { |&part| 3.times { part.call(BIG) rescue look.call("never nil") } }
    stream = ->(out) { 3.times { out.write(BIG) } }
    aside = ->(out) { }
    hijack = { "rack.hijack" => ->(io) { io.write(BIG) rescue nil; io.close } }
    BODIES = {
      "/file" => [200, {}, file], "/parts" => [200, {}, parts], "/stream" => [200, {}, stream], "/aside" => [200, {}, aside],
      "/array" => [200, {}, [BIG]], "/hijack" => [200, hijack, []]
    }
    run lambda { |env|
      look.call("request #{env["PATH_INFO"]}")
      env["rack.after_reply"] << -> { look.call("after_reply of #{env["PATH_INFO"]}") }
      case env["PATH_INFO"]
      when "/begun" then BEGUN.pop
      when "/gone" then GONE << 1
      when "/seen"
        begin
          raise "cause"
        rescue => e
          SEEN << "cause: #{e.cause.inspect}" if e.cause
        end
        next [200, {}, [Array.new(SEEN.size) { SEEN.pop }.join("\n")]]
      else
        BEGUN << 1
        GONE.pop
        # The reset is there when the socket says so.
        env["puma.socket"].to_io.wait_readable(5) if env["HTTP_LOOK"]
        next BODIES.fetch(env["PATH_INFO"])
      end
      [200, {}, []]
    }
  RUBY

  def test_a_client_that_resets_leaves_nothing_behind
    [%w[-t 2:2], %w[-t 2:2 --compat 8]].each do |arguments|
      spawn_server(*arguments, app: file("exits.ru", APP))
      %w[file parts stream aside array hijack].each do |path|
        ["", "Look: 1\r\n"].each { |look| reset(path, look) }
      end
      # By either thread.
      assert_equal [""], Array.new(6) { get("/seen").body }.uniq
      server.stop
    end
  end

  # The thread waits for a client that does not read, in the flush of the head or in the middle of a body.
  KILLED = <<~'RUBY'
    STATE = Queue.new
    WAITS = Queue.new
    big = { "x-big" => "h" * 30_000_000 }
    note = ->(*) { STATE << "lives on" }
    bodies = {
      "/hijack" => [200, big.merge("rack.hijack" => ->(io) { note.call; io.close }), []],
      "/each" => [200, {}, Enumerator.new { |out| 100.times { out << "b" * 1_000_000 }; note.call }],
      "/stream" => [200, {}, ->(out) { 100.times { out.write("b" * 1_000_000) }; note.call }]
    }
    run lambda { |env|
      case env["PATH_INFO"]
      when "/kill"
        thread = WAITS.pop
        sleep 0.01 until thread.stop?
        thread.kill
        thread.join(10)
        next [200, {}, ["#{thread.alive? ? "alive" : "dead"} #{STATE.size}"]]
      when "/" then next [200, {}, ["fine"]]
      end
      WAITS << Thread.current
      bodies.fetch(env["PATH_INFO"])
    }
  RUBY

  def test_a_kill_while_a_client_does_not_read_ends_the_thread
    spawn_server "-t", "3:3", app: file("killed.ru", KILLED), config: "rserve { write_timeout 60 }\n"
    %w[hijack each stream].each do |path|
      slow = server.connect
      slow.write("GET /#{path} HTTP/1.1\r\nHost: a\r\n\r\n")
      assert_equal "dead 0", get("/kill", timeout: 20).body, path
      assert_equal "fine", get("/").body
    ensure
      slow&.close
    end
  end

  private

  def reset(path, look)
    socket = server.connect
    socket.write("GET /#{path} HTTP/1.1\r\nHost: a\r\n#{look}\r\n")
    get("/begun")
    socket.setsockopt(Socket::SOL_SOCKET, Socket::SO_LINGER, [1, 0].pack("ii"))
    socket.close
    get("/gone")
  end
end
