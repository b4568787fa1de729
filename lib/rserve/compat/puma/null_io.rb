# frozen_string_literal: true

require "puma"
require "rserve/puma/null_io"
