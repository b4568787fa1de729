# frozen_string_literal: true

module Rserve
  module Control
    # `rservectl COMMAND --help`.
    class CommandHelp
      FLAGS = {
        "status" => "--check [SECONDS]  fail, too, if for so long all threads have been busy and requests waited; " \
                    "--json: one JSON object",
        "stats" => "--json             print the JSON alone, e.g. for jq",
        "threads" => "--json             print JSON instead of a table",
        "start" => "-S, -P, -C, -T, -F, -e, -Q as for the server"
      }.merge(%w[gc-stats thread-backtraces].to_h { |name| [name, "--json             print the JSON alone"] }).freeze
      NOTES = {
        "status" => "Status 1 if it is not running, does not answer, is suspended, or has no booted worker.",
        "reopen-log" => "Refused where nothing is redirected to a file: the signal would stop the server.",
        "worker-count-up" => "Refused in single mode.", "worker-count-down" => "Refused in single mode.",
        "phased-restart" => "A hot restart in single mode and with preload_app!.",
        "metrics" => "Only with `telemetry` in the configuration.",
        "threads" => "Only with `telemetry` in the configuration.",
        "refork" => "Only with fork_worker.", "reload-worker-directory" => "Only in a cluster."
      }.freeze
      # What goes to the control server under another name, or only there where it can.
      PATHS = { "status" => "/stats", "top" => "/stats", "start" => nil, "info" => nil, "worker-count-up" => nil,
                "worker-count-down" => nil }.freeze
      private_constant :FLAGS, :NOTES, :PATHS

      # @param command [String]
      # @param meaning [String] in a line
      # @param signal [String, nil] the command's, "" for one that only looks whether there is a process
      def initialize(command, meaning, signal)
        @command = command
        @meaning = meaning
        @signal = signal
      end

      # @return [String] lines
      def text
        [
          "Usage: #{Rserve.product.title}ctl (-S state_file | -P pidfile | -p PID | -C url -T token) #{@command}",
          "", @meaning, NOTES[@command], "", ways, ("Flags: #{FLAGS[@command]}" if FLAGS.key?(@command)),
          "See --help without a command for what names the server."
        ].compact.join("\n")
      end

      private

      def ways
        path = PATHS.fetch(@command, "/#{@command}")
        return "Starts a server in the foreground." if @command == "start"

        signal = { nil => "not possible", "" => "looks whether it is there" }.fetch(@signal, @signal)
        "By its control server: #{path ? "GET #{path}" : "not possible"}. By its pid: #{signal}."
      end
    end
  end
end
