# frozen_string_literal: true

# check.rb PORT FOLDER - what `run` wants to know of a service that systemd runs; see there.

require "open3"
require "socket"
require_relative "../helpers/client_load"

RELOADS = 10

port = Integer(ARGV.fetch(0))
folder = ARGV.fetch(1)

Server = Struct.new(:port) do
  def connect = TCPSocket.new("127.0.0.1", port)

  # @return [String] the content of a page
  def page
    socket = connect
    socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    ResponseReader.new(socket).receive(timeout: 20).body
  ensure
    socket&.close
  end
end

def systemctl(*words) = Open3.capture2e("systemctl", *words)

def show(property) = systemctl("show", "--property", property, "--value", "shop.service").first.strip

def wait_until(wanted, seconds = 60)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
  until yield
    abort "not in #{seconds} s: #{wanted}\n#{systemctl("status", "shop.service").first}" if
      Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
    sleep 0.05
  end
end

def check(what, is_so)
  abort "wrong: #{what}\n#{systemctl("status", "shop.service").first}" unless is_so
  puts "ok: #{what}"
  $stdout.flush
end

server = Server.new(port)
puts systemctl("--version").first.lines.first
$stdout.flush
wait_until("the service is active") { show("ActiveState") == "active" }
pid = show("MainPID")
load = ClientLoad.new(server, keep_alive: 4, fresh: 4)
RELOADS.times do |time|
  File.write(File.join(folder, "config.ru"), "run ->(_) { [200, {}, ['version #{time + 1}']] }\n")
  text, status = systemctl("reload", "shop.service")
  abort "systemctl reload: #{text}" unless status.success?
  wait_until("version #{time + 1} is served") { server.page == "version #{time + 1}" }
  wait_until("it is active again") { show("ActiveState") == "active" }
  abort "MAINPID was #{pid}, and is #{show("MainPID")}" unless show("MainPID") == pid
end
check("#{RELOADS} reloads, MAINPID #{pid} stays", true)
File.write(File.join(folder, "config.ru"), "raise 'no database'\n")
systemctl("reload", "shop.service")
failure = /Status: ".*Generation #{RELOADS + 2} failed at boot: config\.ru:1: no database \(RuntimeError\)/
wait_until("systemctl status tells of it") { systemctl("status", "shop.service").first.match?(failure) }
check("systemctl status: #{systemctl("status", "shop.service").first[/Status: .*/]}", true)
check("it serves on", server.page == "version #{RELOADS}" && show("MainPID") == pid)
counts = load.stop
check("requests: #{counts.inspect}", counts.keys == ["answered"])
systemctl("stop", "shop.service")
check("it stops: #{show("ActiveState")}, #{show("Result")}",
      [show("ActiveState"), show("Result")] == %w[inactive success])
