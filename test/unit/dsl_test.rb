# frozen_string_literal: true

require_relative "../helper"
require "rserve/config/configuration"

class DSLTest < Minitest::Test
  # What a line of a config file makes of the options.
  LINES = {
    "threads 5" => { min_threads: 5, max_threads: 5 },
    'threads "1", "5"' => { min_threads: 1, max_threads: 5 },
    "port 3000, '::1'" => { binds: ["tcp://[::1]:3000"] },
    "set_default_host '::'\nport '3000'" => { binds: ["tcp://[::]:3000"] },
    "bind 'tcp://' + default_host + ':1'" => { binds: ["tcp://0.0.0.0:1"] },
    "bind 'unix:///x'\nclear_binds!\nport 1" => { binds: ["tcp://0.0.0.0:1"] },
    "rackup 'a.ru'\nrackup 'b.ru'" => { rackup: "a.ru" },
    "quiet" => { log_requests: false },
    "log_requests" => { log_requests: true },
    "workers nil" => { workers: 0 },
    "workers ''" => { workers: 0 },
    "workers 'auto2'" => { workers: 0 },
    "workers '2 or so'" => { workers: 2 },
    "wait_for_less_busy_worker nil" => { wait_for_less_busy_worker: 0.0 },
    "fork_worker" => { fork_worker: 1000 },
    "force_shutdown_after :forever" => { force_shutdown_after: -1 },
    "force_shutdown_after :immediately" => { force_shutdown_after: 0 },
    "force_shutdown_after '1.5'" => { force_shutdown_after: 1.5 },
    "set_remote_address header: 'X-Real-IP'" =>
      { remote_address: :header, remote_address_header: "HTTP_X_REAL_IP" },
    "set_remote_address '1.2.3.4'" => { remote_address: :value, remote_address_value: "1.2.3.4" },
    "set_remote_address proxy_protocol: :v1" =>
      { remote_address: :proxy_protocol, remote_address_proxy_protocol: :v1 },
    "activate_control_app 'tcp://x:1', no_token: true" => { control_url: "tcp://x:1", control_auth_token: "none" },
    "activate_control_app 'tcp://x:1', auth_token: 'a'" => { control_url: "tcp://x:1", control_auth_token: "a" },
    "puma_compat 7\nmax_fast_inline '7'" => { max_keep_alive: 7 },
    "puma_compat 7\nmax_keep_alive 5\nmax_fast_inline 7" => { max_keep_alive: 5 },
    "max_keep_alive '3'\nmax_keep_alive nil" => { max_keep_alive: 3.0 },
    "max_keep_alive Float::INFINITY" => { max_keep_alive: Float::INFINITY },
    "worker_culling_strategy 'oldest'" => { worker_culling_strategy: :oldest },
    "ssl_bind '::1', 1, cert_pem: 'C', key_pem: 'K'" =>
      { binds: ["ssl://[::1]:1?cert=store%3A0&key=store%3A1&verify_mode=none"], store: %w[C K] },
    "environment 'x'\ntag get(:environment)" => { tag: "x" },
    "inject { workers 4 }" => { workers: 4 },
    "rserve { write_timeout 3 } if respond_to?(:rserve)" => { write_timeout: 3.0 },
    "rserve { stuck_after 3 }" => { stuck_after: 3.0 },
    "rserve { stuck_after false }" => { stuck_after: 0.0 },
    "rserve { health_bind 'tcp://x:1', 'unix:///y' }\nrserve { health_bind 'tcp://x:2' }" =>
      { health_bind: %w[tcp://x:1 unix:///y tcp://x:2] },
    "rserve { ready_saturation 10 }" => { ready_saturation: 10.0 },
    "rserve { shutdown_delay 5 }" => { shutdown_delay: 5.0 },
    "rserve { request_timeout 30, hard: '60' }" => { request_timeout: 30.0, hard_request_timeout: 60.0 },
    "rserve { request_timeout 30 }" => { request_timeout: 30.0, hard_request_timeout: nil },
    "rserve { request_timeout false }" => { request_timeout: nil, hard_request_timeout: nil },
    "rserve { queue_time_limit 5; queue_limit 0; shed_exempt '/up', '/x/*'; shed_exempt '/b' }" =>
      { queue_time_limit: 5.0, queue_limit: 0, shed_exempt: %w[/up /x/* /b] },
    "rserve { queue_time_limit false; queue_limit false }" => { queue_time_limit: nil, queue_limit: nil },
    "rserve { log_sample '0.1' }" => { log_sample: 0.1 },
    "rserve { unread_limit '1000' }" => { unread_limit: 1000 },
    "worker_check_interval 0.1" => { worker_check_interval: 0.1 },
    "worker_check_interval '0.5'\nworker_timeout 1" => { worker_check_interval: 0.5, worker_timeout: 1 },
    "" => { allow_underscore_headers: true, worker_check_interval: 5 },
    "rserve { strict }" => { strict: true, strict_host: true, strict_framing: true },
    "rserve { strict_host }" => { strict_host: true },
    "rserve { http2 }" => { http2: true },
    "rserve { http2 false }" => { http2: false },
    "rserve { strict_framing false }" => { strict_framing: false },
    "rserve { proxy_protocol :v2, from: '10.0.0.0/8' }" =>
      { remote_address: :proxy_protocol, remote_address_proxy_protocol: :v2, proxy_protocol_from: ["10.0.0.0/8"] },
    "rserve { worker_max_memory '512M' }" =>
      { worker_max_memory: { limit: 512 << 20, samples: 3, every: 30.0, hard: nil } },
    "rserve { worker_max_memory 1000, samples: 1, every: 0.5, hard: '1.5 GiB' }" =>
      { worker_max_memory: { limit: 1000, samples: 1, every: 0.5, hard: 3 << 29 } },
    "rserve { worker_max_memory nil }" => { worker_max_memory: nil },
    "rserve { max_requests 10_000 }" => { max_requests: [10_000, 0.1] },
    "rserve { max_requests '7', jitter: 0 }" => { max_requests: [7, 0.0] },
    "rserve { refork_after [50, 100, 1000] }" => { refork_after: [50, 100, 1000] },
    "rserve { refork_after 50, '100' }" => { refork_after: [50, 100] },
    "rserve { refork_after nil }" => { refork_after: nil },
    "rserve { worker_lifetime 12 * 3600, jitter: 0.5 }" => { worker_lifetime: [43_200.0, 0.5] },
    "rserve { worker_lifetime Struct.new(:to_i).new(60) }" => { worker_lifetime: [60.0, 0.1] },
    "rserve { static 'public'; static 'a', at: '/b', headers: { 'X-C': 1 } }" =>
      { static: [{ folder: "public", at: "/", headers: {} }, { folder: "a", at: "/b", headers: { "X-C" => "1" } }] },
    "rserve { x_sendfile 'storage'; x_sendfile 'a', 'b' }" => { x_sendfile: %w[storage a b] },
    "rserve { compat 6 }" => { compat: 6, persistent_timeout: 20 }
  }.freeze

  def test_words_set_options
    LINES.each do |text, wanted|
      options = evaluate(text)
      assert_equal wanted, options.slice(*wanted.keys), text
    end
  end

  def test_compress_has_levels_and_a_key
    { "compress" => [{ zstd: 3, br: 4, gzip: 5 }, 1024], "compress :gzip, min: '10'" => [{ gzip: 5 }, 10],
      "compress %w[br gzip], level: 2" => [{ br: 2, gzip: 2 }, 1024],
      "compress level: { br: 11 }" => [{ zstd: 3, br: 11, gzip: 5 }, 1024] }.each do |words, (codings, min)|
      compress = evaluate("rserve { #{words} }").fetch(:compress)
      assert_equal [codings, min], compress.values_at(:codings, :min), words
      assert_kind_of Integer, compress.fetch(:key)
    end
  end

  def test_wrong_values_are_refused
    {
      "threads 5, 1" => "must be less than or equal to the max",
      "threads 0" => "must be greater than 0",
      "puma_compat 7; workers 'x'" => "workers must be an Integer or :auto",
      "port 'x'" => "invalid value for Integer",
      "workers 10**11" => "workers must be from -2147483647 to 2147483647, not 100000000000",
      "threads(-1, 5)" => "threads must be from 0 to 2147483647, not -1",
      "threads 1, 10**30" => "threads must be from 0 to 2147483647, not 1#{"0" * 30}",
      "rserve { queue_limit 10**30 }" => "queue_limit must be from 0",
      "rserve { unread_limit(-1) }" => "unread_limit must be from 0",
      "rserve { refork_after 10**30 }" => "refork_after must be from 1",
      "rserve { worker_max_memory 10**30 }" => "worker_max_memory must be a size",
      "max_io_threads 10**30" => "max_io_threads must be from 0",
      "max_keep_alive(-1)" => "max_keep_alive must be from 0",
      "fork_worker(-1)" => "fork_worker must be from 0",
      "idle_timeout 0" => "idle_timeout must be from 1",
      "worker_check_interval 1.0 / 0" => "worker_check_interval must be from 0",
      "http_content_length_limit 'x'" => "invalid value for Integer",
      "http_content_length_limit(-1)" => "http_content_length_limit must be from 0 to 9223372036854775807, not -1",
      "worker_check_interval 0" => "worker_check_interval must be more than 0 seconds",
      "worker_timeout 5" => "must be greater than the worker reporting interval (5)",
      "rserve { health_bind 'ssl://x:1' }" => "health_bind must be tcp://HOST:PORT or unix://PATH",
      "rserve { shutdown_delay(-1) }" => "shutdown_delay must not be negative",
      "rserve { worker_max_memory 'much' }" => 'worker_max_memory must be a size such as "512M", not "much"',
      "rserve { worker_max_memory '512M', hard: '1 P' }" => "worker_max_memory hard: must be a size",
      "rserve { worker_max_memory '512M', hard: '512M' }" => "worker_max_memory hard: must be more than the limit",
      "rserve { worker_max_memory '512M', samples: 0 }" => "samples: must be at least 1, not 0",
      "rserve { worker_max_memory '512M', every: 0 }" => "every: must be a number of seconds above 0, not 0",
      "rserve { refork_after 50, 0 }" => "refork_after must be numbers of requests above 0, not 0",
      "rserve { max_requests 0 }" => "max_requests must be at least 1, not 0",
      "rserve { max_requests 10, jitter: 2 }" => "max_requests jitter: must be from 0 to 1, not 2.0",
      "rserve { worker_lifetime '12 hours' }" => 'worker_lifetime must be a number of seconds above 0, not "12 hours"',
      "worker_culling_strategy :best" => "Invalid value for worker_culling_strategy",
      "set_remote_address 1" => "Invalid value for set_remote_address",
      "supported_http_methods []" => "unique array of strings",
      "supported_http_methods %w[GET GET]" => "unique array of strings",
      "before_worker_boot(1) {}" => "'before_worker_boot' key must be String or Symbol",
      "puma_compat 7\non_worker_boot(1) {}" => "'before_worker_boot' key must be String or Symbol",
      "puma_compat 7\nafter_worker_boot" => "expected after_worker_fork to be given a block",
      "app" => "Provide either a #call'able or a block",
      "plugin :nosuch" => "Unable to find plugin: nosuch",
      "rserve { write_timeout 'x' }" => 'invalid value for Float(): "x"',
      "rserve { request_timeout 0 }" => "request_timeout must be more than 0 seconds",
      "rserve { request_timeout 30, hard: 30 }" => "hard must be more than the 30.0 seconds before it",
      "rserve { request_timeout false, hard: 30 }" => "hard needs a time before it",
      "rserve { on_request_timeout }" => "expected on_request_timeout to be given a block",
      "rserve { queue_time_limit 0 }" => "queue_time_limit must be more than 0 seconds",
      "rserve { queue_limit(-1) }" => "queue_limit must be from 0",
      "rserve { shed_exempt 'up' }" => 'shed_exempt takes paths that begin with a slash, not "up"',
      "rserve { log_sample 10 }" => "log_sample must be from 0 to 1, not 10.0",
      "rserve { wirte_timeout 1 }" => "unknown configuration word `wirte_timeout`, did you mean `write_timeout`?",
      "rserve { process_name 'falcon' }" => 'process_name must be :rserve or :puma, not "falcon"',
      "rserve { proxy_protocol :v3 }" => "proxy_protocol must be :v1 or :v2, not :v3",
      "rserve { proxy_protocol :v1, from: '10.0.0.0/99' }" => "10.0.0.0/99",
      "rserve { static 'public', at: 'assets' }" => 'static at: must begin with a slash, not "assets"',
      "rserve { static 'public', headers: { 'a b' => 'c' } }" => 'static headers: "a b: c" is no field',
      "rserve { static 'public', headers: { 'a' => \"b\\nc\" } }" => 'static headers: "a: b\\nc" is no field',
      "rserve { x_sendfile }" => "x_sendfile takes at least one folder",
      "rserve { compress :deflate }" => "compress takes :zstd, :br, :gzip, not :deflate",
      "rserve { compress [] }" => "compress takes :zstd, :br, :gzip, not nil",
      "rserve { compress :gzip, level: 10 }" => "compress level: for :gzip must be from 1 to 9, not 10",
      "rserve { compress level: { zstd: 20 } }" => "compress level: for :zstd must be from 1 to 19, not 20",
      "rserve { compress :gzip, min: 'x' }" => 'invalid value for Integer(): "x"',
      "puma_compat 5" => "compat level must be one of 6, 7, 8, 9"
    }.each do |text, message|
      assert_includes assert_raises(StandardError, text) { evaluate(text) }.message, message
    end
  end

  def test_unknown_word_is_named_with_its_line_and_the_nearest_word
    error = assert_raises(Rserve::DSL::UnknownWord) { evaluate("workers 1\n\nthraeds 5\n") }
    assert_match(/\A.+config.*\.rb:3: unknown configuration word `thraeds`, did you mean `threads`\?\z/, error.message)
  end

  def test_both_vocabularies_of_hooks_fill_the_same_option
    pairs = {
      on_worker_boot: :before_worker_boot, on_worker_shutdown: :before_worker_shutdown,
      on_worker_fork: :before_worker_fork, after_worker_boot: :after_worker_fork, on_refork: :before_refork,
      on_thread_start: :before_thread_start, on_thread_exit: :before_thread_exit
    }
    pairs.each do |old, new|
      options = evaluate("workers 1\n#{old} { 1 }\n#{new} { 2 }")
      assert_equal [1, 2], options[new].map(&:call), old
    end
  end

  def test_plugin_words_and_options_come_at_the_end_of_the_file
    plugin = Class.new(Rserve::Plugin) { def config(dsl) = dsl.tag("#{dsl.get(:environment)} by a plugin") }
    Rserve::Plugins.register("dsl_test", plugin)

    assert_equal "late by a plugin", evaluate("plugin :dsl_test\nenvironment 'late'")[:tag]
  end

  private

  def evaluate(text)
    Tempfile.create(["config", ".rb"]) do |file|
      file.write(text)
      file.close
      return Rserve::Configuration.new({ config_files: [file.path] }).load.final_options
    end
  end
end
