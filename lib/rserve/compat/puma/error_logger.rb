# frozen_string_literal: true

require "puma"
require "rserve/log/error_logger"
