# frozen_string_literal: true

# Times of requests, summed up.
module Latencies
  # @param times [Array<Float>] milliseconds, in any order
  # @return [Hash] p50, p99, p999; infinite when there are none
  def self.summary(times)
    sorted = times.sort
    { p50: 0.5, p99: 0.99, p999: 0.999 }.transform_values do |share|
      sorted[(share * sorted.size).to_i] || Float::INFINITY
    end
  end
end
