# frozen_string_literal: true

require "etc"
require "tmpdir"

# A PostgreSQL of Debian's for as long as it is needed, with ten thousand items; who connects finds it by PGHOST.
class Postgres
  PROGRAMS = "/usr/lib/postgresql/*/bin"

  # @param core [String] it has
  def self.beside(core)
    programs = Dir.glob(PROGRAMS).max or abort "PostgreSQL is not installed; `make arena` installs it"
    Dir.mktmpdir("bench-postgres") do |folder|
      postgres = new(programs, folder)
      postgres.start(core)
      yield
    ensure
      postgres&.stop
    end
  end

  def initialize(programs, folder)
    @programs = programs
    @folder = folder
    # It does not run as root.
    @user = Process.uid.zero? ? "postgres" : Etc.getlogin
    File.chown(Etc.getpwnam(@user).uid, nil, folder)
  end

  def start(core)
    run("initdb", "--pgdata", data, "--auth", "trust", "--username", "postgres", "--no-sync")
    run("pg_ctl", "start", "-w", "-D", data, "-l", "#{@folder}/log", "-o",
        "-c listen_addresses='' -k #{@folder} -c fsync=off -c max_connections=200")
    system("taskset", "-apc", core, File.foreach("#{data}/postmaster.pid").first.strip, out: File::NULL)
    ENV.update("PGHOST" => @folder, "PGUSER" => "postgres", "PGDATABASE" => "postgres")
    run("psql", "-qc", <<~SQL)
      CREATE TABLE items AS SELECT id, 'Item ' || id AS name, (id * 7919) % 10000 AS price FROM generate_series(1, 10000) id;
      CREATE INDEX ON items (price); ANALYZE items;
    SQL
  end

  def stop = run("pg_ctl", "stop", "-D", data, "-m", "immediate")

  private

  def data = File.join(@folder, "data")

  # The server that is started keeps what it was given to write to, so that is a file.
  def run(name, *arguments)
    as = Process.uid.zero? ? ["setpriv", "--reuid", @user, "--clear-groups"] : []
    out = File.join(@folder, "out")
    done = system(*as, File.join(@programs, name), *arguments, chdir: "/", in: File::NULL, %i[out err] => out)
    abort "#{name}:\n#{File.read(out)}" unless done
  end
end
