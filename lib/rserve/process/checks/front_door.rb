# frozen_string_literal: true

require "rserve/config/config_error"

module Rserve
  # Looks, before anything is loaded or forked, whether the folders are there with files that the server is to send.
  class FrontDoorCheck
    # @param options [UserFileDefaultOptions]
    def initialize(options)
      @options = options
    end

    # @raise [ConfigError]
    def run
      folders = (@options[:static] || []).map { |static| ["static", static.fetch(:folder)] }
      folders += (@options[:x_sendfile] || []).map { |folder| ["x_sendfile", folder] }
      folders.each do |word, folder|
        reason = fault(File.expand_path(folder))
        raise ConfigError, "#{word} #{folder}: #{reason}" if reason
      end
    end

    private

    # @return [String, nil]
    def fault(folder)
      if !File.exist?(folder) then "there is no folder #{folder} (mkdir -p #{folder}, or leave the word out)"
      elsif !File.directory?(folder) then "#{folder} is no folder"
      elsif !File.readable?(folder) || !File.executable?(folder) then "the folder #{folder} may not be read"
      end
    end
  end
end
