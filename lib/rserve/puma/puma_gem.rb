# frozen_string_literal: true

require "rserve/runtime"

module Rserve
  # The puma gem in the same Gemfile as rserve: which of them serves depends on the command, so that it is said.
  module PumaGem
    module_function

    # @return [String, nil] what to tell when rserve serves
    def beside_rserve
      version = in_gemfile or return
      "The Gemfile has rserve and puma #{version}: rserve serves, but a plain `bin/rails server` starts Puma. " \
        'Take gem "puma" out of the Gemfile.'
    end

    # @return [String, nil] what to tell when an application is about to be served by the puma gem
    def in_place_of_rserve
      return unless defined?(Puma) && !Puma.equal?(Rserve) && (launched? || handler?)

      "rserve: The Gemfile has rserve and puma #{Puma::Const::VERSION}: Puma serves. " \
        'Take gem "puma" out of the Gemfile, or start `bin/rails server -u rserve` or `bundle exec rserve`.'
    end

    # @return [Gem::Version, nil] unless puma is there because another gem wants it, which no Gemfile can help
    def in_gemfile
      spec = Gem.loaded_specs["puma"] if defined?(Gem)
      return if spec.nil? || !defined?(Bundler) || File.exist?(File.join(spec.full_gem_path, "lib/rserve.rb"))

      spec.version if Bundler.definition.dependencies.any? { |dependency| dependency.name == "puma" }
    rescue Bundler::BundlerError
      nil # Bundler is loaded, and has no Gemfile
    end
    private_class_method :in_gemfile

    def launched?
      Puma.respond_to?(:cli_config) && !Puma.cli_config.nil?
    end
    private_class_method :launched?

    # `rails server` has chosen its handler before it loads the application.
    def handler?
      %w[Rackup::Handler::Puma Rack::Handler::Puma].any? { |name| Object.const_defined?(name) }
    end
    private_class_method :handler?
  end
end
