# frozen_string_literal: true

require_relative "../helpers/server_case"

# Whole config files as people have them in their applications.
class ConfigFilesTest < ServerCase
  parallelize_me!

  # What `rails new` writes to config/puma.rb, without its comments.
  RAILS = {
    "6.1" => <<~RUBY,
      max_threads_count = ENV.fetch("RAILS_MAX_THREADS") { 5 }
      min_threads_count = ENV.fetch("RAILS_MIN_THREADS") { max_threads_count }
      threads min_threads_count, max_threads_count
      worker_timeout 3600 if ENV.fetch("RAILS_ENV", "development") == "development"
      port ENV.fetch("PORT") { 3000 }
      environment ENV.fetch("RAILS_ENV") { "development" }
      pidfile ENV.fetch("PIDFILE") { "tmp/pids/server.pid" }
      plugin :tmp_restart
    RUBY
    "7.2" => <<~RUBY,
      threads_count = ENV.fetch("RAILS_MAX_THREADS", 3)
      threads threads_count, threads_count
      port ENV.fetch("PORT", 3000)
      plugin :tmp_restart
      pidfile ENV["PIDFILE"] if ENV["PIDFILE"]
    RUBY
    "8.0" => <<~RUBY
      threads_count = ENV.fetch("RAILS_MAX_THREADS", 3)
      threads threads_count, threads_count
      port ENV.fetch("PORT", 3000)
      plugin :tmp_restart
      plugin :solid_queue if ENV["SOLID_QUEUE_IN_PUMA"]
      pidfile ENV["PIDFILE"] if ENV["PIDFILE"]
    RUBY
  }.freeze

  RAILS.each do |version, config|
    define_method("test_configuration_that_rails_#{version.tr(".", "_")}_generates") { check_rails(config) }
  end

  def test_configuration_that_the_installed_rails_generates
    template = Gem.path.flat_map do |path|
      Dir.glob("#{path}/gems/railties-*/lib/rails/generators/rails/app/templates/config/puma.rb.tt")
    end.first
    skip "no Rails here" unless template
    check_rails(File.read(template))
  end

  LEVEL_8 = <<~RUBY
    puma_compat 8
    workers 2
    threads 1, 1
    max_keep_alive 2
    fiber_per_request
    before_worker_boot { |index| puts "booting \#{index}" }
    after_booted { puts "everybody is there" }
    before_worker_shutdown { |index| puts "leaving \#{index}" }
    cluster { tag "of a cluster" }
    single { raise "this is no single mode" }
    app do |env|
      seen = Thread.current[:seen] # belongs to the fiber
      Thread.current[:seen] = true
      options = Puma.cli_config.options
      [200, { "X-Seen" => seen.inspect, "X-Tag" => options[:tag], "X-Version" => Puma::Const::VERSION,
              "X-Hijack" => env["rack.hijack"].class.name, "X-Timeout" => options[:persistent_timeout].to_s,
              "X-Fast-Inline" => options[:max_fast_inline].inspect }, []]
    end
  RUBY

  def test_configuration_written_for_level_8
    spawn_server(app: nil, config: LEVEL_8)
    assert_log(/Preloading application/)
    assert_log(/everybody is there/)
    2.times { |index| assert_log(/^booting #{index}$/) }
    server.exchange("") do |reader, socket|
      heads = Array.new(2) do
        socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        reader.receive.head.lines.drop(1).map(&:chomp).grep_v(/\Adate:|\A\z/)
      end
      same = ["x-seen: nil", "x-tag: of a cluster", "x-version: 8.0.2", "x-hijack: Proc", "x-timeout: 65",
              "x-fast-inline: nil"]
      assert_equal [same + ["content-length: 0"], same + ["connection: close", "content-length: 0"]], heads
    end
    server.signal(:INT)
    assert_exits 0
    2.times { |index| assert_log(/^leaving #{index}$/) }
  end

  def test_level_8_listens_on_every_address_and_ipv6_where_there_is_any
    outside = Socket.ip_address_list.any? { |ip| ip.ipv6? && !ip.ipv6_loopback? }
    { "6" => "0.0.0.0", "7" => "0.0.0.0", "8" => outside ? "[::]" : "0.0.0.0" }.each do |level, host|
      config = Puma::Configuration.new({}, {}, { "RSERVE_COMPAT" => level })
      assert_equal ["tcp://#{host}:9292"], config.load[:binds], level
    end
  end

  private

  def check_rails(config)
    place = folder
    FileUtils.mkdir_p([File.join(place, "config"), File.join(place, "tmp/pids")])
    File.write(File.join(place, "config/puma.rb"), config)
    File.write(File.join(place, "config.ru"), "run ->(_) { [200, {}, [Process.pid.to_s]] }\n")
    port = UniquePort.call
    start_process([RbConfig.ruby, TestServer.rserve],
                  port:, chdir: place, env: { "PORT" => port.to_s, "RUBYLIB" => nil, "RAILS_ENV" => nil })
    assert_log(%r{Listening on http://0\.0\.0\.0:#{port}$})
    assert_serving server.pid.to_s

    mark = server.mark
    FileUtils.touch(File.join(place, "tmp/restart.txt"))
    server.wait_for_log(/Restarting.*Ctrl-C/m, after: mark)
    assert_serving server.pid.to_s
  end
end
