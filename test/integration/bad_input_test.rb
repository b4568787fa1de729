# frozen_string_literal: true

require_relative "../helpers/server_case"

# What an operator can get wrong: one line that names it, exit status 1, and nothing half-started.
class BadInputTest < ServerCase
  parallelize_me!

  def test_an_unknown_option
    assert_refused(/--frobnicate/) { spawn_server "--frobnicate", wait: false }
  end

  def test_an_option_without_its_value
    assert_refused(/-p|--port/) { spawn_server "-p", app: nil, wait: false }
  end

  def test_a_rackup_file_that_is_not_there
    assert_refused(/no-such-app\.ru/) { spawn_server app: "no-such-app.ru", wait: false }
  end

  def test_a_configuration_file_that_is_not_there
    assert_refused(/no-such-config\.rb/) { spawn_server config_file: "no-such-config.rb", wait: false }
  end

  def test_a_configuration_file_that_cannot_be_read
    skip "root reads everything" if Process.uid.zero?
    path = file("secret.rb", "").tap { |name| File.chmod(0, name) }
    assert_refused(/secret\.rb/) { spawn_server config_file: path, wait: false }
  end

  def test_a_configuration_file_that_raises
    assert_refused(/config\.rb:2.*no database/) { spawn_server config: "\nraise 'no database'\n", wait: false }
  end

  def test_a_word_that_no_configuration_has
    assert_refused(/config\.rb:1.*thraeds/) { spawn_server config: "thraeds 1, 2\n", wait: false }
  end

  def test_a_port_that_is_taken
    taken = TCPServer.new("127.0.0.1", 0)
    assert_refused(/in use.*#{taken.addr[1]}|#{taken.addr[1]}.*in use/i) do
      spawn_server "-b", "tcp://127.0.0.1:#{taken.addr[1]}", listen: false, wait: false
    end
  ensure
    taken.close
  end

  def test_an_address_that_is_not_this_machine
    # Reserved for documentation (RFC 5737), so nobody has it.
    assert_refused(/192\.0\.2\.1/) { spawn_server "-b", "tcp://192.0.2.1:9292", listen: false, wait: false }
  end

  def test_a_scheme_that_cannot_be_bound
    assert_refused(/gopher/) { spawn_server "-b", "gopher://127.0.0.1:70", listen: false, wait: false }
  end

  # What cannot be bound, and what the one line says of it.
  UNBINDABLE = {
    "tcp://no-such-host.invalid:9292" => /Cannot listen on tcp:.*: getaddrinfo/,
    "tcp://[fe80::1%no-such-zone]:9292" => /Cannot listen on tcp:.*: getaddrinfo/,
    "tcp://127.0.0.1:http" => /a port is a number up to 65535/,
    "tcp://127.0.0.1:99999" => /a port is a number up to 65535/,
    "tcp://192.0.2.1:9292" => /Cannot listen on tcp:.*: Cannot assign requested address$/,
    "unix:///no/such/folder/socket" => /Cannot listen on unix:.*: No such file or directory$/,
    "unix:///tmp/#{"x" * 120}" => /Cannot listen on unix:.*: too long/,
    "unix:///tmp/unbindable.sock?mode=rw" => /Cannot listen on unix:.*: invalid value/,
    "unix://" => /Invalid URI: .*can be bound/,
    "gopher://127.0.0.1:70" => /Invalid URI: .*can be bound/,
    "ssl://127.0.0.1:0?key=/none&cert=/none" => %r{Cannot listen on ssl:.*: Key file '/none' does not exist}
  }.freeze

  UNBINDABLE.each do |url, reason|
    { "a_server" => ["-b", url], "its_control_server" => ["-b", "tcp://127.0.0.1:0", "--control-url", url],
      "a_check" => ["--check", "-b", url], "a_check_of_the_control_server" => ["--check", "--control-url", url] }
      .each do |what, arguments|
        define_method(:"test_#{what}_tells_in_one_line_that_it_cannot_listen_on_#{url}") do
          assert_refused(reason) { spawn_server(*arguments, listen: false, wait: false) }
          blamed = server.log.lines.grep_v(/\A(\*|rserve starting)/)
          assert_equal 1, blamed.size, server.log
        end
      end
  end

  def test_an_app_that_does_not_load
    app = file("broken.ru", "raise 'the app is broken'\n")
    assert_refused(/the app is broken/) { spawn_server(app:, wait: false) }
  end

  private

  def assert_refused(reason)
    yield
    assert_exits 1
    assert_match reason, server.log
    refute_match(/Ctrl-C/, server.log)
  end
end
