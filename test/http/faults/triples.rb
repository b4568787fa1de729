# frozen_string_literal: true

fails("nil for a response") { nil }
fails("a String for a response") { "200 OK" }
fails("an Integer for a response") { 200 }
fails("an empty response") { [] }
fails("a response of a status") { [200] }
either("a response of two", [200, 500]) { [200, {}] }
answers("a response of four") { [200, {}, ["a"], "b"] }
answers("a frozen response") { [200, {}.freeze, ["a".freeze].freeze].freeze }
answers("a response by to_ary", body: "a") { Class.new { def to_ary = [200, {}, ["a"]] }.new }
fails("a response whose to_ary raises") { Class.new { def to_ary = raise("no") }.new }
fails("a response whose to_ary is no Array") { Class.new { def to_ary = 5 }.new }
fails("a Hash for a response") { { status: 200 } }
fails("a response that holds itself") { [].tap { |response| 3.times { response << response } } }

fails("raise") { raise "no" }
fails("raise an error without a message") { raise StandardError, nil }
fails("raise an error whose message raises") { raise Class.new(StandardError) { def message = raise("no") } }
fails("raise an error without a backtrace") { raise StandardError, "no", [] }
fails("raise an error in binary") { raise "\xFF\x00\r\nX: y".b }
fails("raise an error of a megabyte") { raise "e" * 1_000_000 }
fails("raise Exception") { raise Exception, "no" }
fails("raise NotImplementedError") { raise NotImplementedError }
fails("raise NoMemoryError") { raise NoMemoryError }
fails("raise SystemExit") { exit 3 }
fails("raise Interrupt") { raise Interrupt }
fails("raise SignalException") { raise SignalException, "TERM" }
fails("raise StopIteration") { raise StopIteration }
fails("raise LoadError") { require "no/such/file" }
fails("raise SyntaxError") { eval "def" }
fails("raise SecurityError") { raise SecurityError }
fails("raise Errno EPIPE, which is not the client's") { raise Errno::EPIPE }
fails("raise Timeout Error") { Timeout.timeout(0.01) { sleep } }
fails("throw past everything") { throw :nobody }
fails("recurse without end") do
  deeper = -> { deeper.call + 1 }
  deeper.call
end
fails("a cause that is a circle") do
  first = StandardError.new("a")
  begin
    raise first
  rescue StandardError
    raise "b"
  end
end
fails("raise in the thread from outside") do
  app = Thread.current
  Thread.new { app.raise "from outside" }.join
  sleep 5
end
cuts("kill the thread") { Thread.current.kill }
cuts("exit the thread") { Thread.exit }
cuts("kill the thread from outside") do
  app = Thread.current
  Thread.new { app.kill }.join
  sleep 5
end
answers("a thread of the app's own that raises", body: "a") do
  Thread.new { raise "elsewhere" }.tap { |thread| thread.report_on_exception = false }
  [200, {}, ["a"]]
end
answers("a Timeout that does not expire", body: "a") { Timeout.timeout(5) { [200, {}, ["a"]] } }
answers("a fiber that is left behind", body: "a") { Fiber.new { Fiber.yield }.resume && nil || [200, {}, ["a"]] }
answers("garbage is collected", body: "a") { GC.start && nil || [200, {}, ["a"]] }
answers("an environment that was cleared", body: "a") { |env| env.clear && [200, {}, ["a"]] }
answers("a frozen environment", body: "a") { |env| env.freeze && [200, {}, ["a"]] }
answers("a compared_by_identity environment", body: "a") { |env| env.compare_by_identity && [200, {}, ["a"]] }
answers("after_reply replaced by nil", body: "a") { |env| env["rack.after_reply"] = nil; [200, {}, ["a"]] }
answers("after_reply of something that is not called", body: "a") { |env| env["rack.after_reply"] << 5; [200, {}, ["a"]] }
answers("after_reply raises", body: "a") { |env| env["rack.after_reply"] << -> { raise "late" }; [200, {}, ["a"]] }
either("after_reply exits", [200]) { |env| env["rack.after_reply"] << -> { exit }; [200, {}, ["a"]] }
either("after_reply kills the thread", [200]) { |env| env["rack.after_reply"] << -> { Thread.exit }; [200, {}, ["a"]] }
answers("response_finished raises", body: "a") do |env|
  (env["rack.response_finished"] ||= []) << ->(*) { raise "late" }
  [200, {}, ["a"]]
end
answers("an input that was closed", body: "a") { |env| env["rack.input"].close; [200, {}, ["a"]] }
answers("a process that was forked and ended", body: "a") { Process.wait(fork { exit!(0) }) && [200, {}, ["a"]] }
answers("a process that was forked and raised", body: "a") do
  Process.wait(fork { $stderr.reopen(File::NULL); raise "child" })
  [200, {}, ["a"]]
end
answers("a process that was forked and ended by exit", body: "a") { Process.wait(fork { exit }) && [200, {}, ["a"]] }
answers("a process that was forked and returns a response of its own", body: "parent") do
  child = fork
  next [200, {}, ["child"]] unless child

  Process.wait(child)
  [200, {}, ["parent"]]
end
answers("a process that was forked and streams a response of its own", body: "parent") do |_env|
  child = fork
  next [200, {}, ->(stream) { stream.write("child"); stream.close }] unless child

  Process.wait(child)
  [200, {}, ["parent"]]
end
answers("a process that was forked and raises out of the app", body: "parent") do
  child = fork
  raise "child" unless child

  Process.wait(child)
  [200, {}, ["parent"]]
end
answers("a process that was forked and lives on", ends: true, body: "a", lines: ["Connection: close"]) do
  child = fork { sleep 3 }
  Process.detach(child)
  [200, {}, ["a"]]
end
answers("a command that was run", body: "a\n") { [200, {}, [`echo a`]] }
kills("exit without a word") { exit! }
kills("abort by a signal") { Process.kill(:ABRT, Process.pid) && sleep }
kills("a segmentation fault") { Process.kill(:SEGV, Process.pid) && sleep }
kills("be killed") { Process.kill(:KILL, Process.pid) && sleep }
