# frozen_string_literal: true

require "open3"
require_relative "../helpers/rails_case"
require_relative "../helpers/certificates"

# The Rails app in Chromium. Its own system tests run in their own process, where Capybara starts the server.
class RailsSystemTest < RailsCase
  CHROMIUM = "/usr/bin/chromium"

  def setup
    skip "no Chromium here" unless File.executable?(CHROMIUM)
    super
    @temporary = folder # for what the browser leaves behind
    app_env["TMPDIR"] = @temporary
  end

  def teardown
    wait_for_the_browsers_end if @temporary
    super
  end

  def test_capybara_starts_rserve
    run_system_tests("CAPYBARA_SERVER" => "rserve")
  end

  def test_capybara_starts_rserve_when_it_is_to_start_puma
    # Before, it asks for Puma 5's classes.
    skip "Capybara #{capybara} does not know Puma 6" if capybara < Gem::Version.new("3.38")

    run_system_tests({})
  end

  def test_a_page_over_tls
    cert, key = Certificates.new(folder).issue("server")
    port = UniquePort.call
    spawn_app "-b", "ssl://127.0.0.1:#{port}?cert=#{cert}&key=#{key}", env: { "FORCE_SSL" => "1" }
    page, errors, status = Open3.capture3(
      { "TMPDIR" => @temporary }, CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
      "--disable-dev-shm-usage", "--user-data-dir=#{@temporary}/profile", "--ignore-certificate-errors", "--dump-dom",
      "https://127.0.0.1:#{port}/notes"
    )
    assert status.success?, errors
    assert_includes page, "<h1>Notes</h1>"
  end

  private

  def gems = super + %w[capybara selenium-webdriver]

  def run_system_tests(env)
    output = command(app_env.merge(env), RbConfig.ruby, "-S", "bundle", "exec", RbConfig.ruby,
                     "test/system/notes_test.rb", chdir: app)
    assert_match(/ [1-9]\d* assertions, 0 failures, 0 errors, 0 skips/, output)
  end

  def capybara = Bundles.version("capybara")

  # Its processes name their profile, which is in the temporary folder, and write to it to the last.
  def wait_for_the_browsers_end
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + Patience.for(20)
    while Dir["/proc/[0-9]*/cmdline"].any? { |path| command_line(path).include?("=#{@temporary}/") }
      flunk "the browser has not ended" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      sleep 0.02
    end
  end

  def command_line(path)
    File.read(path)
  rescue SystemCallError
    "" # it has ended
  end
end
