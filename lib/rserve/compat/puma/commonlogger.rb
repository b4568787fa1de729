# frozen_string_literal: true

require "puma"
require "rserve/log/common_logger"
