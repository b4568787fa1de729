# frozen_string_literal: true

require "rserve"
require "rserve/puma/detect"

module Rserve
  # TLS under the names that Puma gives its own OpenSSL binding. The work is done by the native core.
  module MiniSSL
    # The peer and the server did not come to terms, or a certificate or key is of no use.
    class SSLError < StandardError; end

    # The OpenSSL that the native library was compiled against.
    OPENSSL_VERSION = Native::OPENSSL_VERSION
    # The OpenSSL that is in use.
    OPENSSL_LIBRARY_VERSION = Native::OPENSSL_LIBRARY_VERSION
    # Puma's: no OpenSSL that rserve is built with has SSL 3.
    OPENSSL_NO_SSL3 = true
    # Which versions are offered is the context's to say (`no_tlsv1`).
    OPENSSL_NO_TLS1 = false
    # Every OpenSSL that rserve is built with has it.
    HAS_TLS1_3 = true

    # Clients are not asked for certificates.
    VERIFY_NONE = 0
    # They are asked, and bad ones refused.
    VERIFY_PEER = 1
    # With {VERIFY_PEER}: clients without one are refused, too.
    VERIFY_FAIL_IF_NO_PEER_CERT = 2

    # Values of `verification_flags`: OpenSSL's `X509_V_FLAG_…` (`openssl/x509_vfy.h`).
    VERIFICATION_FLAGS = {
      "USE_CHECK_TIME" => 0x2, "CRL_CHECK" => 0x4, "CRL_CHECK_ALL" => 0x8, "IGNORE_CRITICAL" => 0x10,
      "X509_STRICT" => 0x20, "ALLOW_PROXY_CERTS" => 0x40, "POLICY_CHECK" => 0x80, "EXPLICIT_POLICY" => 0x100,
      "INHIBIT_ANY" => 0x200, "INHIBIT_MAP" => 0x400, "NOTIFY_POLICY" => 0x800, "EXTENDED_CRL_SUPPORT" => 0x1000,
      "USE_DELTAS" => 0x2000, "CHECK_SS_SIGNATURE" => 0x4000, "TRUSTED_FIRST" => 0x8000,
      "SUITEB_128_LOS_ONLY" => 0x10000, "SUITEB_192_LOS" => 0x20000, "SUITEB_128_LOS" => 0x30000,
      "PARTIAL_CHAIN" => 0x80000, "NO_ALT_CHAINS" => 0x100000, "NO_CHECK_TIME" => 0x200000
    }.freeze

    autoload :Context, "rserve/mini_ssl/context"
    autoload :ContextBuilder, "rserve/mini_ssl/context_builder"
    autoload :Server, "rserve/mini_ssl/server"
    autoload :Socket, "rserve/mini_ssl/socket"

    # @return [OpenSSL::X509::Certificate, nil] of its DER
    def self.certificate(der)
      return unless der

      require "openssl"
      OpenSSL::X509::Certificate.new(der)
    end
  end
end
