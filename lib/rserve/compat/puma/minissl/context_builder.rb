# frozen_string_literal: true

require "puma"
require "rserve/mini_ssl/context_builder"
