# frozen_string_literal: true

require "rbconfig"

# How long a test waits for what must happen: a deadline costs a test that passes nothing, and one that fits a quiet
# machine fails beside other work. They are written for a quiet machine of the year 2026.
module Patience
  # Seconds that such a machine takes to start Ruby.
  START = 0.05
  # What other work may come later, however quiet it was at the start.
  RESERVE = 3

  # @return [Float] at least {RESERVE}
  def self.factor
    @factor ||= begin
      begun = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      system(RbConfig.ruby, "--disable=gems", "-e", "0")
      took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - begun
      RESERVE * (took / START).clamp(1.0, 10.0)
    end
  end

  # A time of less than five seconds is one of those that tests of time are about, and stays.
  #
  # @param seconds [Numeric]
  # @return [Numeric]
  def self.for(seconds) = seconds < 5 ? seconds : seconds * factor
end
