# frozen_string_literal: true

module Rserve
  class Server
    # What the core is told of files that it sends by itself, and of what it codes.
    module FrontDoor
      private

      # @return [Hash{Symbol => Object}]
      def front_door_settings
        settings = { storage: storage_settings, compression: compression_settings }
        folders = @options[:static]
        return settings unless folders

        rails = rails_file_headers
        settings.merge(static: folders.map { |folder| static_settings(folder, rails) }, media_types:)
      end

      # @return [Array(String, String, Array<Array(String, String)>, Boolean)] folder, path, fields, and whether names
      #   with a digest in them may be kept for ever: not if the operator has said something else of this folder
      def static_settings(static, rails)
        own = static.fetch(:headers)
        names = own.keys.map(&:downcase)
        fields = rails.reject { |name, _| names.include?(name.downcase) }.to_a + own.to_a
        [File.expand_path(static.fetch(:folder)), static.fetch(:at), fields, !names.include?("cache-control")]
      end

      # @return [Array<Array(String, Array<String>)>, nil] each folder, and what the application may call it: Rails
      #   knows its own without symbolic links
      def storage_settings
        @options[:x_sendfile]&.map do |folder|
          path = File.expand_path(folder)
          [path, [path, File.realpath(path)].uniq]
        end
      end

      # @return [Array(Array<Array(String, Integer)>, Integer, Integer), nil]
      def compression_settings
        compress = @options[:compress]
        compress && [compress[:codings].transform_keys(&:to_s).to_a, compress[:min], compress[:key]]
      end

      # @return [Hash{String => String}] those of `config.public_file_server.headers`
      def rails_file_headers
        return {} unless defined?(::Rails.application.config.public_file_server.headers)

        ::Rails.application.config.public_file_server.headers.to_h { |name, value| [name.to_s, value.to_s] }
      end

      # Applications add to Rack's table.
      #
      # @return [Array<Array(String, String)>]
      def media_types
        require "rack/mime"
        ::Rack::Mime::MIME_TYPES.select { |extension, type| extension.is_a?(String) && type.is_a?(String) }.to_a
      rescue LoadError
        []
      end
    end
  end
end
