# frozen_string_literal: true

require_relative "../helper"
require_relative "../helpers/certificates"
require "rserve/mini_ssl"
require "tmpdir"

# TLS options, from `ssl_bind` to a context.
class MiniSSLTest < TimedTestCase
  def setup
    @folder = Dir.mktmpdir
    @cert, @key = Certificates.new(@folder).issue("server")
  end

  def teardown
    FileUtils.rm_rf(@folder)
  end

  def test_the_url_of_ssl_bind_gives_back_its_options
    options = { cert: @cert, key: @key, ca: File.join(@folder, "ca.crt"), verify_mode: "force_peer",
                no_tlsv1: true, ssl_cipher_filter: "AES@STRENGTH", verification_flags: %w[TRUSTED_FIRST NO_CHECK_TIME],
                reuse: { size: 2_000, timeout: 20 }, sni: [{ cert: @cert, key: @key }] }
    context = context_of(Rserve::DSL.ssl_bind_str("127.0.0.1", 1, options))
    assert_equal [@cert, @key, 3, true, false], [context.cert, context.key, context.verify_mode, context.no_tlsv1,
                                                 context.no_tlsv1_1]
    assert_equal ["AES@STRENGTH", 0x208000], [context.ssl_cipher_filter, context.verification_flags]
    assert_equal [true, 2_000, 20], [context.reuse, context.reuse_cache_size, context.reuse_timeout]
    assert_equal [{ cert: @cert, key: @key }], context.more_certificates
    assert_equal [@cert, @key, @cert, @key, context.ca], context.native.files
  end

  def test_reuse
    { "dflt" => [true, nil, nil], "100" => [true, 100, nil], "100,10" => [true, 100, 10], ",10" => [true, nil, 10],
      "off" => [nil, nil, nil], "" => [nil, nil, nil], nil => [nil, nil, nil] }.each do |value, expected|
      context = Rserve::MiniSSL::Context.new
      context.reuse = value
      assert_equal expected, [context.reuse, context.reuse_cache_size, context.reuse_timeout], value.inspect
    end
  end

  def test_what_is_missing_is_named
    {
      "key=#{@key}" => "Please specify the SSL cert via 'cert=' or 'cert_pem='",
      "cert=#{@cert}" => "Please specify the SSL key via 'key=' or 'key_pem='",
      "cert=#{@cert}&key=#{@key}&verify_mode=peer" => "Please specify the SSL ca via 'ca='",
      "cert=#{@cert}&key=#{@key}&verify_mode=maybe" => "Please specify a valid verify_mode=",
      "cert=#{@cert}&key=#{@key}&verification_flags=NONE" => "verification_flags: there is no NONE"
    }.each do |query, message|
      log = Rserve::LogWriter.strings
      assert_raises(SystemExit) { context_of("ssl://127.0.0.1:1?#{query}", log) }
      assert_includes log.stderr.string, message
    end
  end

  def test_a_change_is_seen_once_and_a_bad_one_changes_nothing
    context = context_of("ssl://127.0.0.1:1?cert=#{@cert}&key=#{@key}")
    refute context.reload_changed, "nothing has been read yet"
    context.native
    refute context.reload_changed
    Certificates.new(@folder).issue("server")
    assert context.reload_changed
    File.write(@key, "nonsense")
    assert_raises(Rserve::MiniSSL::SSLError) { context.reload_changed }
    refute context.reload_changed, "told once"
    Certificates.new(@folder).issue("server", days: -1)
    error = assert_raises(Rserve::MiniSSL::SSLError) { context.reload_changed }
    assert_equal "cert file '#{@cert}': the certificate has expired", error.message
  end

  private

  def context_of(url, log = Rserve::LogWriter.null)
    Rserve::MiniSSL::ContextBuilder.new(Rserve::Util.parse_query(url.split("?", 2).last), log).context
  end
end
