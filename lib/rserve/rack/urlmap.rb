# frozen_string_literal: true

module Rserve
  module Rack
    # Sends each request to the application with the longest matching path. A location may begin with `http://host`.
    class URLMap
      Location = Struct.new(:host, :path, :app) do
        # @return [Array(String, String), nil] the part of `target` that matched, and what follows it
        def match(target)
          return unless target.start_with?(path)

          rest = target[path.size..]
          [path, rest] if rest.empty? || rest.start_with?("/")
        end
      end
      private_constant :Location

      # @param map [Hash{String => #call}]
      def initialize(map = {})
        remap(map)
      end

      # @param map [Hash{String => #call}] takes the place of all locations
      # @raise [ArgumentError] when a location does not begin with a slash
      def remap(map)
        @locations = map.map { |location, app| parse(location, app) }
                        .sort_by { |location| [-location.host.to_s.size, -location.path.size] }
      end

      # (see Builder#call)
      def call(env)
        script_name, path_info = env.values_at("SCRIPT_NAME", "PATH_INFO")
        hosts = [env["HTTP_HOST"], env["SERVER_NAME"]]
        @locations.each do |location|
          next if location.host && hosts.none? { |host| location.host.casecmp?(host.to_s) }

          matched, rest = location.match(path_info.to_s.squeeze("/"))
          next unless matched

          env["SCRIPT_NAME"] = script_name.to_s + matched
          env["PATH_INFO"] = rest
          return location.app.call(env)
        end
        not_found(env["PATH_INFO"])
      ensure
        env["SCRIPT_NAME"] = script_name
        env["PATH_INFO"] = path_info
      end

      private

      def parse(location, app)
        host, path = location.match(%r{\Ahttps?://(.*?)(/.*)})&.captures || [nil, location]
        raise ArgumentError, "paths need to start with /" unless path.start_with?("/")

        Location.new(host, path.chomp("/"), app)
      end

      def not_found(path)
        [404, { "content-type" => "text/plain", "x-cascade" => "pass" }, ["Not Found: #{path}"]]
      end
    end
  end
end
