# frozen_string_literal: true

require "open3"
require_relative "../helpers/bundles"
require_relative "../helpers/server_case"

# What an operator is told of a server that does not start.
class FailedStartTest < ServerCase
  include Bundles

  parallelize_me!

  def test_application_that_fails_is_blamed_on_its_own_line
    app = file("config.ru", "\nrun Integer('none')\n")
    spawn_server "-w", "1", "--preload", app:, wait: false
    assert_log(/! Unable to load application: ArgumentError: .*\n.*!   at #{Regexp.escape(app)}:2:/)
    assert_exits 1
  end

  def test_taken_unix_socket_says_by_whom
    spawn_server unix: true
    taken = server
    spawn_server "-b", "unix://#{taken.path}", listen: false, wait: false
    assert_log(/There is already a server bound to: #{taken.path} \(pid #{taken.pid}: rserve /)
    assert_exits 1
  end

  # The library of another Ruby, or one that the loader does not take.
  def test_native_library_that_does_not_fit_is_told_with_the_remedy
    copy = folder
    %w[lib gem/exe].each do |part|
      FileUtils.mkdir_p(File.dirname(File.join(copy, part)))
      FileUtils.cp_r(File.join(TestServer::ROOT, part), File.join(copy, part))
    end
    abi = RbConfig::CONFIG.fetch("ruby_version")
    library = File.join(copy, "lib/rserve", abi, "rserve.so")
    File.truncate(library, 100)
    assert_match(/\Arserve: rserve's native library for Ruby #{abi} does not load: .+ && rake compile\n\z/, start(copy))
    File.rename(File.dirname(library), File.join(copy, "lib/rserve/2.0.0"))
    assert_match(/\Arserve: .+ is missing \(there is one for .*2\.0\.0.*\)\. To build it: .+ && rake compile\n\z/,
                 start(copy))
  end

  private

  def start(root)
    output, status = Open3.capture2e(unbundled, RbConfig.ruby, File.join(root, "gem/exe/rserve"), "-V", chdir: root)
    assert_equal 1, status.exitstatus, output
    output
  end
end
