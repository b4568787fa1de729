# frozen_string_literal: true

require "rserve/config/config_error"

module Rserve
  class DSL
    # A word of the config file that does not exist.
    class UnknownWord < ConfigError
    end

    # What a vocabulary says to a word that it does not have: where it is, and which one may have been meant.
    module UnknownWords
      # Public methods that are no words.
      HIDDEN = %i[_load_from _offer_plugins path].freeze
      private_constant :HIDDEN

      private

      # Words come without an explicit receiver, so that what Ruby would call an undefined variable is one too.
      def method_missing(word, *_args)
        near = DidYouMean::SpellChecker.new(dictionary: words).correct(word).first if defined?(DidYouMean)
        message = +"unknown configuration word `#{word}`"
        message << ", did you mean `#{near}`?" if near
        raise UnknownWord, "#{place}#{message}"
      end

      def respond_to_missing?(_word, _include_private = false)
        false
      end

      def words
        self.class.public_instance_methods - Object.public_instance_methods - HIDDEN
      end

      # `config/puma.rb:3: ` for the line being evaluated, or nothing outside a file.
      def place
        location = caller_locations.find { |at| at.path == path } if path
        location ? "#{location.path}:#{location.lineno}: " : ""
      end
    end
  end
end
