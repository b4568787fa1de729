# frozen_string_literal: true

require "rserve/platform"

unless Rserve::Platform.runs_here?
  warn "#{Rserve::Platform.remark}: it is not loaded"
  return
end

require "rserve/runtime"
require "rserve/puma/const"

# A Ruby application server that takes Puma's place. `Rserve::CLI` is its command line, `Rserve::Server` serves an
# application inside another program.
module Rserve
  # Every class that loads itself when it is first named, by the file it is in.
  FILES = {
    "server/binder" => %i[Binder], "process/blame" => %i[Blame], "process/check" => %i[Check], "cli" => %i[CLI],
    "server/client" => %i[Client], "process/cluster" => %i[Cluster],
    "log/common_logger" => %i[CommonLogger], "config/config_error" => %i[ConfigError OperatorError],
    "config/configuration" => %i[Configuration], "control/cli" => %i[ControlCLI], "control/server" => %i[ControlServer],
    "dsl" => %i[DSL], "log/error_logger" => %i[ErrorLogger], "process/events" => %i[Events],
    "server/http_errors" => %i[BodyAborted BodyError BodyTimeout BodyTooLarge ClientGone ConnectionError
                               HttpParserError HttpParserError501], "process/launcher" => %i[Launcher],
    "server/listener_owner" => %i[ListenerOwner], "log/log_stream" => %i[LogStream], "log/log_writer" => %i[LogWriter],
    "mini_ssl" => %i[MiniSSL], "puma/null_io" => %i[NullIO], "config/options" => %i[UserFileDefaultOptions],
    "plugin" => %i[Plugin PluginLoader PluginRegistry Plugins UnknownPlugin], "rack_handler" => %i[RackHandler],
    "process/runner" => %i[Runner], "process/sd_notify" => %i[SdNotify],
    "server" => %i[Server],
    "server/plugin_control" => %i[ServerPluginControl], "process/single" => %i[Single],
    "control/state_file" => %i[StateFile], "server/thread_pool" => %i[ThreadPool], "puma/util" => %i[Util]
  }.freeze
  # What is for other programs than a server.
  TOOLS = %w[process/check cli control/cli rack_handler].freeze
  private_constant :FILES, :TOOLS

  FILES.each { |file, names| names.each { |name| autoload name, "rserve/#{file}" } }

  # Loads what a server may come to need. Releases are deleted while they serve, and the gems with them: from here on
  # nothing of this gem's is read from the disk.
  def self.load_all
    (FILES.keys - TOOLS).each { |file| require "rserve/#{file}" }
    [MiniSSL, App, Rack].each { |names| names.constants.each { |name| names.const_get(name) } }
  end

  # Rack applications of the server's own.
  module App
    autoload :Status, "rserve/control/app/status"
  end

  # Stands in for the rack gem where an application does without it. With rack installed, rack's own is used.
  module Rack
    autoload :Builder, "rserve/rack/builder"
    autoload :URLMap, "rserve/rack/urlmap"
  end
end

require "rserve/native"
require "rserve/railtie" if defined?(Rails::Railtie)

# Where there is no Puma, a program that asks for it gets rserve: rackup, `rails server` and Capybara try that name
# first. The folder is last in the load path, so that it takes nobody's place.
$LOAD_PATH << File.join(__dir__, "rserve/compat") if defined?(Gem) && Gem::Specification.stubs_for("puma").empty?
