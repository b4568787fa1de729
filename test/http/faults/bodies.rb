# frozen_string_literal: true

fails("nil for a body") { [200, {}, nil] }
answers("nil for a body of HEAD", method: "HEAD") { [200, {}, nil] }
answers("nil for a body of 204", 204) { [204, {}, nil] }
answers("nil for a body of 304", 304) { [304, {}, nil] }
either("a String for a body", [200, 500]) { [200, {}, "a"] }
fails("an Integer for a body") { [200, {}, 5] }
fails("an object for a body") { [200, {}, Object.new] }
either("a Hash for a body", [200, 500, :cut]) { [200, {}, { "a" => "b" }] }
either("a Symbol in a body", [500, :cut]) { [200, {}, ["a", :b]] }
either("an Integer in a body", [500, :cut]) { [200, {}, [5]] }
answers("nil in a body", body: "ab") { [200, {}, ["a", nil, "b"]] }
answers("empty parts", body: "ab") { [200, {}, ["", "a", "", "b", ""]] }
either("an Array in a body", [500, :cut]) { [200, {}, [["a"]]] }
answers("frozen parts", body: "ab") { [200, {}, %w[a b].each(&:freeze).freeze] }
answers("parts in UTF-16", body: "a\0b\0") { [200, {}, ["ab".encode("UTF-16LE")]] }
answers("parts that are no valid UTF-8", body: "\xFF\xFE".b) { [200, {}, ["\xFF\xFE"]] }
answers("a thousand parts", body: "p" * 1000) { [200, {}, ["p"] * 1000] }
answers("a part of five megabytes", body: "p" * 5_000_000) { [200, {}, ["p" * 5_000_000]] }
answers("a subclass of Array", body: "ab") { [200, {}, Class.new(Array).new(%w[a b])] }
answers("a subclass of String", body: "ab") { [200, {}, [Class.new(String).new("ab")]] }

answers("a body that counts its close", body: "ab", closed: 1) { |env| [200, {}, closing(env, %w[a b])] }
answers("the body of HEAD", method: "HEAD", closed: 1) { |env| [200, {}, closing(env, %w[a b])] }
answers("the body of HEAD is no response", method: "HEAD") { [200, {}, ["HTTP/1.1 200 OK\r\n\r\n"]] }
answers("a called body of HEAD", method: "HEAD") { [200, {}, ->(stream) { stream.write("a") }] }
answers("a length for HEAD", method: "HEAD", fields: { "content-length" => "9" }) { [200, { "content-length" => "9" }, []] }
answers("a body for 1.0", version: "HTTP/1.0", body: "ab", closed: 1, ends: true) { |env| [200, {}, closing(env, %w[a b])] }
answers("a body for 1.0 that stays", version: "HTTP/1.0", lines: ["Connection: keep-alive"], body: "ab", closed: 1, ends: true) { |env| [200, {}, closing(env, %w[a b])] }
answers("an empty part in a stream is no last chunk", body: "ab", closed: 1) { |env| [200, {}, closing(env, ["a", "", nil, "b"])] }
either("each without a close", [200], body: "a") { [200, {}, Class.new { def each = yield("a") }.new] }
answers("each that yields nothing", body: "", closed: 1) { |env| [200, {}, closing(env, [])] }
fails("each raises before anything", closed: 1) { |env| [200, {}, closing(env) { raise "no" }] }
either("each raises after a part", [500, :cut], closed: 1) { |env| [200, {}, closing(env) { |&part| part.call("a"); raise "no" }] }
cuts("each raises after a large part", closed: 1) { |env| [200, {}, closing(env) { |&part| part.call("a" * 100_000); raise "no" }] }
cuts("each raises after all that was announced", closed: 1) do |env|
  [200, { "content-length" => "200000" }, closing(env) { |&part| part.call("a" * 100_000); raise "no" }]
end
fails("each exits", closed: 1) { |env| [200, {}, closing(env) { exit }] }
either("each exits after a part", [500, :cut], closed: 1) { |env| [200, {}, closing(env) { |&part| part.call("a"); exit }] }
fails("each throws", closed: 1) { |env| [200, {}, closing(env) { throw :nobody }] }
cuts("each kills the thread", closed: 1) { |env| [200, {}, closing(env) { |&part| part.call("a"); Thread.exit }] }
cuts("each kills the thread, and close rescues", closed: 1) do |env|
  body = closing(env) { |&part| part.call("a"); Thread.exit }
  def body.close = super && (raise("a") rescue nil)
  [200, {}, body]
end
cuts("each kills the thread before anything, and close rescues", closed: 1) do |env|
  body = closing(env) { Thread.exit }
  def body.close = super && (raise("a") rescue nil)
  [200, {}, body]
