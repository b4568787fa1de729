# frozen_string_literal: true

require "puma"
require "rserve/control/state_file"
