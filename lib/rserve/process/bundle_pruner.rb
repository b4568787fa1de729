# frozen_string_literal: true

require "rserve/runtime"

module Rserve
  class Launcher
    # Starts the program anew without Bundler, so that the master holds none of the application's gems and a phased
    # restart can change them. The workers set Bundler up for themselves.
    class BundlePruner
      # Set in the environment of a pruned master.
      MARKER = "PUMA_BUNDLER_PRUNED"

      # @param original_argv [Array<String>] arguments to start with again
      # @param extra_runtime_dependencies [Array<String>, nil] names of gems the master keeps
      # @param log_writer [LogWriter]
      def initialize(original_argv, extra_runtime_dependencies, log_writer)
        @original_argv = Array(original_argv)
        @extra_runtime_dependencies = Array(extra_runtime_dependencies)
        @log_writer = log_writer
      end

      # Replaces this process, unless that is done already or there is no Bundler to get rid of.
      def prune
        return if ENV[MARKER] || !defined?(Bundler)
        return @log_writer.log("! Unable to prune Bundler environment, continuing") unless puma_wild_path

        @log_writer.log "* Pruning Bundler environment"
        paths = paths_to_require_after_prune
        settings = Bundler.original_env.select { |name, _| name.start_with?("BUNDLE_") } # the workers need them
        home = ENV.fetch("GEM_HOME", nil)
        Bundler.with_unbundled_env do
          ENV.update(settings)
          ENV["GEM_HOME"] = home
          ENV[MARKER] = "1"
          # Sockets that systemd opened for us must live on, hence close_others.
          Kernel.exec(Gem.ruby, puma_wild_path, "-I", paths.join(":"), *@original_argv, close_others: false)
        end
      end

      private

      # @return [Array<String>] our own code, our native library, and the extra gems
      def paths_to_require_after_prune
        spec = own_spec
        own = spec ? [File.join(spec.full_gem_path, "lib"), spec.extension_dir] : [File.expand_path("../..", __dir__)]
        own + extra_runtime_deps_paths
      end

      def extra_runtime_deps_paths
        @extra_runtime_dependencies.flat_map do |name|
          spec = Bundler.rubygems.loaded_specs(name)
          next spec.full_require_paths if spec

          @log_writer.log "* Could not load extra dependency: #{name}"
          []
        end
      end

      # @return [String, nil] absolute path of the executable that takes the load path from its arguments
      def puma_wild_path
        name = "#{Rserve.product.title}-wild"
        spec = own_spec
        folders = [File.dirname(File.expand_path(Rserve.program))]
        folders << File.join(spec.full_gem_path, spec.bindir) if spec
        folders.map { |folder| File.join(folder, name) }.find { |path| File.exist?(path) }
      end

      # @return [Gem::Specification, nil] the gem this file came from; another one may be called puma
      def own_spec
        candidates = Gem.loaded_specs.values_at(Rserve.product.title, "rserve").compact
        candidates.find { |spec| our_library?(File.join(spec.full_gem_path, "lib/rserve.rb")) }
      end

      def our_library?(path)
        File.exist?(path) && File.realpath(path) == File.realpath("../../rserve.rb", __dir__)
      end
    end
  end
end
