# frozen_string_literal: true

prune_bundler
extra_runtime_dependencies ["minitest"]
before_fork { $LOAD_PATH.each { |path| puts "LOAD_PATH: #{path}" } }
