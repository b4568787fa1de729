# frozen_string_literal: true

require "fileutils"
require "minitest/autorun"
require "open3"
require "rbconfig"
require "tmpdir"

# gem/tasks/rooms tells what is in the wrong place.
class RoomsTest < Minitest::Test
  PROGRAM = File.expand_path("../../gem/tasks/rooms", __dir__)
  CORE = "ext/rserve-core/src"

  # What it says of a house with these files.
  def told(files)
    Dir.mktmpdir do |house|
      files.each do |path, text|
        FileUtils.mkdir_p(File.dirname("#{house}/#{path}"))
        File.write("#{house}/#{path}", text)
      end
      output, = Open3.capture2e(RbConfig.ruby, PROGRAM, house)
      output
    end
  end

  def test_a_room_imports_from_below
    [
      ["pool/seat.rs", "use super::backlog;\nuse crate::net::Peer;\n"],
      ["net/mod.rs", "// crate::server\n//! use crate::server::Server;\nuse crate::sys;\n"],
      ["net/stream.rs", "mod tests {\n    use super::*;\n    use super::super::tls;\n}\n"],
      ["cluster/balance/gate.rs", "use crate::cluster::Index;\nuse super::{Place, Verdict};\n"],
      ["cluster/master/inbox.rs", "use crate::cluster::link::Bell;\n"],
      ["lib.rs", "pub use sys::duplicate;\n"]
    ].each { |path, text| assert_empty(told("#{CORE}/#{path}" => text), path) }
  end

  def test_and_from_nowhere_else
    [
      ["pool/seat.rs", "use crate::server::Server;\n", "server::Server, but pool is below server"],
      ["net/mod.rs", "fn at(server: &crate::server::Server) {}\n", "net is below server"],
      ["net/stream.rs", "mod tests {\n    use super::super::super::server::*;\n}\n", "net is below server"],
      ["net/stream.rs", "use super::super::pool;\n", "net is below pool"],
      ["pool/mod.rs", "use crate::{\n    net,\n    shared::Shared,\n};\n", "pool is below shared"],
      ["cluster/mod.rs", "pub use balance::Gate;\nuse crate::cluster::{balance, link};\n",
       "cluster is below cluster::balance"],
      ["cluster/link/ipc.rs", "use super::super::master::Event;\n", "cluster::link is below cluster::master"],
      ["net/mod.rs", "use crate::duplicate;\n", "is in no room"],
      ["attic.rs", "", "attic.rs is in no room"]
    ].each { |path, text, want| assert_includes(told("#{CORE}/#{path}" => text), want, path) }
  end

  def test_files_and_folders_have_a_greatest_size
    %w[ext/rserve/src/a.rs lib/a.rb test/unit/a.rb gem/tasks/a].each do |path|
      assert_empty(told(path => "\n" * 600))
      assert_includes(told(path => "\n" * 601), "#{path} has 601 lines")
    end
    files = ("a".."p").to_h { |name| ["ext/rserve/src/vm/#{name}.rs", ""] }
    assert_includes(told(files), "ext/rserve/src/vm/ has 16 files")
    assert_empty(told(files.first(15).to_h))
  end
end
