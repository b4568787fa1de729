# frozen_string_literal: true

require "rbconfig"
require "rserve/config/config_error"
require "rserve/version"

# Loads the native library that was built for this Ruby: each ABI has one of its own.
module Rserve
  # There is none, or it does not fit this system.
  class NativeLibraryError < LoadError
    include OperatorError

    # @param abi [String] this Ruby's, e.g. "3.1.0"
    # @param reason [String, nil] why a library that is there does not load
    def initialize(abi, reason = nil)
      built = Dir.children(__dir__).grep(/\A\d+\.\d+\.\d+\z/).sort - [abi]
      fault = reason ? "does not load: #{reason}" : "is missing"
      others = " (there is one for #{built.join(", ")})" unless reason || built.empty?
      super("rserve's native library for Ruby #{abi} #{fault}#{others}. #{remedy}")
    end

    private

    def remedy
      root = File.expand_path("../..", __dir__)
      return "To build it: bundle pristine rserve" if File.dirname(root).end_with?("/bundler/gems")
      return "To build it: cd #{root} && rake compile" unless File.dirname(root).end_with?("/gems")
      return "To build it: gem pristine rserve" if File.exist?(File.join(root, "ext"))

      "This gem came with its libraries; to build one: gem install rserve --platform ruby -v #{VERSION}"
    end
  end

  abi = RbConfig::CONFIG.fetch("ruby_version")
  library = "/rserve/#{abi}/rserve.#{RbConfig::CONFIG.fetch("DLEXT")}"
  begin
    require "rserve/#{abi}/rserve"
  rescue LoadError => e
    raise NativeLibraryError, abi if e.path&.end_with?("/rserve")
    raise unless e.message.end_with?(library) # the loader's errors end with the file

    raise NativeLibraryError.new(abi, e.message.sub(/ - \S+\z/, ""))
  end
end
