# frozen_string_literal: true

require "puma"
require "rserve/log/log_writer"
