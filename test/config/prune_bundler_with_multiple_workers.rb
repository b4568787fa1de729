# frozen_string_literal: true

require "bundler/setup"

prune_bundler
workers 2
app { |_env| [200, {}, ["embedded app"]] }
lowlevel_error_handler { |error| [200, {}, ["error: #{error.message}"]] }
