# frozen_string_literal: true

# GET /sleep<seconds> answers after that time and names the process.
run lambda { |env|
  seconds = env["PATH_INFO"][%r{\A/sleep(\d+(?:\.\d+)?)}, 1].to_f
  sleep seconds
  [200, { "content-type" => "text/plain" }, ["Slept #{seconds} #{Process.pid}"]]
}
