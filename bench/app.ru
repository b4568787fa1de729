# frozen_string_literal: true

# What the workloads ask for, by path.
HELLO = ["Hello World"].freeze
BIG = [("x" * 102_400).freeze].freeze
CHUNK = ("x" * 2048).freeze
TEXT = { "content-type" => "text/plain" }.freeze

# A body of many parts without a length: it leaves in chunks.
class Chunks
  def each = 50.times { yield CHUNK }
end

# Computes for about so many milliseconds (Ruby 3.3, a core of 2.6 GHz): always the same work, so that what a server
# costs the app by interrupting it counts, too.
def compute(milliseconds)
  (milliseconds * 27).times { Array.new(150) { |row| "row #{row * 7 % 150}" }.sort.join(",").sum }
end

# What most stacks have in front of the app: something that times, something that tags, something that looks at cookies.
class Middleware
  def initialize(app, header)
    @app = app
    @header = header
  end

  def call(env)
    env["bench.#{@header}"] = env["HTTP_COOKIE"].to_s.size
    status, headers, body = @app.call(env)
    [status, headers.merge(@header => "1"), body]
  end
end

app = lambda do |env|
  case env["PATH_INFO"]
  when "/big" then return [200, TEXT.dup, BIG]
  when "/chunks" then return [200, TEXT.dup, Chunks.new]
  when "/echo" then return [200, TEXT.dup, [env["rack.input"].read]]
  when "/sleep" then sleep 0.005
  when "/cpu" then compute(1)
  when "/wait" then sleep 0.1
  when "/work" then compute(20)
  end
  [200, TEXT.dup, HELLO]
end
stack = %w[x-runtime x-request-id x-cookies].reduce(app) { |inner, header| Middleware.new(inner, header) }

run ->(env) { (env["PATH_INFO"] == "/stack" ? stack : app).call(env) }
