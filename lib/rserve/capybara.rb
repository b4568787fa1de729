# frozen_string_literal: true

require "capybara"
require "rserve/rack_handler"
require "rserve/server"

module Rserve
  # Makes `Capybara.server = :rserve` known. Options are those of {RackHandler#config}:
  #
  # @example in the helper of the system tests
  #   require "rserve/capybara"
  #   Capybara.server = :rserve, { Silent: true }
  module Capybara
    extend RackHandler

    # What a test's server is like unless the test says otherwise.
    DEFAULTS = { Threads: "0:4", workers: 0 }.freeze

    # Serves `app` on the calling thread. Signals stay with the tests.
    #
    # @param options [Hash] of the configuration, with `Host` and `Port`
    def self.serve(app, **options)
      conf = config(app, DEFAULTS.merge(options))
      conf.clamp
      conf.options[:log_writer] = options[:Silent] ? LogWriter.strings : LogWriter.stdio
      server = Server.new(conf.app, nil, conf.options)
      server.binder.parse(conf.options[:binds])
      server.run.join
    end
  end
end

Capybara.register_server(:rserve) do |app, port, host, **options|
  Rserve::Capybara.serve(app, Host: host, Port: port, **options)
end
