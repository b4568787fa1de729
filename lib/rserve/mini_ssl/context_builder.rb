# frozen_string_literal: true

require "rserve/mini_ssl"

module Rserve
  module MiniSSL
    # Makes a {Context} of the query of an `ssl://` URL.
    class ContextBuilder
      # @param params [Hash{String => String}]
      # @param log_writer [LogWriter] told what is missing; that ends the process
      def initialize(params, log_writer)
        @params = params
        @log_writer = log_writer
      end

      # @return [Context]
      # @raise [ArgumentError] when a file is missing
      def context
        context = Context.new
        set_certificate(context)
        set_verification(context)
        set_protocol(context)
        context
      end

      private

      attr_reader :params, :log_writer

      def set_certificate(context)
        unless params["key"] || params["key_pem"]
          log_writer.error("Please specify the SSL key via 'key=' or 'key_pem='")
        end
        unless params["cert"] || params["cert_pem"]
          log_writer.error("Please specify the SSL cert via 'cert=' or 'cert_pem='")
        end

        %w[key key_pem cert cert_pem key_password_command].each do |name|
          context.public_send(:"#{name}=", params[name]) if params[name]
        end
        (params["sni"] || "").split(",").each_slice(2) { |cert, key| context.add_certificate(cert:, key:) }
      end

      def set_verification(context)
        authority = params["ca"]
        context.ca = authority if authority
        case params["verify_mode"]
        when nil, "none" then context.verify_mode = VERIFY_NONE
        when "peer" then context.verify_mode = VERIFY_PEER
        when "force_peer" then context.verify_mode = VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT
        else log_writer.error("Please specify a valid verify_mode=")
        end
        log_writer.error("Please specify the SSL ca via 'ca='") if context.verify_mode != VERIFY_NONE && !authority
        # For MiniSSL.certificate, now: later its files may be gone.
        require "openssl" unless context.verify_mode == VERIFY_NONE
        return unless (flags = params["verification_flags"])

        context.verification_flags = flags.split(",").map { |name| verification_flag(name) }.reduce(:|)
      end

      def verification_flag(name)
        VERIFICATION_FLAGS.fetch(name) { log_writer.error("verification_flags: there is no #{name}") }
      end

      def set_protocol(context)
        context.ssl_cipher_filter = params["ssl_cipher_filter"]
        context.ssl_ciphersuites = params["ssl_ciphersuites"]
        context.no_tlsv1 = params["no_tlsv1"] == "true"
        context.no_tlsv1_1 = params["no_tlsv1_1"] == "true"
        context.reuse = params["reuse"]
      end
    end
  end
end
