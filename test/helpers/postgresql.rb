# frozen_string_literal: true

require "etc"
require "fileutils"
require "tmpdir"
require_relative "patience"

# A PostgreSQL server of a test's own, from its initialization to its end: on a UNIX socket, without passwords.
class Postgresql
  USER = "tester"
  # The newest of Debian's, or whatever is on the path.
  PROGRAMS = Dir["/usr/lib/postgresql/*/bin"].max_by { |path| path[%r{/(\d+)/}, 1].to_i }

  # Whether there is one here.
  def self.there? = !PROGRAMS.nil?

  # Where its socket is.
  attr_reader :folder

  def initialize
    @folder = Dir.mktmpdir("rserve-pg")
    @log = File.join(folder, "log")
    FileUtils.chown(account, nil, folder) if account
    run("initdb", "-D", data, "-U", USER, "-A", "trust", "--no-sync") || raise(File.read(@log))
    # By its own name, and not by a shell's: it is ended by a signal.
    @pid = start("postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off")
    wait
  rescue StandardError
    warn File.read(@log) if File.exist?(@log)
    stop
    raise
  end

  # What an application connects with.
  def words = { host: folder, user: USER, dbname: "postgres" }

  # Ends its clients' connections.
  def stop
    if @pid
      Process.kill(:INT, @pid)
      Process.wait(@pid)
    end
    FileUtils.rm_rf(folder)
  end

  private

  def data = File.join(folder, "data")

  # It refuses to be root.
  def account
    return unless Process.euid.zero?

    @account ||= %w[postgres nobody].find { |name| Etc.getpwnam(name) rescue nil } # rubocop:disable Style/RescueModifier
  end

  def wait
    give_up = now + Patience.for(30)
    until run("pg_isready", "-q", "-h", folder)
      raise "PostgreSQL does not answer" if now > give_up

      sleep 0.1
    end
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  def run(*command) = Process.wait2(start(*command)).last.success?

  def start(program, *arguments)
    user = account ? ["setpriv", "--reuid=#{account}", "--regid=#{Etc.getpwnam(account).gid}", "--clear-groups"] : []
    spawn(*user, File.join(PROGRAMS, program), *arguments, chdir: folder, %i[out err] => [@log, "a"])
  end
end