end
cuts("each kills the thread before anything", closed: 1) { |env| [200, {}, closing(env) { Thread.exit }] }
fails("each recurses without end", closed: 1) { |env| [200, {}, closing(env) { (deeper = -> { deeper.call + 1 }).call }] }
either("each yields a Symbol", [500, :cut], closed: 1) { |env| [200, {}, closing(env) { |&part| part.call(:a) }] }
either("each yields a Symbol after a part", [500, :cut], closed: 1) { |env| [200, {}, closing(env) { |&part| part.call("a"); part.call(:b) }] }
either("each yields two values", [200, 500, :cut], closed: 1) { |env| [200, {}, closing(env) { |&part| part.call("a", "b") }] }
either("each yields without a value", [200, 500, :cut], closed: 1) { |env| [200, {}, closing(env) { |&part| part.call }] }
answers("each changes a part after it yielded it", body: "aabb", closed: 1) do |env|
  [200, {}, closing(env) do |&part|
    buffer = +"aa"
    part.call(buffer)
    part.call(buffer.replace("bb"))
    buffer.clear
  end]
end
either("each yields from another thread", [200, 500, :cut], closed: 1) do |env|
  [200, {}, closing(env) { |&part| Thread.new { part.call("a") }.tap { |thread| thread.report_on_exception = false }.join }]
end
either("each yields from ten threads at once", [200, 500, :cut], closed: 1) do |env|
  [200, {}, closing(env) do |&part|
    Array.new(10) { Thread.new { 20.times { part.call("a" * 1000) } }.tap { |thread| thread.report_on_exception = false } }.each(&:join)
  end]
end
answers("each yields from a fiber", body: "abc", closed: 1) do |env|
  [200, {}, closing(env) { |&part| Fiber.new { %w[a b c].each(&part) }.resume }]
end
answers("each is an Enumerator's", body: "abc") { [200, {}, Enumerator.new { |out| %w[a b c].each { |part| out << part } }] }
answers("each is lazy", body: "0123456789") { [200, {}, (0..9).lazy.map(&:to_s)] }
answers("each collects garbage", body: "a" * 50_000, closed: 1) do |env|
  [200, {}, closing(env) { |&part| 50.times { |n| part.call("a" * 1000) && (n % 10).zero? && GC.start } }]
end
answers("each keeps its block and calls it later", body: "a", closed: 1) do |env|
  [200, {}, closing(env) do |&part|
    part.call("a")
    (@kept ||= []) << part
  end]
end
either("a block that was kept from another response", [200, 500], closed: 1) do |env|
  [200, {}, closing(env) do |&part|
    @kept&.each { |kept| 3.times { kept.call("LATE" * 100) rescue nil } }
    part.call("b")
  end]
end
answers("close raises", body: "a", closed: nil) { [200, {}, Class.new { def each = yield("a"); def close = raise("no") }.new] }
answers("close exits", body: "a") { [200, {}, Class.new { def each = yield("a"); def close = exit }.new] }
either("close kills the thread", [200], body: "a") { [200, {}, Class.new { def each = yield("a"); def close = Thread.exit }.new] }
fails("respond_to raises") { [200, {}, Class.new { def respond_to?(*) = raise("no") }.new] }
fails("to_ary raises") { [200, {}, Class.new { def to_ary = raise("no"); def each = yield("a") }.new] }
# As Puma, which asks whether it is an Array. Rails 7.1 to 8.0 stream an Enumerator this way.
{ "an Integer" => 5, "false" => false, "a String" => "x", "a Hash" => { "x" => "y" }, "an Enumerator" => %w[x].each, "lazy" => %w[x].lazy,
  "a StringIO" => StringIO.new("x") }.each do |what, other|
  answers("to_ary is #{what}", body: "a") { [200, {}, Class.new { define_method(:to_ary) { other }; def each = yield("a") }.new] }
end
answers("to_ary is nil", body: "a") { [200, {}, Class.new { def to_ary = nil; def each = yield("a") }.new] }
answers("to_ary is an Array of parts", body: "ab") { [200, {}, Class.new { def to_ary = %w[a b]; def each = yield("x") }.new] }
fails("to_path raises") { [200, {}, Class.new { def to_path = raise("no"); def each = yield("a") }.new] }
answers("to_path of a file", body: File.read(__FILE__)) { [200, {}, Class.new { def to_path = __FILE__; def each = yield("a") }.new] }
answers("to_path of a file that is not there", body: "a") { [200, {}, Class.new { def to_path = "/no/such/file"; def each = yield("a") }.new] }
answers("to_path of a folder", body: "a") { [200, {}, Class.new { def to_path = __dir__; def each = yield("a") }.new] }
answers("to_path of a device", body: "a") { [200, {}, Class.new { def to_path = "/dev/zero"; def each = yield("a") }.new] }
answers("to_path is a Pathname", body: File.read(__FILE__), fields: { "content-length" => File.size(__FILE__).to_s }) do
  [200, {}, Class.new { def to_path = Pathname(__FILE__); def each = yield("x") }.new]
