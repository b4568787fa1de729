# frozen_string_literal: true

require_relative "../helpers/server_case"

# `rackup` finds the server by its name and starts it.
class HandlersTest < ServerCase
  parallelize_me!

  def test_rackup
    start_rackup
    assert_serving
    server.signal(:INT)
    assert_exits 0
  end

  def test_rackup_passes_options_on
    start_rackup "-O", "Threads=3:4", "-E", "production"
    assert_log(/Min threads: 3$/)
    assert_log(/Max threads: 4$/)
    assert_log(/Environment: production$/)
  end

  private

  def start_rackup(*arguments)
    port = UniquePort.call
    start_process([RbConfig.ruby, "-Ilib", rackup, "-s", TestServer::PUMA ? "puma" : "rserve", "-o", "127.0.0.1",
                   "-p", port.to_s, *arguments, "test/rackup/hello.ru"], port:, chdir: TestServer::ROOT)
  end

  # Part of Rack 2; a gem of its own with Rack 3.
  def rackup
    name = %w[rackup rack].find { |gem| Gem.loaded_specs.key?(gem) } or skip "no rackup here"
    Gem.bin_path(name, "rackup")
  end
end
