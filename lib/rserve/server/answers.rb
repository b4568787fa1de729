# frozen_string_literal: true

require "socket"

module Rserve
  class Server
    # What the server answers by itself, and what the core asks Ruby for around a request.
    module Answers
      # Just enough of a request for the log.
      LoggedRequest = Struct.new(:env)

      # Just enough of a connection that failed as TLS for the log.
      LoggedPeer = Struct.new(:ip, :peercert) do
        # @return [Array] as a socket has it
        def peeraddr
          [ip.include?(":") ? "AF_INET6" : "AF_INET", nil, ip, ip]
        end
      end
      private_constant :LoggedRequest, :LoggedPeer

      # The response when the application, or the server for it, fails. `lowlevel_error_handler` has the first word.
      # Gems put a module in front of this method.
      #
      # @return [Array(Integer, Hash, Array<String>)]
      def lowlevel_error(error, env, status = 500)
        handler = @options[:lowlevel_error_handler]
        return handler_answer(handler, error, env, status) if handler
        return [status, {}, [""]] unless @leak_stack_on_error

        backtrace = error.backtrace ? error.backtrace.join("\n") : "<no backtrace available>"
        text = ["#{Rserve.product.name} caught this error: ", error.message, " (#{error.class})\n", backtrace]
        [status, {}, [text.map(&:b).join]] # they may be of different encodings
      end

      # The core's calls. ---------------------------------------------------------------------------------------------

      # The application raised before anything of its response was out.
      #
      # @return [Array, nil] nil when nobody is left to be answered
      def answer_error(error, env)
        return answer_body_error(error, env) if error.is_a?(BodyError)
        return if error.is_a?(ClientGone)

        tell_of(error, env)
        lowlevel_error(error, env, error.is_a?(ThreadPool::ForceShutdown) ? 503 : 500)
      end

      # The application raised when it is too late for a response: after it took the connection away, or when a part of
      # its body was out. It is reported like any other error.
      def late_error(error, env)
        return if error.is_a?(BodyError) || error.is_a?(ClientGone)

        tell_of(error, env)
        lowlevel_error(error, env)
      end

      # A request that is not for the application: malformed, too large.
      def answer_refusal(status, message, method, target, peer)
        return [413, {}, ["Payload Too Large"]] if status == 413

        return answer_storage_failure(message, refused_env(method, target, peer)) if status == 507

        error = (status == 501 ? HttpParserError501 : HttpParserError).new(message)
        status, headers, body = parse_error(error, refused_env(method, target, peer), status)
        [status, headers, strings(body)]
      end

      # A method that `supported_http_methods` does not name. From level 8 on such a request counts as malformed.
      def answer_unsupported(method, target, peer)
        text = "#{method} method is not supported"
        return [501, {}, [text]] unless CompatLevel.unsupported_is_malformed?(compat_level)

        parse_error(HttpParserError501.new(text), refused_env(method, target, peer), 501)
      end

      # No request is at hand, and none begins before this returns.
      def out_of_band
        @options.all_of(:out_of_band).each do |hook|
          hook = hook[:block] if hook.is_a?(Hash)
          Hook.call(:out_of_band, @log_writer) { hook.call }
        end
      end

      # Whether a full collection of garbage is needed; see {Collector#state}.
      def garbage = @collector.state

      # No request is at hand, or it has been put off for too long.
      def collect_garbage = @collector.collect

      # Header names and values of headers that are no Hash.
      def header_pairs(headers)
        pairs = []
        headers.each { |name, value| pairs << [name, value] }
        pairs
      end

      # Runs what the application asked for after its response: `rack.after_reply`, then `rack.response_finished`, last
      # one first. Failures are logged, and are nobody else's.
      #
      # @param response [Array, nil] the one that was sent
      # @param error [Exception, nil] that the application raised
      def after_reply(env, response, error)
        status, headers, = response
        Array(env["rack.after_reply"]).each { |callable| guarded(env) { callable.call } }
        Array(env["rack.response_finished"]).reverse_each do |callable|
          guarded(env) { callable.call(env, status, headers, error) }
        end
      end

      # @return [OpenSSL::X509::Certificate] what the client showed
      def peer_certificate(der)
        MiniSSL.certificate(der)
      end

      # Something in the server itself went wrong.
      def log_failure(what)
        @log_writer.unknown_error(nil, nil, what)
      end

      private

      # @param notice [String, Array] as the core gives it
      def log_notice(notice)
        return @log_writer.unknown_error(nil, nil, "Listen loop: #{notice}") if notice.is_a?(String)

        return give_up(notice.last) if notice.first == :given_up

        message, ip, der = notice
        return @log_writer.log("! #{message}") if notice.size == 1
        return @log_writer.connection_error(ConnectionError.new("#{message} from #{ip}"), nil) if notice.size == 2

        @log_writer.ssl_error(MiniSSL::SSLError.new(message), LoggedPeer.new(ip, MiniSSL.certificate(der)))
      end

      def handler_answer(handler, error, env, status)
        arity = handler.respond_to?(:arity) ? handler.arity : handler.method(:call).arity
        answer =
          case arity
          when 1 then handler.call(error)
          when 2 then handler.call(error, env)
          else handler.call(error, env, status)
          end
        code, headers, body = answer
        [code, headers, body || []]
      end

      # The parts of a body, and its end.
      def strings(body)
        return body if body.is_a?(Array)

        begin
          [].tap { |parts| body.each { |part| parts << part } }
        ensure
          body.close if body.respond_to?(:close)
        end
      end

      # An exception has left the application. What is done about it depends neither on the log nor on whoever collects
      # errors.
      def tell_of(error, env)
        begin
          @log_writer.unknown_error(error, LoggedRequest.new(env), "Rack app")
        rescue StandardError
          nil
        end
        report_to_rails(error)
      end

      # Rails' reporter drops what it was told before, as by its own executor, from 7.1 on. That of 7.0 does not, and
      # takes no source.
      def report_to_rails(error)
        return unless defined?(::Rails.error)

        reporter = ::Rails.error
        takes_source = reporter.method(:report).parameters.any? { |kind, name| kind == :keyrest || name == :source }
        reporter.report(error, handled: false, source: "rserve") if takes_source
      rescue StandardError
        nil
      end

      def parse_error(error, env, status)
        @log_writer.parse_error(error, LoggedRequest.new(env))
        error.set_backtrace(caller(2))
        lowlevel_error(error, env, status)
      end

      # The client's doing, as it would be if all of the body had come before the application was called.
      def answer_body_error(error, env)
        case error.status
        when nil then nil
        when 400 then parse_error(HttpParserError.new(error.message), env, 400)
        else [error.status, {}, error.status == 413 ? ["Payload Too Large"] : []]
        end
      end

      # The disk is full, or the folder is gone: the server's fault.
      def answer_storage_failure(message, env)
        error = IOError.new(message)
        @log_writer.unknown_error(error, LoggedRequest.new(env), "Request body")
        status, headers, body = lowlevel_error(error, env, 507)
        [status, headers, strings(body)]
      end

      def refused_env(method, target, peer)
        path, query = target.split("?", 2)
        env = { "QUERY_STRING" => query.to_s, "REQUEST_PATH" => path, "PATH_INFO" => path }
        env["REQUEST_METHOD"] = method unless method.empty?
        env["REMOTE_ADDR"] = peer if peer
        env
      end

      def guarded(env)
        yield
      rescue StandardError => e
        @log_writer.debug_error(e, LoggedRequest.new(env), "after the response")
      end
    end
  end
end
