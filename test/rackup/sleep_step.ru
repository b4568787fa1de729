# frozen_string_literal: true

# GET /sleep<seconds>-<step> answers after that time and names the step.
run lambda { |env|
  _, seconds, step = *env["PATH_INFO"].match(%r{\A/sleep(\d+(?:\.\d+)?)(?:-(\d+))?})
  sleep seconds.to_f
  [200, { "content-type" => "text/plain" }, ["Slept #{seconds.to_f} #{step.to_i}"]]
}
