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

# Computes for so many seconds of processor time.
def compute(seconds)
  from = Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID)
  nil while Process.clock_gettime(Process::CLOCK_THREAD_CPUTIME_ID) - from < seconds
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
  when "/cpu" then compute(0.001)
  when "/wait" then sleep 0.1
  when "/work" then compute(0.02)
  end
  [200, TEXT.dup, HELLO]
end
stack = %w[x-runtime x-request-id x-cookies].reduce(app) { |inner, header| Middleware.new(inner, header) }

run ->(env) { (env["PATH_INFO"] == "/stack" ? stack : app).call(env) }
