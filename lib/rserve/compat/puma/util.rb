# frozen_string_literal: true

require "puma"
require "rserve/puma/util"