end
answers("to_path has a to_str", body: File.read(__FILE__), fields: { "content-length" => File.size(__FILE__).to_s }) do
  [200, {}, Class.new { def to_path = Class.new { def to_str = __FILE__ }.new; def each = yield("x") }.new]
end
fails("to_path is an Integer") { [200, {}, Class.new { def to_path = 5; def each = yield("a") }.new] }
fails("to_path is a Symbol") { [200, {}, Class.new { def to_path = :a; def each = yield("a") }.new] }
fails("to_path has a to_str that is no String") { [200, {}, Class.new { def to_path = Class.new { def to_str = 5 }.new; def each = yield("a") }.new] }
either("to_path with a NUL", [200, 500]) { [200, {}, Class.new { def to_path = "a\0b"; def each = yield("a") }.new] }
either("to_path is nil", [200, 500]) { [200, {}, Class.new { def to_path = nil; def each = yield("a") }.new] }
answers("a file", body: File.read(__FILE__)) { [200, {}, File.open(__FILE__)] }
answers("a file for HEAD", method: "HEAD") { [200, {}, File.open(__FILE__)] }
answers("a file longer than its length", body: File.read(__FILE__)[0, 5]) { [200, { "content-length" => "5" }, File.open(__FILE__)] }
cuts("a file shorter than its length") { [200, { "content-length" => "9999999" }, File.open(__FILE__)] }
either("a file that was closed", [500, :cut]) { [200, {}, File.open(__FILE__).tap(&:close)] }
cuts("a file that is cut while it is sent") do
  file = Tempfile.new("fault")
  file.write("f" * 5_000_000)
  file.rewind
  file.truncate(10)
  [200, { "content-length" => "5000000" }, file]
end
# What the app says of a file is asked for, but its descriptor is the VM's.
[-1, 1, 10**20, nil, "1", 0.5].each do |fileno|
  answers("a file whose fileno is #{fileno.inspect}", body: File.read(__FILE__)) do
    [200, {}, File.open(__FILE__).tap { |file| file.define_singleton_method(:fileno) { fileno } }]
  end
end
answers("a file whose fileno raises", body: File.read(__FILE__)) { [200, {}, File.open(__FILE__).tap { |file| def file.fileno = raise("no") }] }
[-1, 10**20, nil, "1", Object.new].each do |wrong|
  fails("a file whose size is #{wrong.class} #{wrong.to_s[0, 3]}") { [200, {}, File.open(__FILE__).tap { |file| file.define_singleton_method(:size) { wrong } }] }
  fails("a file whose pos is #{wrong.class} #{wrong.to_s[0, 3]}") { [200, {}, File.open(__FILE__).tap { |file| file.define_singleton_method(:pos) { wrong } }] }
end
fails("a file whose size closes it") { [200, {}, File.open(__FILE__).tap { |file| def file.size = close && 0 || 5 }] }
answers("a file that was read from", body: File.read(__FILE__)[5..]) { [200, {}, File.open(__FILE__).tap { |file| file.read(5) }] }
answers("a file that was written to and not flushed", body: "written") do
  file = Tempfile.create("fault").tap { |open| File.unlink(open) }
  file.write("written")
  file.seek(0)
  [200, {}, file]
end

# Every IO of Ruby 3.2 has a `path`.
answers("a pipe for a body", body: "piped") do
  reader, writer = IO.pipe
  writer.write("piped")
  writer.close
  [200, {}, reader]
end
answers("a command's pipe for a body", body: "a\nb\n") { [200, {}, IO.popen("echo a; echo b")] }
answers("a socket for a body", body: "sent") do
  ours, theirs = UNIXSocket.pair
  theirs.write("sent")
  theirs.close
  [200, {}, ours]
end
answers("a FIFO for a body", body: "fifo") do
  path = File.join(Dir.mktmpdir, "fifo")
  File.mkfifo(path)
  writer = Thread.new { File.write(path, "fifo") }
  file = File.open(path)
  writer.join
  FileUtils.rm_rf(File.dirname(path))
  [200, {}, file]
end
answers("a device for a body", body: "") { [200, {}, File.open(File::NULL)] }
fails("a folder for a body") { [200, {}, File.open(__dir__)] }
