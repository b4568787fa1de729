# frozen_string_literal: true

require "rbconfig"
require "rserve/runtime"

module Rserve
  # Which line of the operator's own an exception comes from, among the frames of gems, Ruby and this server.
  module Blame
    LIBRARIES = [
      *RbConfig::CONFIG.values_at("rubylibprefix", "sitedir"), File.dirname(__dir__), "<internal:", "(eval"
    ].freeze
    MOST = 50
    private_constant :LIBRARIES, :MOST

    module_function

    # @param error [Exception]
    # @return [String, nil] the innermost frame that is neither a library's nor the program's
    def frame(error)
      frames(error).first
    end

    # @return [Array<String>] all of them, the innermost first; of an endless recursion some
    def frames(error)
      others = [*LIBRARIES, *gem_folders, "#{Rserve.program}:"]
      frames = (error.backtrace || []).reject { |frame| frame.start_with?(*others) }
      frames.size > MOST ? [*frames.first(MOST), "… #{frames.size - MOST} more"] : frames
    end

    # @return [String] e.g. "config.ru:3: cannot load such file -- rails (LoadError)"
    def line(error)
      message = error.message.lines.first.to_s.chomp
      return message if error.is_a?(SyntaxError) && message.match?(/\A\S+:\d+:/)

      [frame(error)&.slice(/\A.+?:\d+/), "#{message} (#{error.class})"].compact.join(": ")
    end

    # A gem, or the folder of all, may be a symbolic link; Ruby names the file.
    def gem_folders
      return [] unless defined?(Gem)

      folders = Gem.path.flat_map { |path| [File.join(path, "gems"), File.join(path, "bundler/gems")] }
      gems = Gem.loaded_specs.each_value.map(&:full_gem_path).select { |path| path.start_with?(*folders) }
      folders | [*folders, *gems].select { |path| File.exist?(path) }.map { |path| File.realpath(path) }
    end
    private_class_method :gem_folders
  end
end
