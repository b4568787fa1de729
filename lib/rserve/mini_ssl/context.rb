# frozen_string_literal: true

require "rserve/mini_ssl"

module Rserve
  module MiniSSL
    # What a TLS listener offers and demands, as `ssl_bind` says it.
    class Context
      # @return [Integer] {VERIFY_NONE}, {VERIFY_PEER}, or that with {VERIFY_FAIL_IF_NO_PEER_CERT}
      attr_accessor :verify_mode

      # @return [Integer, nil] bits of {VERIFICATION_FLAGS}
      attr_accessor :verification_flags

      # @return [String, nil] a shell command that prints the key's password
      attr_accessor :key_password_command

      # @return [String, nil] ciphers for TLS 1.2 and older, as OpenSSL lists them
      attr_accessor :ssl_cipher_filter

      # @return [String, nil] ciphers for TLS 1.3
      attr_accessor :ssl_ciphersuites

      # @return [String, nil] path or PEM text
      attr_reader :key, :cert, :ca, :key_pem, :cert_pem

      # @return [Boolean] refuse TLS 1.0 (and 1.1)
      attr_reader :no_tlsv1, :no_tlsv1_1

      # @return [Boolean, nil] sessions of TLS 1.2 are kept; tickets work in any case
      attr_reader :reuse

      # @return [Integer, nil] how many sessions are kept, for how many seconds
      attr_reader :reuse_cache_size, :reuse_timeout

      # @return [Native::TlsTickets, nil] what sessions are resumed with at every process that has them, too
      attr_accessor :tickets

      # @return [Array<Hash>] more certificates, for clients that ask for their names
      attr_reader :more_certificates

      def initialize
        @no_tlsv1 = false
        @no_tlsv1_1 = false
        @more_certificates = []
      end

      # @raise [ArgumentError] when there is no such file, or it may not be read
      def key=(path)
        check_file(path, "Key")
        @key = path
      end

      # (see #key=)
      def cert=(path)
        check_file(path, "Cert")
        @cert = path
      end

      # (see #key=)
      def ca=(path)
        check_file(path, "ca")
        @ca = path
      end

      # @raise [ArgumentError] when it is no String
      def key_pem=(text)
        raise ArgumentError, "'key_pem' is not a String" unless text.is_a?(String)

        @key_pem = text
      end

      # (see #key_pem=)
      def cert_pem=(text)
        raise ArgumentError, "'cert_pem' is not a String" unless text.is_a?(String)

        @cert_pem = text
      end

      # @raise [ArgumentError] when it is neither true nor false
      def no_tlsv1=(refuse)
        raise ArgumentError, "Invalid value of no_tlsv1=" unless [true, false, nil].include?(refuse)

        @no_tlsv1 = refuse
      end

      # (see #no_tlsv1=)
      def no_tlsv1_1=(refuse)
        raise ArgumentError, "Invalid value of no_tlsv1_1=" unless [true, false, nil].include?(refuse)

        @no_tlsv1_1 = refuse
      end

      # @param value [String, nil] `dflt`, `<size>`, `<size>,<seconds>`, `,<seconds>`; anything else is off
      def reuse=(value)
        found = value == "dflt" ? {} : /\A(?=.)(?<size>\d+)?(?:,(?<seconds>\d+))?\z/.match(value)
        return unless found

        @reuse = true
        @reuse_cache_size = Integer(found[:size], 10) if found[:size]
        @reuse_timeout = Integer(found[:seconds], 10) if found[:seconds]
      end

      # A certificate that clients get that ask for one of its names (SNI).
      #
      # @param cert [String] path
      # @param key [String] path
      def add_certificate(cert:, key:)
        check_file(cert, "Cert")
        check_file(key, "Key")
        @more_certificates << { cert:, key: }
      end

      # @return [String, nil] what {#key_password_command} prints
      # @raise [RuntimeError] when it fails
      def key_password
        require "open3"
        output, errors, status = Open3.capture3(@key_password_command)
        return output.chomp if status.success?

        raise "Key password failed with code #{status.exitstatus}: #{errors}"
      end

      # @raise [ArgumentError, RuntimeError] when the key or the certificate is missing
      def check
        raise "Key not configured" unless @key || @key_pem
        raise "Cert not configured" unless @cert || @cert_pem
      end

      # @return [Native::TlsContext] everything read and checked; read once
      # @raise [SSLError] when something is of no use
      def native
        @native ||= begin
          check
          @seen = state_of_files
          Native::TlsContext.new(settings)
        end
      end

      # Reads certificates and keys again if a file is not what it was. Connections that are open keep theirs.
      #
      # @return [Boolean] whether there are new ones
      # @raise [SSLError] when the new ones are of no use; told once, and the old ones stay
      def reload_changed
        return false if @native.nil? || state_of_files == @seen

        reload
        true
      end

      # As {#reload_changed}, if the files are what they were, too.
      #
      # @raise [SSLError]
      def reload
        @seen = state_of_files
        @native.reload
      end

      # A copy has settings of its own.
      def initialize_copy(_other)
        super
        @native = nil
        @more_certificates = @more_certificates.dup
      end

      private

      def settings
        mode = verify_mode || VERIFY_NONE
        {
          identities: [first_certificate, *@more_certificates], ca: @ca, verification_flags:,
          verify_peer: mode.anybits?(VERIFY_PEER),
          require_certificate: mode.anybits?(VERIFY_FAIL_IF_NO_PEER_CERT),
          cipher_filter: ssl_cipher_filter, ciphersuites: ssl_ciphersuites,
          no_tlsv1: @no_tlsv1, no_tlsv1_1: @no_tlsv1_1,
          session_cache: @reuse ? true : false, session_cache_size: @reuse_cache_size, session_timeout: @reuse_timeout,
          tickets:
        }
      end

      def first_certificate
        { cert: @cert, cert_pem: @cert_pem, key: @key, key_pem: @key_pem,
          key_password: (key_password if @key_password_command) }
      end

      # @return [Array] changes with each file's content
      def state_of_files
        files = [@cert, @key, @ca, *@more_certificates.flat_map(&:values)].compact
        files.map do |path|
          stat = File.stat(path)
          [stat.mtime, stat.size, stat.ino]
        rescue SystemCallError
          nil
        end
      end

      def check_file(path, description)
        raise ArgumentError, "#{description} file '#{path}' does not exist" unless File.exist?(path)
        raise ArgumentError, "#{description} file '#{path}' is not readable" unless File.readable?(path)
      end
    end
  end
end
