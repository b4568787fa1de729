# frozen_string_literal: true

module Rserve
  # Marks exceptions that the operator has to deal with: the executables print their message as one line, without a
  # backtrace, and exit with status 1.
  module OperatorError
  end

  # Marks exceptions that the log has told of in full: the executables end with status 1 and say no more.
  module ToldError
  end

  # Something in the configuration that has to be mended. The message is one line that names it.
  class ConfigError < RuntimeError
    include OperatorError
  end

  # A variable by which one incarnation of a server tells the next what it has left to it, with something else in it.
  class StaleVariable < ConfigError
    def initialize(name, value)
      super("#{name} is #{value.inspect}, and no earlier program of this server has left that: unset #{name}")
    end
  end
end
