# frozen_string_literal: true

module Rserve
  # A hot restart: the same process executes the same command anew, and its listeners stay open meanwhile.
  class Restart
    # Signals that must neither end nor stop the process between `exec` and its first trap.
    DEFERRED = %w[HUP USR1 USR2 TTIN TTOU].freeze
    # Variables that tell one incarnation about the last one's sockets.
    SOCKET_VARIABLES = /\A(PUMA_INHERIT_\d+|LISTEN_(FDS|PID)|
                         RSERVE_(UNIX_PATHS|BORROWED_FDS|INHERIT_CONTROL|KEEPER|OPERATOR|TICKETS|PIDFILE))\z/x
    # rserve puts it in front of the load path by itself.
    FACADE_DIR = File.expand_path("../compat", __dir__)
    # What the next program has before anything else; which pid file is there, by the variable.
    EARLY = File.expand_path("early.rb", __dir__)
    PIDFILE = "RSERVE_PIDFILE"
    private_constant :DEFERRED, :SOCKET_VARIABLES, :FACADE_DIR, :EARLY, :PIDFILE

    # @return [String] the directory to be in, a symlink where the operator used one
    attr_reader :dir

    # @param argv [Array<String>] the arguments the server was started with
    # @param options [#[]] `:directory` and `:restart_cmd`
    def initialize(argv:, options:)
      @argv = argv.dup
      @options = options
      @dir = options[:directory] || logical_working_directory
      @program = Rserve.program
      # The start may be the work of `ruby -Ilib`: what was in front of the load path has to be there again.
      lib = $LOAD_PATH.find { |path| path != FACADE_DIR }.to_s
      @include = File.exist?(File.join(lib, "rserve.rb")) ? ["-I", lib] : []
    end

    # @return [String, nil] why there is nothing to restart to
    def fault
      "there is no folder #{@dir}" unless File.directory?(@dir)
    end

    # @return [Array<String>] what to execute
    def command
      command = @options[:restart_cmd]
      return command.split + @argv if command

      [Gem.ruby, *@include, *program, *wild_args, *@argv]
    end

    # The environment the application was started with. Bundler changes variables as it sets itself up, and the next
    # incarnation must find its own Gemfile.
    #
    # @return [Hash{String => String}]
    def environment
      env = defined?(Bundler::ORIGINAL_ENV) ? with_bundler(Bundler::ORIGINAL_ENV.dup) : ENV.to_h
      env.reject { |name, _| name.match?(SOCKET_VARIABLES) }
    end

    # Replaces this process.
    #
    # @param env [Hash] of the next incarnation, see {#environment}
    # @param binder [Binder] its listeners are handed over
    # @param others [Array<IO>] what else is
    def exec(env, binder, others = [])
      Dir.chdir(@dir)
      ENV.replace(env)
      ENV.update(binder.redirects_for_restart_env)
      defer_signals
      LogStream.settle
      Kernel.exec(*command_with_early, binder.redirects_for_restart.merge(others.to_h { |io| [io.to_i, io.to_i] }))
    end

    # Until the next program has its traps.
    def defer_signals
      DEFERRED.each { |name| ignore(name) }
    end

    private

    # A release may be deleted while it serves. Whatever else the operator executes is no affair of this file's.
    def command_with_early
      return command if @options[:restart_cmd] || !File.exist?(EARLY)

      pidfile = @options[:pidfile]
      ENV[PIDFILE] = File.expand_path(pidfile) if pidfile
      ruby, *arguments = command
      [ruby, "-r", EARLY, *arguments]
    end

    # Leaves a signal alone that nobody has trapped: no trap would end the ignoring.
    def ignore(name)
      previous = Signal.trap(name, "IGNORE")
      Signal.trap(name, previous || "DEFAULT") unless previous.respond_to?(:call)
    end

    # `PWD` keeps the symlink by which the directory was entered, so that a restart follows it to a newer release.
    def logical_working_directory
      pwd = ENV.fetch("PWD", nil)
      return Dir.pwd unless pwd && File.directory?(pwd)

      here = File.stat(Dir.pwd)
      there = File.stat(pwd)
      [here.ino, here.dev] == [there.ino, there.dev] ? pwd : Dir.pwd
    end

    def with_bundler(env)
      setup = "-rbundler/setup"
      rubyopt = env["RUBYOPT"].to_s
      env["RUBYOPT"] = [rubyopt, setup].reject(&:empty?).join(" ") unless rubyopt.include?(setup)
      env
    end

    # A program found by PATH has no directory in its name.
    def program
      File.exist?(@program) ? [@program] : ["-S", @program]
    end

    # What a pruned master was started with, see {Launcher::BundlePruner}.
    def wild_args
      defined?(Rserve::WILD_ARGS) ? Rserve::WILD_ARGS : []
    end
  end
end
