# frozen_string_literal: true

require "rserve/rack/urlmap"

module Rserve
  # Stands in for the rack gem where an application does without it. With rack installed, rack's own is used.
  module Rack
    # The language of rackup files: `use`, `run`, `map`, `warmup`, `freeze_app`.
    class Builder
      # What editors put in front of UTF-8.
      UTF8_BOM = "\xef\xbb\xbf".b

      class << self
        # The application a file makes: a rackup file by what it says, any other by the constant named like it.
        #
        # @param path [String]
        # @return [Array(#call, Hash)] application and (no) options, as Rack 2 answers
        def parse_file(path, _opts = nil)
          return [new_from_string(File.read(path).delete_prefix(UTF8_BOM), path), {}] if path.end_with?(".ru")

          require File.expand_path(path)
          name = File.basename(path, ".rb").split("_").map(&:capitalize).join
          [Object.const_get(name), {}]
        end

        # @param script [String] the text of a rackup file
        # @return [#call]
        def new_from_string(script, path = "(rackup)")
          builder = new
          builder.instance_eval(script.sub(/^__END__\n.*\z/m, ""), path, 1)
          builder.to_app
        end

        # @return [#call] what the block makes
        def app(default_app = nil, &)
          new(default_app, &).to_app
        end
      end

      def initialize(default_app = nil, &block)
        @middleware = []
        @mappings = nil
        @run = default_app
        @warmup = nil
        @freeze_app = false
        instance_eval(&block) if block
      end

      # Puts a middleware around the application; the first one given is the outermost.
      def use(middleware, *args, **options, &block) # rubocop:disable Naming/BlockForwarding -- not in a lambda on 3.3
        take_mappings
        @middleware << ->(app) { middleware.new(app, *args, **options, &block) } # rubocop:disable Naming/BlockForwarding
      end

      # The application itself.
      def run(app = nil, &block)
        @run = app || block
      end

      # Called with the application once it is complete.
      def warmup(callable = nil, &block)
        @warmup = callable || block
      end

      # Another application below `path`.
      def map(path, &block)
        (@mappings ||= {})[path] = block
      end

      # Freezes the application and its middlewares.
      def freeze_app
        @freeze_app = true
      end

      # @return [#call]
      # @raise [RuntimeError] when there is neither `run` nor `map`
      def to_app
        app = @mappings ? mapped(@run) : @run
        raise "missing run or map statement" unless app

        app.freeze if @freeze_app
        app = @middleware.reverse.inject(app) do |inner, wrap|
          wrap.call(inner).tap { |outer| outer.freeze if @freeze_app }
        end
        @warmup&.call(app)
        app
      end

      # @return [Array] status, header and body
      def call(env)
        to_app.call(env)
      end

      private

      # A `use` after a `map` is around all that was mapped before it.
      def take_mappings
        return unless @mappings

        mappings = @mappings
        @mappings = nil
        @middleware << ->(app) { mapped(app, mappings) }
      end

      def mapped(default_app, mappings = @mappings)
        apps = default_app ? { "/" => default_app } : {}
        mappings.each { |path, block| apps[path] = self.class.new(default_app, &block).to_app }
        URLMap.new(apps)
      end
    end
  end
end
