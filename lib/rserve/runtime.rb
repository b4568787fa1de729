# frozen_string_literal: true

require "rserve/version"
require "rserve/puma/detect"
require "rserve/puma/json_serialization"

# What there is one of in a process: the running server's statistics, its configuration, the name it goes by.
module Rserve
  # The process that this program began in: those that go on after a fork have it, too.
  FIRST_PID = Process.pid
  private_constant :FIRST_PID

  # What the program calls itself in banners, titles and `--version`.
  Product = Struct.new(:name, :version, :code_name) do
    # Lower-case name, as in process titles.
    def title
      name.downcase
    end
  end

  class << self
    # Configuration of the launcher that was started last; gems read hooks and options from it.
    attr_accessor :cli_config

    # @return [#stats] what answers `Rserve.stats`
    attr_writer :stats_object

    # @return [Product] rserve itself, or Puma when started under Puma's name
    def product
      return Product.new("Puma", Const::PUMA_VERSION, Const::CODE_NAME) if @poses_as_puma

      Product.new("rserve", VERSION, CODE_NAME)
    end

    # @return [String] what a process' title begins with: "rserve 1.0.0.rc1 as Puma 6.6.0"; by Puma's name "puma 6.6.0"
    def identity
      process_name == "puma" ? "puma #{Const::PUMA_VERSION}" : "rserve #{VERSION} as Puma #{Const::PUMA_VERSION}"
    end

    # @return [String] e.g. `rserve version: 1.0.0.rc1 ("First Light") as Puma 6.6.0`
    def version_line
      other = poses_as_puma? ? "by rserve #{VERSION}" : "as Puma #{Const::PUMA_VERSION}"
      %(#{product.name} version: #{product.version} ("#{product.code_name}") #{other})
    end

    # From here on this process goes by Puma's name, as `gem/puma` promises.
    def pose_as_puma
      require "rserve/puma/const"
      @poses_as_puma = true
    end

    # Does it go by Puma's name?
    def poses_as_puma?
      @poses_as_puma ? true : false
    end

    # From here on this process has that name in `$0` and titles. The server is none the less what it is.
    #
    # @param name [Symbol] `:rserve` or `:puma`
    def go_by(name)
      @program = program
      @process_name = name.to_s
      $PROGRAM_NAME = name == :puma ? "puma" : @program
    end

    # @return [String] "rserve" or "puma"
    def process_name
      @process_name || product.title
    end

    # @return [String] what was executed
    def program
      @program || $PROGRAM_NAME.dup
    end

    # @return [Hash] statistics of the running server, symbol keys
    def stats_hash
      @stats_object.stats
    end

    # @return [String] statistics of the running server as JSON
    def stats
      JSONSerialization.generate(stats_hash)
    end

    # Names the current thread as Puma does, e.g. `puma srv`; tools and tests look for these names.
    def set_thread_name(name)
      Thread.current.name = "puma #{name}"
    end

    # As `Thread.new`, if there can be one more: from Ruby 3.3 on one that cannot be made leaves Ruby unable to run.
    #
    # @param spare [Integer] how many more there must be room for
    # @raise [ThreadError]
    def new_thread(spare = 1, &)
      raise ThreadError, "no thread is left (ulimit -u, pids.max)" unless Native.spare_threads?(spare)

      Thread.new(&)
    end

    # Warns, as Puma 7 and 8 do, when a method was called by the name it used to have.
    #
    # @param old_name [Symbol]
    # @param called [Symbol] the name it was called by
    # @param new_name [Symbol]
    # @param level [Integer] compat level; at 6 the old name is the name
    # @raise [NoMethodError] at 9, where it is gone
    def deprecate_method_change(old_name, called, new_name, level = Const.level)
      return unless old_name == called && CompatLevel.deprecates?(level)
      raise NoMethodError, "'#{called}' is gone in Puma 9: use '#{new_name}'" if CompatLevel.removes_deprecated?(level)

      warn "Use '#{new_name}', '#{called}' is deprecated and will be removed in v8"
    end
  end
end
