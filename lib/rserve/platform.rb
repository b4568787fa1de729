# frozen_string_literal: true

require "rbconfig"

module Rserve
  # Where rserve runs: on Linux. Elsewhere the gem is installed without its library and says so in one line, and Puma
  # serves if it is in the bundle: developers of a Rails app also work on macOS.
  module Platform
    module_function

    def system = RbConfig::CONFIG.fetch("host_os")

    def runs_here? = system.start_with?("linux")

    # @return [String]
    def remark = "rserve runs on Linux only, and this is #{system}"

    # Executes Puma with these arguments, which are the same.
    def fall_back(argv)
      abort "rserve: #{remark}. For this machine, add to the Gemfile: #{gem_line}" unless (puma = command)

      warn "#{remark}: Puma serves"
      exec(RbConfig.ruby, puma, *argv)
    end

    def gem_line = 'gem "puma", install_if: -> { !RUBY_PLATFORM.include?("linux") }'

    def command
      Gem.bin_path("puma", "puma")
    rescue Gem::LoadError, Gem::Exception
      nil
    end
    private_class_method :command
  end
end
