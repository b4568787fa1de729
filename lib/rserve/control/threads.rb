# frozen_string_literal: true

require "json"
require "rserve/control/request"

module Rserve
  module Control
    # What each thread of a running server does, as its telemetry has it.
    class Threads
      # A thread; `seconds` and `request` (method and path) are nil when it is idle.
      Row = Struct.new(:worker, :pid, :thread, :state, :seconds, :request, :requests_served, keyword_init: true)
      # How the requests of all threads that are over have spent their time.
      Spent = Struct.new(:running, :gvl, :io) do
        # @return [Spent] what has been spent since then
        def since(earlier)
          Spent.new(*to_a.zip(earlier.to_a).map { |now, before| now - before })
        end

        # @return [Float, nil] part of it that was waiting for the GVL; nil of none
        def gvl_share
          gvl / to_a.sum if to_a.sum.positive?
        end
      end
      LINE = "%6s %7s %6s %-7s %9s %7s  %s"
      # The heading of the table.
      COLUMNS = format(LINE, "WORKER", "PID", "THREAD", "STATE", "SECONDS", "SERVED", "REQUEST").freeze
      TIMES = %w[running_seconds gvl_wait_seconds io_wait_seconds].freeze
      private_constant :LINE, :TIMES

      # @param json [String] what the control server answers to `threads`
      # @raise [ControlRequest::Failure] when it is none
      def self.parse(json)
        new(JSON.parse(json))
      rescue JSON::ParserError, TypeError, KeyError, NoMethodError
        raise ControlRequest::Failure, "Server sent no threads"
      end

      # @return [Array<Row>] the longest request first
      attr_reader :rows

      # @return [Spent, nil] nil where Ruby does not tell
      attr_reader :spent

      def initialize(told)
        @rows = told.fetch("threads").map { |row| row(row) }
        times = told.fetch("workers").map { |worker| worker.values_at(*TIMES) }
        @spent = Spent.new(*times.transpose.map(&:sum)) unless times.empty? || times.flatten.include?(nil)
      end

      # @return [Array<Row>] those that have a request
      def busy
        rows.select(&:seconds)
      end

      # @return [Array<String>] a table
      def lines
        [COLUMNS, *rows.map { |row| line(row) }]
      end

      # @return [String] of the table
      def line(row)
        seconds = row.seconds ? format("%.3f", row.seconds) : "-"
        format(LINE, row.worker, row.pid, row.thread, row.state, seconds, row.requests_served, row.request || "-")
      end

      private

      def row(told)
        figures = told.slice(*%w[worker pid thread state seconds requests_served]).transform_keys(&:to_sym)
        Row.new(**figures, request: ("#{told["method"]} #{told["path"]}" if told.key?("seconds")))
      end
    end
  end
end
