# frozen_string_literal: true

require "puma"
require "rserve/server/plugin_control"
