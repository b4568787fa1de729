# frozen_string_literal: true

require_relative "../helper"
require "rserve/config/configuration"

class ConfigurationTest < Minitest::Test
  def test_user_options_beat_the_files_and_these_the_defaults
    with_config("threads 2, 3\nworkers 2\n") do |path|
      conf = Rserve::Configuration.new({ config_files: [path] }) { |user| user.threads(4, 8) }
      options = conf.load

      assert_equal [4, 8, 2], options.final_options.values_at(:min_threads, :max_threads, :workers)
      assert_equal 20, options[:persistent_timeout]
    end
  end

  def test_binds_of_the_user_replace_those_of_the_file
    with_config("port 3000\nbind 'unix:///x'\n") do |path|
      conf = Rserve::Configuration.new({ config_files: [path] })

      assert_equal ["tcp://0.0.0.0:3000", "unix:///x"], conf.load[:binds]
      conf.configure { |user| user.port 4000 }
      assert_equal ["tcp://0.0.0.0:4000"], conf.options[:binds]
    end
  end

  def test_hooks_of_all_layers_run_in_the_order_of_their_definition
    ran = []
    conf = Rserve::Configuration.new do |user, file|
      user.silence_fork_callback_warning
      user.before_fork { ran << :user }
      user.before_fork { ran << :user_again }
      file.before_fork { ran << :file }
    end
    conf.run_hooks(:before_fork, nil, Rserve::LogWriter.strings)

    assert_equal %i[user user_again file], ran
  end

  def test_hooks_with_the_same_key_share_one_hash
    read = nil
    conf = Rserve::Configuration.new do |user|
      user.silence_fork_callback_warning
      user.on_worker_boot(:db) { |index, data| data[:index] = index }
      user.before_worker_shutdown("db") { |_index, data| read = data[:index] }
      user.before_worker_shutdown { |*arguments| read = [read, arguments] }
    end
    data = {}
    %i[before_worker_boot before_worker_shutdown].each { |key| conf.run_hooks(key, 7, Rserve::LogWriter.strings, data) }

    assert_equal [7, [7]], read, "and a hook without a key gets no Hash"
  end

  def test_hook_that_raises_is_reported_and_the_next_one_runs
    ran = false
    conf = Rserve::Configuration.new do |user|
      user.on_restart { raise "no" }
      user.on_restart { ran = true }
    end
    log = Rserve::LogWriter.strings
    conf.run_hooks(:on_restart, nil, log)

    assert ran
    assert_equal "WARNING hook on_restart failed with exception (RuntimeError) no\n", log.stdout.string
  end

  def test_file_is_loaded_once_and_what_it_loads_after_it
    with_config("workers 3\n") do |other|
      with_config("load '#{other}'\nworkers 2\nport 1\n") do |path|
        conf = Rserve::Configuration.new({ config_files: [path] })
        2.times { conf.load }

        assert_equal 3, conf.options[:workers]
        assert_equal ["tcp://0.0.0.0:1"], conf.options[:binds]
      end
    end
  end

  def test_lone_dash_means_no_file
    in_folder_with("config/puma.rb" => "workers 9") do
      assert_equal ["config/puma.rb"], Rserve::Configuration.new.config_files
      assert_empty Rserve::Configuration.new({ config_files: ["-"] }).config_files
    end
  end

  def test_file_of_the_environment_goes_before_the_common_one
    in_folder_with("config/puma.rb" => "", "config/puma/production.rb" => "") do
      conf = Rserve::Configuration.new({}, {}, { "RACK_ENV" => "production", "RAILS_ENV" => "test" })

      assert_equal ["config/puma/production.rb"], conf.config_files
    end
  end

  def test_environment_variables_set_defaults
    {
      { "WEB_CONCURRENCY" => "3" } => { workers: 3, preload_app: true },
      { "WEB_CONCURRENCY" => "1" } => { workers: 1, preload_app: false },
      { "WEB_CONCURRENCY" => " " } => { workers: 0, preload_app: false },
      { "PUMA_MAX_THREADS" => "9", "MAX_THREADS" => "8" } => { max_threads: 9 },
      { "MIN_THREADS" => "2" } => { min_threads: 2 },
      { "APP_ENV" => "a", "RACK_ENV" => "b" } => { environment: "a" },
      { "RSERVE_COMPAT" => "8" } => { max_keep_alive: 999, persistent_timeout: 65, max_fast_inline: nil },
      { "RSERVE_COMPAT" => "8", "PUMA_PERSISTENT_TIMEOUT" => "7" } => { persistent_timeout: 7 }
    }.each do |env, wanted|
      options = Rserve::Configuration.new({}, {}, env).clamp
      assert_equal wanted, wanted.to_h { |key, _| [key, options[key]] }, env.inspect
    end
  end

  def test_wrong_web_concurrency_is_named
    error = assert_raises(Rserve::ConfigError) { Rserve::Configuration.new({}, {}, { "WEB_CONCURRENCY" => "two" }) }
    assert_includes error.message, 'WEB_CONCURRENCY must be a whole number or auto, not "two"'
  end

  def test_level_changes_what_is_a_default_and_nothing_else
    with_config("persistent_timeout 3\nthreads 7\npuma_compat 8\nworkers 2\n") do |path|
      options = Rserve::Configuration.new({ config_files: [path] }).load.final_options

      assert_equal [3, 7, 999, true, 8],
                   options.values_at(:persistent_timeout, :max_threads, :max_keep_alive, :preload_app, :compat)
    end
  end

  def test_level_8_listens_on_ipv4_where_there_is_no_ipv6
    binds = %w[tcp://[::]:1 tcp://[::1]:2 ssl://:::3?verify_mode=none unix:///[::]:4]
    on_ipv4 = %w[tcp://0.0.0.0:1 tcp://[::1]:2 ssl://0.0.0.0:3?verify_mode=none unix:///[::]:4]
    without_ipv6 do
      { "7" => binds, "8" => on_ipv4 }.each do |level, wanted|
        conf = Rserve::Configuration.new({ binds: }, {}, { "RSERVE_COMPAT" => level })
        _, warning = capture_io { assert_equal wanted, conf.load[:binds], "level #{level}" }
        assert_equal level == "8", warning.include?("IPv6 bind requested but no non-loopback IPv6 interface"), level
      end
    end
  end

  def test_nothing_is_said_of_ipv6_to_who_does_not_ask_for_it
    without_ipv6 do
      conf = Rserve::Configuration.new({ binds: %w[tcp://0.0.0.0:1 unix:///a:b:c] }, {}, { "RSERVE_COMPAT" => "8" })
      assert_equal(["", ""], capture_io { conf.load })
      assert_equal %w[0.0.0.0 tcp://0.0.0.0:80],
                   [Rserve::Configuration.default_tcp_host(8), Rserve::Configuration.default_tcp_bind(80)]
    end
  end

  def test_blocks_for_one_mode_run_after_the_file_and_only_in_that_mode
    with_config("cluster { worker_timeout 33 }\nsingle { raise 'no' }\nworkers 2\n") do |path|
      assert_equal 33, Rserve::Configuration.new({ config_files: [path] }).load[:worker_timeout]
    end
  end

  def test_blocks_for_one_mode_may_not_change_it
    with_config("workers 2\ncluster { workers 3 }\n") do |path|
      error = assert_raises(Rserve::ConfigError) { Rserve::Configuration.new({ config_files: [path] }).load }
      assert_match(/number of workers inside a cluster configuration hook/, error.message)
    end
    assert_raises(ArgumentError) { Rserve::Configuration.new(&:single) }
  end

  def test_hooks_that_never_run_are_warned_about_unless_the_file_asks_for_workers_further_down
    { "6" => "your `on_worker_boot` block will not run.", "7" => "The code in the `before_worker_boot` block will not" }
      .each do |level, warning|
        { "on_worker_boot {}" => true, "on_worker_boot {}\nworkers 2" => false,
          "on_worker_boot {}\nsilence_fork_callback_warning" => false }.each do |text, warned|
          with_config(text) do |path|
            conf = Rserve::Configuration.new({ config_files: [path] }, {}, { "RSERVE_COMPAT" => level })
            out, = capture_io { conf.load }
            assert_equal warned, out.include?(warning), text
          end
        end
      end
  end

  def test_from_level_7_on_options_are_there_after_clamp_and_config_files_after_load
    [6, 7, 8, 9].each do |level|
      conf = Rserve::Configuration.new({ config_files: ["-"] }, {}, { "RSERVE_COMPAT" => level.to_s })
      too_early = [%i[options clamp], %i[config_files load]].filter_map do |question, _|
        conf.public_send(question)
        nil
      rescue Rserve::Configuration::NotClampedError, Rserve::Configuration::NotLoadedError => e
        e.message
      end
      wanted = %w[clamp load].zip(%w[options config_files])
                             .map { |way| Kernel.format("ensure %s is called before accessing %s", *way) }
      assert_equal level > 6 ? wanted : [], too_early, "level #{level}"
      conf.clamp
      assert_equal [level, []], [conf.options[:compat], conf.config_files]
    end
  end

  def test_an_environment_of_its_own_does_not_change_the_level
    with_level("8") do
      conf = Rserve::Configuration.new({}, {}, { "PUMA_PERSISTENT_TIMEOUT" => "9" })
      assert_equal 9, conf.clamp[:persistent_timeout]
      assert_equal 9, conf.puma_default_options({ "PUMA_PERSISTENT_TIMEOUT" => "9" })[:persistent_timeout]
    end
  end

  HOOK = proc {}

  def test_from_level_7_on_old_names_of_hooks_warn_and_hooks_are_hashes
    old = { on_restart: :before_restart, on_worker_boot: :before_worker_boot, on_refork: :before_refork,
            on_worker_shutdown: :before_worker_shutdown, on_worker_fork: :before_worker_fork,
            on_thread_start: :before_thread_start, on_thread_exit: :before_thread_exit,
            on_booted: :after_booted, on_stopped: :after_stopped }
    [6, 7, 8].each do |level|
      old.each do |word, name|
        _, err = capture_io { configured(level) { |file| file.public_send(word, &HOOK) } }
        warning = "Use '#{name}', '#{word}' is deprecated and will be removed in v8\n"
        assert_equal level > 6 ? warning : "", err, "level #{level}"
        assert_empty(capture_io { configured(level) { |file| file.public_send(name, &HOOK) } }.last)
      end
      hook = configured(level) { |file| file.before_worker_boot(:key, &HOOK) }[:before_worker_boot].first
      assert_equal level > 6 ? { cluster_only: true, id: :key } : [:key],
                   level > 6 ? hook.except(:block) : hook.drop(1)
    end
  end

  def test_at_level_9_what_was_deprecated_is_gone
    gone = assert_raises(NoMethodError) { configured(9) { |file| file.on_worker_boot(&HOOK) } }
    assert_equal "'on_worker_boot' is gone in Puma 9: use 'before_worker_boot'", gone.message.lines.first.chomp
    conf = Rserve::Configuration.new({ config_files: ["-"] }, {}, { "RSERVE_COMPAT" => "9" })
    assert_equal conf.clamp, conf.options
    assert_raises(RuntimeError) { conf.clamp }
  end

  def test_events_of_the_configuration_are_fired_by_the_launchers
    heard = []
    conf = Rserve::Configuration.new({ config_files: ["-"], app: HOOK }) do |file|
      file.after_booted { heard << :file }
    end
    conf.events.register(:after_booted) { heard << :events }
    given = Rserve::Events.new
    given.register(:after_booted) { heard << :given }
    launcher = Rserve::Launcher.new(conf, log_writer: Rserve::LogWriter.null, events: given)
    launcher.events.fire_after_booted!
    assert_equal %i[given file events], heard
    events = Rserve::Events.new
    assert_same events, Rserve::Configuration.new({}, { events: }).events
  end

  private

  def configured(level, &)
    Rserve::Configuration.new({ config_files: ["-"], workers: 1 }, {}, { "RSERVE_COMPAT" => level.to_s }, &)._options
  end

  def with_level(level)
    before = ENV.fetch("RSERVE_COMPAT", nil)
    ENV["RSERVE_COMPAT"] = level
    yield
  ensure
    ENV["RSERVE_COMPAT"] = before
  end

  def without_ipv6
    original = Socket.method(:getifaddrs)
    Socket.define_singleton_method(:getifaddrs) { [] }
    yield
  ensure
    Socket.define_singleton_method(:getifaddrs, original)
  end

  def with_config(text)
    Tempfile.create(["config", ".rb"]) do |file|
      file.write(text)
      file.close
      yield file.path
    end
  end

  def in_folder_with(files, &)
    Dir.mktmpdir do |folder|
      files.each do |path, text|
        FileUtils.mkdir_p(File.dirname(File.join(folder, path)))
        File.write(File.join(folder, path), text)
      end
      Dir.chdir(folder, &)
    end
  end
end
