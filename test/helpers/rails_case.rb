# frozen_string_literal: true

require "securerandom"
require "uri"
require_relative "server_case"
require_relative "bundles"

# A test of the Rails app in test/rails, with rserve in its Gemfile as users have it. Each test has a copy of it.
class RailsCase < ServerCase
  include Bundles

  NAME = TestServer::PUMA ? "puma" : "rserve"
  GEMS = %w[railties activerecord activejob activestorage actionpack actioncable sqlite3].freeze

  # Who started the server that the tests of a class share, by class.
  OWNERS = {} # rubocop:disable Style/MutableConstant
  Minitest.after_run { OWNERS.each_value(&:end_shared) }

  # An answer with what a browser keeps of it.
  Page = Struct.new(:response, :cookie) do
    def status = response.status
    def body = response.body.force_encoding("UTF-8")
    def [](name) = response[name]
    def token = body[/name="authenticity_token" value="([^"]+)"/, 1]
  end

  def setup
    super
    missing = gems.reject { |name| Bundles.installed?(name) }
    skip "not here: #{missing.join(", ")}" if missing.any?
  end

  # What is shared stays until all tests are done.
  def teardown
    owner = OWNERS[self.class]
    shared = owner&.shared
    warn "--- #{full_name}: log of #{shared.pid}", shared.log, "---" if shared && server == shared && !passed?
    super unless owner.equal?(self)
  end

  def end_shared
    warn "INT did not end #{server.pid}:", server.log unless server.stop
    @folders.each { |folder| FileUtils.rm_rf(folder) }
  end

  # The server that this test started for its class.
  def shared = @servers.first

  # The folder of this test's copy of the app.
  def app
    @app ||= folder.tap { |place| FileUtils.cp_r("#{TestServer::ROOT}/test/rails/.", place) }
  end

  private

  # The environment to run it in.
  # @param others [Array<String>] further lines of the Gemfile, at the first call
  def app_env(others = []) = @app_env ||= app_bundle(others).merge("APP_DATA" => folder)

  # The app's, with rserve.
  def gems = GEMS

  # Resolving takes a second: what it gave is kept.
  def app_bundle(others)
    @@lock ||= nil # rubocop:disable Style/ClassVars
    File.write(File.join(app, "Gemfile.lock"), @@lock) if @@lock && others.empty?
    own = TestServer::PUMA ? "gem 'puma'" : "gem 'rserve', path: #{TestServer::ROOT.dump}"
    env = bundle(app, [*gems.map { |name| "gem '#{name}'" }, own, *others, ""].join("\n"), task: "lock")
    @@lock = File.read(File.join(app, "Gemfile.lock")) if others.empty? # rubocop:disable Style/ClassVars
    env
  end

  # As {#spawn_app}, once for all tests of the class: booting Rails takes longer than most of them.
  def share_app(...)
    OWNERS[self.class] ||= tap { spawn_app(...) }
    @app = OWNERS[self.class].app
    @server = OWNERS[self.class].shared
  end

  # The executable, in the app's folder and with its config/puma.rb.
  def spawn_app(*arguments, environment: "production", env: {})
    port = UniquePort.call
    start_process([RbConfig.ruby, "-S", "bundle", "exec", NAME, "-b", "tcp://127.0.0.1:#{port}", "-e", environment,
                   *arguments], port:, chdir: app, env: app_env.merge(env))
  end

  def rails_server(*arguments, env: {})
    port = UniquePort.call
    start_process([RbConfig.ruby, "bin/rails", "server", "-b", "127.0.0.1", "-p", port.to_s, *arguments],
                  port:, chdir: app, env: app_env.merge(env))
  end

  # @param cookie [String, nil] a page's
  def visit(target, cookie: nil, headers: {})
    page(get(target, headers: { "Cookie" => cookie, **headers }.compact), cookie)
  end

  # Sends a form, as multipart if there is a file in it.
  # @param file [String, nil] content of the field note[file]
  def submit(target, fields, file: nil, cookie: nil, accept: "text/html", timeout: 30)
    type, body = file ? multipart(fields, file) : urlencoded(fields)
    head = "POST #{target} HTTP/1.1\r\nHost: localhost\r\nAccept: #{accept}\r\nContent-Type: #{type}\r\n" \
           "Content-Length: #{body.bytesize}\r\n#{"Cookie: #{cookie}\r\n" if cookie}\r\n"
    page(request(head.b << body, timeout:), cookie)
  end

  def submit_json(target, fields, **options) = submit(target, fields, accept: "application/json", **options)

  def urlencoded(fields) = ["application/x-www-form-urlencoded", URI.encode_www_form(fields)]

  def multipart(fields, file)
    boundary = SecureRandom.hex
    body = fields.map do |name, value|
      "--#{boundary}\r\nContent-Disposition: form-data; name=\"#{name}\"\r\n\r\n#{value}\r\n"
    end.join.b
    body << "--#{boundary}\r\nContent-Disposition: form-data; name=\"note[file]\"; filename=\"file.bin\"\r\n" \
            "Content-Type: application/octet-stream\r\n\r\n" << file << "\r\n--#{boundary}--\r\n"
    ["multipart/form-data; boundary=#{boundary}", body]
  end

  def page(response, cookie) = Page.new(response, response["Set-Cookie"]&.[](/\A[^;]+/) || cookie)

  # The path of a redirection within the app.
  def location(page) = URI(page["Location"]).request_uri

  def notes = JSON.parse(visit("/notes.json").body)
end
