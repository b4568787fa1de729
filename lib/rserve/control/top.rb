# frozen_string_literal: true

require "rserve/control/figures"
require "rserve/control/terminal"
require "rserve/control/threads"
require "rserve/control/words"

module Rserve
  # What the control client and the control server share.
  module Control
    # `rservectl top`: the workers of a running server and their load, drawn anew each second until `q` or Ctrl-C.
    # Without a terminal it prints once.
    class Top
      # Seconds between two questions to the server.
      INTERVAL = 1
      ROW = "%6s %7s %5s %-16s %7s %6s %8s %7s  %s"
      COLUMNS = format(ROW, "WORKER", "PID", "PHASE", "THREADS", "BACKLOG", "REQ/S", "SERVED", "RSS", "CHECK-IN").freeze
      BAR = 10
      SLOWEST = 5
      QUIT = /[qQ\x03\x04]/ # Ctrl-C and Ctrl-D come as characters
      private_constant :COLUMNS, :ROW, :BAR, :SLOWEST, :QUIT

      # @param terminal [Terminal]
      # @param stdout [IO] for the one time without a terminal
      # @param local [Boolean] does the server run on this machine, so that its pids mean something here?
      # @yieldreturn [Array(Figures, Threads)] the threads nil where the server does not tell; asked anew each time,
      #   because a restarted server may be elsewhere
      def initialize(terminal, stdout, local: true, &ask)
        @terminal = terminal
        @stdout = stdout
        @local = local
        @ask = ask
        @rates = Rates.new
        @fault = @spent = @gvl_share = nil
      end

      # @raise [ControlRequest::Failure, SystemCallError] when there is no answer the first time
      def run
        take(@ask.call)
        return @stdout.puts(lines) unless @terminal.interactive?

        @terminal.session { watch }
      rescue Interrupt
        nil
      end

      private

      def watch
        asking = Thread.new { keep_asking }
        loop do
          @terminal.draw(lines << "" << "q quits", heading: 3)
          break if @terminal.key(INTERVAL)&.match?(QUIT)
        end
      ensure
        asking&.kill
      end

      # In a thread of its own: a server that does not answer must not keep keys from being read.
      def keep_asking
        loop do
          sleep INTERVAL
          begin
            take(@ask.call)
            @fault = nil
          rescue StandardError => e
            @fault = e.message.lines.first.to_s.chomp
          end
          @terminal.wake
        end
      end

      def take(told)
        figures, threads = told
        now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        rates = figures.workers.map { |worker| @rates.take(worker, now) }
        @gvl_share = gvl_share(threads&.spent)
        @seen = [figures, rates, threads]
      end

      # Since the last question; when no request was over since then, as it was.
      def gvl_share(spent)
        before = @spent
        @spent = spent
        (before && spent ? spent.since(before) : spent)&.gvl_share || @gvl_share
      end

      def lines
        figures, rates, threads = @seen
        now = Time.now
        rows = figures.workers.zip(rates).map { |worker, rate| row(worker, rate, now) }
        title = "#{Rserve.product.name}: #{Words.mode(figures, now)}"
        [title, @fault ? "no answer: #{@fault}" : summary(figures, rates), "", COLUMNS, *rows, *slowest(threads)]
      end

      # The requests that threads have had for longest.
      def slowest(threads)
        busy = threads ? threads.busy : []
        busy.empty? ? [] : ["", Threads::COLUMNS, *busy.first(SLOWEST).map { |row| threads.line(row) }]
      end

      def summary(figures, rates)
        rate = rates.compact.sum.round
        "#{Words.counted(rate, "request")} a second, #{figures.total(:busy)} of " \
          "#{Words.counted(figures.total(:threads), "thread")} busy, #{figures.total(:backlog)} waiting" \
          "#{format(", %d %% of their time for the GVL", @gvl_share * 100) if @gvl_share}"
      end

      def row(worker, rate, now)
        format(ROW, worker.index || "-", worker.pid || "-", worker.phase || "-", threads(worker), worker.backlog || "-",
               rate&.round || "-", worker.requests || "-", memory(worker.pid), check_in(worker, now))
      end

      def threads(worker)
        return "-" unless worker.threads

        width = [worker.threads, BAR].min
        filled = (width * worker.busy.to_f / worker.threads).ceil.clamp(0, width)
        format("%5s %s", "#{worker.busy}/#{worker.threads}", ("#" * filled).ljust(width, "."))
      end

      def check_in(worker, now)
        return "booting" unless worker.booted

        worker.checked_in ? "#{Words.duration(now - worker.checked_in)} ago" : "now"
      end

      # Resident memory, as Linux tells it.
      def memory(pid)
        kilobytes = pid && @local && File.read("/proc/#{pid}/status")[/^VmRSS:\s+(\d+)/, 1]
        kilobytes ? "#{(kilobytes.to_i / 1024.0).round} MB" : "-"
      rescue SystemCallError
        "-"
      end

      # Requests a second of each worker, between two of its reports: a cluster's workers have some seconds in between.
      class Rates
        Report = Struct.new(:requests, :checked_in, :at, :rate)
        private_constant :Report

        def initialize
          @last = {}
        end

        # @param worker [Figures::Worker]
        # @param now [Float] monotonic seconds
        # @return [Float, nil] nil until there are two reports
        def take(worker, now)
          return unless worker.requests

          key = [worker.index, worker.pid]
          last = @last[key]
          return last.rate if last && worker.checked_in && worker.checked_in == last.checked_in

          served = worker.requests - last.requests if last
          rate = served / (now - last.at) if served && !served.negative? && now > last.at
          @last[key] = Report.new(worker.requests, worker.checked_in, now, rate)
          rate
        end
      end
    end
  end
end
