# frozen_string_literal: true

module Rserve
  class DSL
    # Words about the application, its files, and how the server presents itself.
    module Application
      # The application itself, in place of a rackup file.
      #
      # @example
      #   app { |env| [200, {}, ["hello"]] }
      # @param object [#call, nil]
      # @raise [RuntimeError] when there is neither an object nor a block
      def app(object = nil, &block)
        object ||= block
        raise "Provide either a #call'able or a block" unless object

        @options[:app] = object
      end

      # The rackup file. The first setter wins, so the command line's does.
      #
      # The default is "config.ru".
      def rackup(path)
        @options[:rackup] ||= path.to_s
      end

      # The environment the application runs in, also given to it as `RACK_ENV`.
      #
      # The default is the value of `APP_ENV`, `RACK_ENV` or `RAILS_ENV`, else "development".
      def environment(environment)
        @options[:environment] = environment
      end

      # The directory to change to before the application is loaded. It is entered again at each restart, so that it
      # may be a symlink to the newest release.
      def directory(dir)
        @options[:directory] = dir.to_s
      end

      # Writes the pid there at boot; removed at exit.
      #
      # @example
      #   pidfile "tmp/pids/puma.pid"
      def pidfile(path)
        @options[:pidfile] = path.to_s
      end

      # Writes a state file there, by which `rservectl` finds the server.
      def state_path(path)
        @options[:state] = path.to_s
      end

      # Mode of the state file, such as 0600.
      def state_permission(permission)
        @options[:state_permission] = permission && Numbers.in_range(:state_permission, Integer(permission),
                                                                     least: 0, most: 0o7777)
      end

      # What process titles end with, in brackets. An empty string leaves it out.
      #
      # The default is the name of the working directory.
      def tag(string)
        raise ArgumentError, "tag must have no octet of zero" if string.to_s.include?("\0")

        @options[:tag] = string.to_s
      end

      # The command to restart with, in place of the one the server was started by.
      #
      # @example
      #   restart_command "/usr/local/bin/my_wrapper"
      def restart_command(command)
        @options[:restart_cmd] = command.to_s
      end

      # Serves statistics and takes commands at `url`.
      #
      # @example
      #   activate_control_app "unix:///var/run/pumactl.sock", auth_token: "12345"
      # @param url [String] `tcp://`, `unix://` or `ssl://`; "auto" picks a socket in the temporary folder
      # @param opts [Hash] `auth_token:`, a random one unless given; `no_token: true` asks for none; `umask:` of a
      #   unix socket; `data_only: true` allows reading only
      # @raise [ConfigError] when the URL is nothing of the kind
      def activate_control_app(url = "auto", opts = {})
        require "rserve/config/configuration"
        url = "unix://#{Configuration.temp_path}" if url == "auto"
        refuse_unbindable(url)
        @options[:control_url] = url
        @options[:control_auth_token] =
          opts[:no_token] ? "none" : opts[:auth_token] || Configuration.random_token
        @options[:control_url_umask] = opts[:umask] if opts[:umask]
        @options[:control_data_only] = opts[:data_only] if opts.key?(:data_only)
      end

      # Sets `sync` on the standard streams, so that an application's output is not held back.
      #
      # The default is true.
      def mutate_stdout_and_stderr_to_sync_on_write(enabled = true)
        @options[:mutate_stdout_and_stderr_to_sync_on_write] = enabled
      end

      # Does TERM end the process by the signal (true), or with status 0 (false)?
      #
      # The default is true.
      def raise_exception_on_sigterm(answer = true)
        @options[:raise_exception_on_sigterm] = answer
      end
    end
  end
end
