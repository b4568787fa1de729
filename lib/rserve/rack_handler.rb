# frozen_string_literal: true

require "rserve"
require "rserve/compat"

module Rserve
  # What a Rack handler does: `rackup -s rserve`, `rails server -u rserve` and Capybara come in here.
  module RackHandler
    # What is not given.
    DEFAULT_OPTIONS = { Verbose: false, Silent: false }.freeze

    # A configuration that serves `app`.
    #
    # @param app [#call]
    # @param options [Hash] any option of {Configuration}, and
    #   `Host` — an address, an `ssl://` URL, or the path or `@name` of a unix socket;
    #   `Port`; `Threads`, as "min:max"; `Verbose`, for an access log; `Silent`, for no log at all;
    #   `user_supplied_options` — names of the options that the user chose: all others are only defaults, which the
    #   config file beats
    # @return [Configuration] not yet loaded
    def config(app, options = {})
      options = options.dup
      defaults = demoted_to_defaults(options)
      app = with_access_log(app) if options.delete(:Verbose)

      Configuration.new(options, defaults) do |user, file, default|
        user.environment(options[:environment]) if options[:environment]
        user.threads(*options[:Threads].to_s.split(":", 2)) if options[:Threads]
        if options[:Host] || options[:Port]
          bind(user, options[:Host] || defaults[:Host], options[:Port] || defaults[:Port])
        end
        file.set_default_host(defaults[:Host]) if defaults[:Host]
        bind(default, defaults[:Host], defaults[:Port])
        user.app(app)
      end
    end

    # Serves `app` until the process is told to stop.
    #
    # @param options [Hash] see {#config}; `events:` to hear of the server's life
    # @yieldparam launcher [Launcher] before it runs
    def run(app, **options)
      conf = config(app, options)
      log_writer = options[:Silent] ? LogWriter.strings : LogWriter.stdio
      launcher = Launcher.new(conf, log_writer:, events: options[:events] || Events.new)
      yield launcher if block_given?
      launcher.run
    end

    # @return [Hash{String => String}] what `rackup -O` takes, with explanations
    def valid_options
      {
        "Host=HOST" => "Hostname to listen on (default: localhost)",
        "Port=PORT" => "Port to listen on (default: 8080)",
        "Threads=MIN:MAX" => "min:max threads to use (default 0:16)",
        "Verbose" => "Don't report each request (default: false)"
      }
    end

    private

    # Takes the options out that the user did not choose.
    def demoted_to_defaults(options)
      chosen = options.delete(:user_supplied_options)
      demoted = chosen ? options.except(*chosen) : {}
      demoted.each_key { |name| options.delete(name) }
      DEFAULT_OPTIONS.merge(demoted)
    end

    def with_access_log(app)
      require "rack/common_logger"
      ::Rack::CommonLogger.new(app, LogStream.new($stdout))
    rescue LoadError
      CommonLogger.new(app, $stdout)
    end

    def bind(dsl, host, port)
      dsl.clear_binds! if host || port
      case host
      when %r{\A[./@]} then dsl.bind("unix://#{host}")
      when %r{\Assl://} then dsl.bind(ssl_url(host, port))
      else
        port ||= Configuration::DEFAULTS[:tcp_port] if host
        dsl.port(port, host || Configuration::DEFAULTS[:tcp_host]) if port
      end
    end

    def ssl_url(host, port)
      require "uri"
      uri = URI.parse(host)
      uri.port ||= port || Configuration::DEFAULTS[:tcp_port]
      uri.to_s
    end
  end
end
