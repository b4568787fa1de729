# frozen_string_literal: true

require "rserve/runtime"
require "rserve/const"

# A Ruby application server that takes Puma's place. `Rserve::CLI` is its command line, `Rserve::Server` serves an
# application inside another program.
module Rserve
  autoload :Binder, "rserve/binder"
  autoload :CLI, "rserve/cli"
  autoload :Cluster, "rserve/cluster"
  autoload :CommonLogger, "rserve/common_logger"
  autoload :Configuration, "rserve/configuration"
  autoload :ControlCLI, "rserve/control_cli"
  autoload :DSL, "rserve/dsl"
  autoload :ErrorLogger, "rserve/error_logger"
  autoload :Events, "rserve/events"
  autoload :Launcher, "rserve/launcher"
  autoload :LogWriter, "rserve/log_writer"
  autoload :NullIO, "rserve/null_io"
  autoload :Plugin, "rserve/plugin"
  autoload :Plugins, "rserve/plugin"
  autoload :RackHandler, "rserve/rack_handler"
  autoload :SdNotify, "rserve/sd_notify"
  autoload :Server, "rserve/server"
  autoload :Single, "rserve/single"
  autoload :StateFile, "rserve/state_file"
  autoload :Util, "rserve/util"
end

begin
  require "rserve/#{RbConfig::CONFIG.fetch("ruby_version")}/rserve"
rescue LoadError => e
  raise if e.path && !e.path.end_with?("/rserve")

  raise LoadError,
        "rserve's native library for this Ruby (#{RUBY_VERSION}) is missing: run `rake compile` in its folder"
end
