# frozen_string_literal: true

require "io/wait"
require "socket"
require "rserve/config/config_error"

module Rserve
  module Succession
    # This process, and what it forks, as one generation of a server that has a keeper: what it tells the keeper.
    class Generation
      # Counted up with `succession::message::PROTOCOL`: a keeper outlives the gem that it was started from.
      PROTOCOL = 1
      # Octets of a packet.
      LONGEST = 32 * 1024
      # Packets that a keeper which does not read has not read yet are waited with for so many seconds.
      PATIENCE = 5
      VARIABLE = "RSERVE_KEEPER"
      # What is in it: protocol, descriptor, number of the generation, how it begins, and the door's descriptor or -1.
      WORDS = /\A\d+ \d{1,9} \d{1,9} (?:prove|serve) (?:\d{1,9}|-1)\z/
      private_constant :PROTOCOL, :LONGEST, :PATIENCE, :VARIABLE, :WORDS

      class << self
        # @return [Generation, nil] this process'; nil for a server without a keeper
        attr_accessor :current

        # Takes what the keeper has put into the environment.
        #
        # @raise [ConfigError] when it speaks another language
        def adopt(env)
          value = env.delete(VARIABLE) or return
          protocol, fd, number, mode, door = value.split
          raise StaleVariable.new(VARIABLE, value) unless value.match?(WORDS)
          raise ConfigError, "the server's keeper is of another version: stop it and start again" unless
            protocol == PROTOCOL.to_s

          socket = UNIXSocket.for_fd(Integer(fd))
          door = mode == "prove" ? UNIXSocket.for_fd(Integer(door)) : nil
          self.current = new(socket, number: Integer(number), door:, control: env.delete("RSERVE_INHERIT_CONTROL"))
        rescue Errno::EBADF, Errno::ENOTSOCK
          nil # it was for a process that this one comes of
        end
      end

      # @return [Integer] counts from 1
      attr_reader :number

      # @return [Integer] the process to signal
      attr_reader :keeper_pid

      # @return [UNIXSocket, nil] where the keeper's own connections come in, if this generation has to prove itself
      attr_reader :door

      # @return [String] how the keeper's restarts go, as JSON
      attr_reader :standing

      # @param socket [UNIXSocket] to the keeper
      # @param door [UNIXSocket, nil]
      # @param control [String, nil] the control server's listener as the keeper hands it over: `FD:URL`
      def initialize(socket, number:, door: nil, control: nil)
        @socket = socket
        @number = number
        @door = door
        @control = control
        @keeper_pid = Process.ppid
        @standing = "{}"
        [socket, door].compact.each { |io| io.close_on_exec = true }
        @curtain, @opener = IO.pipe
      end

      # Does it take connections only when the keeper says so?
      def proves_itself?
        !@door.nil?
      end

      # ---- to the keeper ----------------------------------------------------------------------------------------

      # @param settings [Hash{Symbol => #to_s, nil}]
      def settings(settings)
        report("settings", settings.compact.map { |name, value| "#{name}=#{value}" }.join("\n"))
      end

      # @param listeners [Array<Array(String, String, String, IO)>] kind, URL, path to be removed or nil, and the socket
      def listening(listeners)
        lines = listeners.map { |listener| listener.first(3).compact.join("\t") }
        report("listening", lines.join("\n"), listeners.map(&:last))
      end

      # All workers that it begins with have booted.
      def booted = report("booted")

      # How many workers it has, and how many of them have booted.
      def staff(workers, booted) = report("staff", "#{workers} #{booted}")

      # @param phase [String] e.g. "at boot"
      # @param message [String] one line: where in the application, and what
      def failed(phase, message) = report("failed", "#{phase}\n#{message}")

      # @param line [String]
      def worker_died(line) = report("worker_died", line.sub(/\A! /, ""))

      # Hooks have run that must run before those of the next generation.
      def resigned = report("resigned")

      # It ends, without being told to, and so does the server.
      def leaving = report("leaving")

      # @param what [Symbol] `:restart`, `:stop`, `:terminate` or `:halt`
      def ask(what) = report("asks", what.to_s)

      # @param state [String] for systemd; what it may hear is the keeper's to say
      def notify(state) = report("notify", state)

      # ---- from the keeper --------------------------------------------------------------------------------------

      # How the restarts of the server have gone: those that have succeeded, and those that have failed, by the step.
      #
      # @return [Array<Integer>] in the order of `RestartResult` (ext/rserve-core/src/telemetry/kinds.rs)
      def restart_counts
        failures = @standing[/"failures":\{([^}]*)\}/, 1].to_s.scan(/:(\d+)/).flatten
        [@standing[/"succeeded":(\d+)/, 1], *failures].map(&:to_i)
      end

      # Calls the block for each order, from a thread of its own; `nil` when the keeper is gone.
      #
      # @yieldparam order [String, nil]
      # @yieldparam text [String, nil]
      def listen
        Rserve.new_thread do
          Rserve.set_thread_name "keeper"
          while (order, text = receive)
            @standing = text if order == "standing"
            yield order, text
          end
          yield nil, nil
        end
      end

      # Lets all workers take connections.
      def open
        @opener.write_nonblock("!", exception: false)
      end

      # @return [Boolean] may workers take connections?
      def open?
        !proves_itself? || !@curtain.wait_readable(0).nil?
      end

      # Waits until they may.
      def wait_until_open
        @curtain.wait_readable
      end

      # @return [Array(Integer, String), nil] descriptor and URL of the control server's listener
      def inherited_control
        fd, url = @control&.split(":", 2)
        fd && [Integer(fd), url]
      end

      private

      def receive
        packet = @socket.recv(LONGEST)
        packet.to_s.empty? ? nil : packet.force_encoding(Encoding::UTF_8).split("\n", 2)
      rescue SystemCallError, IOError
        nil
      end

      # The keeper hears of the rest when a process ends.
      def report(word, text = nil, files = [])
        packet = [word, text].compact.join("\n").byteslice(0, LONGEST)
        rights = files.empty? ? [] : [Socket::AncillaryData.unix_rights(*files)]
        PATIENCE.times do
          break unless @socket.sendmsg_nonblock(packet, 0, nil, *rights, exception: false) == :wait_writable

          @socket.wait_writable(1)
        end
        nil
      rescue SystemCallError, IOError
        nil
      end
    end
  end
end
