# frozen_string_literal: true

module Rserve
  class DSL
    # The words of a `rserve do … end` block for what the server answers without the application.
    module FrontDoor
      TOKEN = /\A[!#$%&'*+\-.^_`|~0-9A-Za-z]+\z/
      CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/
      # Of each coding which levels there are, and which one is taken.
      LEVELS = { zstd: [1..19, 3], br: [0..11, 4], gzip: [1..9, 5] }.freeze
      private_constant :TOKEN, :CONTROL, :LEVELS

      # Answers GET and HEAD with the files of a folder, before a request waits for a thread. What is none of them goes
      # to the application. May be used many times; the first folder that has the file wins.
      #
      # With Rails, fields of `config.public_file_server.headers` are sent as well.
      #
      # @example
      #   static "public"
      #   static "uploads", at: "/files", headers: { "Cache-Control" => "no-cache" }
      # @param folder [String] relative to the working directory
      # @param at [String] what the paths of its files begin with
      # @param headers [Hash{String => String}] fields of the responses
      def static(folder, at: "/", headers: {})
        unless at.is_a?(String) && at.start_with?("/")
          raise ArgumentError, "static at: must begin with a slash, not #{at.inspect}"
        end

        headers = headers.to_h { |name, value| [name.to_s, value.to_s] }
        wrong = headers.find { |name, value| !name.match?(TOKEN) || value.match?(CONTROL) }
        raise ArgumentError, "static headers: #{wrong.join(": ").inspect} is no field" if wrong

        (@options[:static] ||= []) << { folder: folder.to_s, at:, headers: }
      end

      # Lets the application name a file in one of these folders, with the field `X-Sendfile`: then the server sends it,
      # and no thread waits. Rack::Sendfile, which is part of every Rails application, does so for files that it is
      # given, as Active Storage's.
      #
      # A name that is in none of them is an error of the application's.
      #
      # @example
      #   x_sendfile "storage", "private/reports"
      # @param folders [Array<String>] relative to the working directory
      def x_sendfile(*folders)
        raise ArgumentError, "x_sendfile takes at least one folder" if folders.empty?

        (@options[:x_sendfile] ||= []).concat(folders.map(&:to_s))
      end

      # Sends text that the application answers with in a coding that the client takes.
      #
      # @example
      #   compress
      #   compress %i[br gzip], min: 2048, level: { br: 5 }
      # @param codings [Array<Symbol>] `:zstd`, `:br`, `:gzip`; the first of them where the client likes several as much
      # @param min [Integer] shorter responses are sent as they are
      # @param level [Integer, Hash{Symbol => Integer}] how much work is done, for all codings or by coding
      def compress(codings = %i[zstd br gzip], min: 1024, level: {})
        codings = Array(codings).map(&:to_sym).uniq
        unknown = codings - LEVELS.keys
        unless unknown.empty? && codings.any?
          raise ArgumentError, "compress takes #{LEVELS.keys.map(&:inspect).join(", ")}, not #{unknown.first.inspect}"
        end

        require "securerandom"
        levels = codings.to_h { |coding| [coding, level_of(coding, level)] }
        @options[:compress] = { codings: levels, min: Integer(min), key: SecureRandom.random_number(1 << 62) }
      end

      private

      def level_of(coding, level)
        levels, usual = LEVELS.fetch(coding)
        wanted = level.is_a?(Hash) ? level.fetch(coding, usual) : Integer(level)
        return wanted if levels.include?(wanted)

        raise ArgumentError, "compress level: for #{coding.inspect} must be from #{levels.min} to #{levels.max}, " \
                             "not #{wanted.inspect}"
      end
    end
  end
end
