# frozen_string_literal: true

require "rserve/config/config_error"

module Rserve
  # Where the core writes its access log: nowhere, to the standard output, or to a file.
  class AccessLog
    # @param where [Boolean, String, nil] `true` for the standard output, or the path of a file
    # @param directory [String] what a relative path begins at
    def initialize(where, directory = Dir.pwd)
      @where = where
      return unless where.respond_to?(:to_str)

      @path = File.expand_path(where, directory)
      @file = open_file
    end

    def file?
      !@file.nil?
    end

    # @return [Integer, nil] the descriptor; none without an access log
    def descriptor
      return unless @where

      @file ? @file.fileno : $stdout.fileno
    end

    # Opens the file anew, for log rotation. The descriptor stays the same; so does the file where the new
    # one cannot be opened.
    def reopen
      @file&.reopen(open_file)
    end

    private

    def open_file
      File.open(@path, File::WRONLY | File::APPEND | File::CREAT)
    rescue SystemCallError => e
      reason = SystemCallError.new(nil, e.errno).message
      raise ConfigError, "access_log: cannot write #{@path}: #{reason}"
    end
  end
end
