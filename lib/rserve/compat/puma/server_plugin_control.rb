# frozen_string_literal: true

require "puma"
require "rserve/server_plugin_control"
