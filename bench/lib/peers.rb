# frozen_string_literal: true

require "openssl"
require_relative "workloads"

# How each server is started to do the same work: as many processes and threads, by its own recommended means.
# A server stands here under the name of its command.
module Peers
  # Name => the arguments that Ruby gets before the server's own. Unicorn, Pitchfork, Falcon and Itsi are measured where
  # their commands are on the PATH.
  COMMANDS = {
    "rserve" => -> { ["-Ilib", "gem/exe/rserve"] },
    "itsi" => -> { ["-S", "itsi"] },
    "falcon" => -> { ["-S", "falcon"] },
    "pitchfork" => -> { ["-S", "pitchfork"] },
    "unicorn" => -> { ["-S", "unicorn"] },
    "thruster" => -> { ["-e", "exec(*ARGV)"] },
    "bare" => -> { ["-e", "exec(*ARGV)", BARE] },
    "puma" => -> { [Gem.bin_path("puma", "puma")] }
  }.freeze

  # How each is set up, beyond the number of processes and threads that the workload has: what its authors recommend for
  # production, and their defaults.
  SETTINGS = {
    "rserve" => "as many threads as may be at once; `static` and `compress` in the arena",
    "itsi" => "its reactor has several threads in a single process; `static_assets` and `compress` in the arena",
    "falcon" => "`falcon host`, a fiber for each request, no preloading; TLS 1.2, as its environment has it",
    "pitchfork" => "a process for each thread of the others, `refork_after [50, 100, 1000]`, no connection is kept",
    "unicorn" => "a process for each thread of the others, `preload_app`, no connection is kept",
    "thruster" => "Puma behind it; no log of requests",
    "puma" => "as many threads as may be at once",
    "bare" => "one thread, no Ruby"
  }.freeze

  # Gems that are called otherwise.
  GEMS = { "itsi" => "itsi-server" }.freeze

  # Those that are measured over TLS too.
  TLS = %w[rserve itsi falcon puma].freeze

  # Those whose applications may take the socket.
  HIJACK = %w[rserve puma].freeze

  # No server, but a loop over mio that says hello: what is left to save.
  BARE = "target/bare/release/bare"

  # @param name [String]
  # @param workload [Hash] see WORKLOADS
  # @return [Boolean] whether a server of this name can do that
  def self.able?(name, workload)
    return hello?(workload) if name == "bare"

    (!workload[:tls] || TLS.include?(name)) && (!workload[:echo] || HIJACK.include?(name))
  end

  # Whether it is but a hello, on connections that are kept, by one process.
  def self.hello?(workload)
    workload.values_at(:app, :workers, :tls, :close) == DEFAULT_WORKLOAD.values_at(:app, :workers, :tls, :close)
  end
  private_class_method :hello?

  # @param names [Array<String>] of those that will be measured
  def self.prepare(names)
    return unless names.include?("bare")

    system("cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", "bench/bare/Cargo.toml",
           "--target-dir", "target/bare", exception: true)
  end

  # @param name [String]
  def self.version(name)
    case name
    when "rserve" then File.read("Cargo.toml")[/^version = "(.*)"/, 1]
    when "bare" then "mio #{File.read("bench/bare/Cargo.lock")[/name = "mio"\nversion = "(.*)"/, 1]}"
    else Gem::Specification.find_by_name(GEMS.fetch(name, name)).version.to_s
    end
  end

  # @return [Array<String>] names of servers that can be measured here
  def self.there = COMMANDS.keys.select { |name| name == "rserve" || system("command -v #{name} >/dev/null 2>&1") }

  # @param name [String]
  # @param workload [Hash] see WORKLOADS
  # @param port [Integer]
  # @param address [String] to bind to
  # @param folder [String] for files that the server reads
  # @return [Array<String>] the whole command line after Ruby's name
  def self.command(name, workload, port:, address:, folder:)
    ours = Arguments.new(workload, port, address, folder)
    [*COMMANDS.fetch(name).call, *(ours.respond_to?(name) ? ours.public_send(name) : ours.puma)]
  end

  # A method for each kind of command line.
  Arguments = Struct.new(:workload, :port, :address, :folder) do
    # Its own configuration has what the others' app does.
    def rserve = puma(workload.fetch(:rserve_config) { workload.fetch(:config, "-") })

    def puma(config = workload.fetch(:config, "-"))
      threads = "#{workload[:threads]}:#{workload[:threads]}"
      ["-b", address, "-w", workload[:workers].to_s, "-t", threads, *("--preload" if workload[:preload]),
       *(["--control-url", "unix://#{folder}/control", "--control-token", "none"] if workload[:control]),
       "-C", config, "-e", "production", "-q", workload[:app]]
    end

    # As many processes as the others have threads. What they do themselves is Rack::ContentLength's part here.
    def unicorn
      config = write("unicorn.rb", "worker_processes #{processes * workload[:threads]}\npreload_app true\n")
      ["-l", "127.0.0.1:#{port}", "-E", "production", "-c", config, with_content_length]
    end

    # Processes that are forked anew from one that has served, as its authors recommend.
    def pitchfork
      config = write("pitchfork.rb",
                     "worker_processes #{processes * workload[:threads]}\nrefork_after [50, 100, 1000]\n")
      ["-l", "127.0.0.1:#{port}", "-E", "production", "-c", config, with_content_length]
    end

    # In front of Puma; it neither logs requests here nor asks a certificate authority.
    def thruster
      behind = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
      ours = self.class.new(workload, port, "tcp://127.0.0.1:#{behind}", folder)
      ["env", "HTTP_PORT=#{port}", "TARGET_PORT=#{behind}", "LOG_REQUESTS=false", "H2C_ENABLED=true",
       "thrust", RbConfig.ruby, Gem.bin_path("puma", "puma"), *ours.puma]
    end

    def bare = [address.delete_prefix("tcp://")]

    # A fiber for each request, as many as come; by `host`, which its authors made for production.
    def falcon
      ["host", write("falcon.rb", <<~RUBY)]
        require "falcon/environment/server"
        require "falcon/environment/rackup"
        require "falcon/environment/tls"

        service "bench" do
          include Falcon::Environment::Server
          include Falcon::Environment::Rackup
          #{"include Falcon::Environment::TLS" if tls}
          count #{processes}
          rackup_path #{File.expand_path(workload[:app]).dump}
          url #{"#{tls ? "https" : "http"}://127.0.0.1:#{port}".dump}
          #{falcon_tls if tls}
        end
      RUBY
    end

    # As the configuration that it writes at first; it sends files and compresses where the workload has files for it.
    def itsi
      config = write("Itsi.rb", <<~RUBY)
        bind #{"#{tls ? "https" : "http"}://127.0.0.1:#{port}#{itsi_tls if tls}".dump}
        workers #{processes}
        threads #{workload[:threads]}
        preload #{workload[:preload]}
        log_level :error
        #{itsi_middleware if workload[:files]}
        rackup_file #{File.expand_path(workload[:app]).dump}
      RUBY
      ["-C", config, "start"]
    end

    private

    # @return [Array(String, String), nil] certificate and key
    def tls = address.match(/cert=(.*)&key=(.*)/)&.captures

    # Its own takes RSA keys alone. What it wants of sockets is in Ruby's openssl since 3.3, which comes with Ruby 3.4.
    def falcon_tls
      <<~RUBY
        wanted = %i[close_on_exec= local_address remote_address timeout timeout= wait wait_readable wait_writable]
        (wanted - OpenSSL::SSL::SocketForwarder.instance_methods).each do |name|
          OpenSSL::SSL::SocketForwarder.define_method(name) { |*arguments| to_io.public_send(name, *arguments) }
        end
        ssl_certificate_path #{tls.first.dump}
        ssl_private_key { OpenSSL::PKey.read(File.read(#{tls.last.dump})) }
        endpoint { Async::HTTP::Endpoint.parse(url, ssl_context: ssl_context, **endpoint_options) }
      RUBY
    end

    # Its key is one of PKCS #8.
    def itsi_tls
      key = write("pkcs8.key", OpenSSL::PKey.read(File.read(tls.last)).private_to_pem)
      "?cert=#{tls.first}&key=#{key}"
    end

    def itsi_middleware
      <<~RUBY
        compress min_size: 1024, algorithms: %w[zstd gzip deflate br], mime_types: %w[all], level: "fastest"
        static_assets root_dir: #{File.expand_path(workload[:files]).dump}, not_found_behavior: "fallthrough"
      RUBY
    end

    def processes = [workload[:workers], 1].max

    def with_content_length
      write("app.ru", <<~RUBY)
        use Rack::ContentLength
        run [*Rack::Builder.parse_file(#{File.expand_path(workload[:app]).dump})].first
      RUBY
    end

    def write(name, text) = File.join(folder, name).tap { |path| File.write(path, text) }
  end
  private_constant :Arguments
end
