# frozen_string_literal: true

ENV["RAILS_ENV"] = "test"
require_relative "../../config/environment"
require "rails/test_help"
require "selenium/webdriver"

# CAPYBARA_SERVER  which server Capybara is to start; without, Rails says which: Puma
if (name = ENV.fetch("CAPYBARA_SERVER", nil))
  require "rserve/capybara"
  Capybara.server = name.to_sym, { Silent: true }
end

Capybara.register_driver(:chromium) do |app|
  options = Selenium::WebDriver::Chrome::Options.new(
    binary: "/usr/bin/chromium",
    args: %w[--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --window-size=1000,800]
  )
  service = Selenium::WebDriver::Service.chrome(path: "/usr/bin/chromedriver")
  Capybara::Selenium::Driver.new(app, browser: :chrome, options:, service:)
end

Capybara.default_max_wait_time = 20

class NotesTest < ActionDispatch::SystemTestCase
  self.use_transactional_tests = false
  driven_by :chromium

  def test_a_note_with_a_file_is_seen_by_others_at_once
    visit "/notes"
    assert_selector "body[data-cable=connected]", visible: :all
    other = open_new_window
    within_window(other) do
      visit "/notes"
      fill_in "body", with: "Grüße"
      attach_file "file", Rails.root.join("public/500.html")
      click_on "Save"
      assert_selector "h1", text: "Grüße"
      assert_selector "a#file", text: "500.html"
    end
    assert_selector "#live li", text: "Grüße"
    assert_equal Rails.root.join("public/500.html").read, Note.last.file.download.force_encoding("UTF-8")
  end
end
