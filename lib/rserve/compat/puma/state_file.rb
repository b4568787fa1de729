# frozen_string_literal: true

require "puma"
require "rserve/state_file"
