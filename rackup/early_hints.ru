# frozen_string_literal: true

# Tells the browser what the page will need (103 Early Hints) while the page is still being made.
# Run it with --early-hints.
run lambda { |env|
  env["rack.early_hints"]&.call("link" => "</style.css>; rel=preload; as=style")
  next [200, { "content-type" => "text/css" }, ["h1 { color: teal }\n"]] if env["PATH_INFO"] == "/style.css"

  sleep 0.1
  page = "<!doctype html><link rel=stylesheet href=/style.css><h1>Here before it was asked for</h1>\n"
  [200, { "content-type" => "text/html" }, [page]]
}
