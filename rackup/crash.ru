# frozen_string_literal: true

# Every way in which an app can go wrong, one path each. The server goes on, and so do its other requests.
broken_body = Enumerator.new do |out|
  out << "half of it"
  raise "the other half is missing"
end

run lambda { |env|
  text = { "content-type" => "text/plain" }
  case env["PATH_INFO"]
  when "/raise" then raise "this app raises"
  when "/throw" then throw :nobody_catches_this
  when "/body" then [200, text, broken_body]
  when "/no-response" then nil
  when "/bad-header" then [200, text.merge("x-split" => "one\r\ntwo: three"), ["split\n"]]
  when "/kill-thread" then Thread.current.kill
  when "/exit" then exit # the server treats it as any other exception
  when "/exit-now" then exit! # ends this process; in a cluster, another worker takes its place
  else [200, text, ["still here\n"]]
  end
}
