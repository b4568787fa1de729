# frozen_string_literal: true

prune_bundler
before_fork { puts "defined?(::NIO): #{defined?(NIO).inspect}" }
