# frozen_string_literal: true

require "rserve/config/compat_level"

# What this Ruby and this system can do, under the names Puma gives them.
module Rserve
  IS_JRUBY = false
  IS_OSX = RUBY_PLATFORM.include?("darwin")
  IS_WINDOWS = RUBY_PLATFORM.match?(/mswin|ming|cygwin/)
  IS_LINUX = RUBY_PLATFORM.include?("linux")
  IS_ARM = RUBY_PLATFORM.match?(/\A(arm|aarch)64/)
  IS_MRI = RUBY_ENGINE == "ruby"

  HAS_FORK = Process.respond_to?(:fork)
  HAS_NATIVE_IO_WAIT = IO.public_method_defined?(:wait_readable)
  HAS_UNIX_SOCKET = true
  # TLS is always built in.
  HAS_SSL = true

  class << self
    def jruby?
      IS_JRUBY
    end

    def osx?
      IS_OSX
    end

    def windows?
      IS_WINDOWS
    end

    def mri?
      IS_MRI
    end

    # Can worker processes be forked here?
    def forkable?
      HAS_FORK
    end

    # Does the kernel have unix sockets without a file (`unix://@name`)?
    def abstract_unix_socket?
      IS_LINUX
    end

    # The signal at which a server logs where every thread is: BSD's, or from level 8 on PWR where there is none.
    #
    # @return [String, nil]
    def backtrace_signal(level = CompatLevel.from_env)
      CompatLevel.backtrace_signals(level).find { |name| Signal.list.key?(name) }&.then { |name| "SIG#{name}" }
    end

    # @return [Boolean] can `ssl://` be bound?
    def ssl?
      HAS_SSL
    end
  end

  # Of the level that `RSERVE_COMPAT` asks for.
  BACKTRACE_SIGNAL = backtrace_signal
end
