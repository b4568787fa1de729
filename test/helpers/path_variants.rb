# frozen_string_literal: true

# Paths by which clients try to get at files that are outside of a folder, or not meant for them.
module PathVariants
  # Ways to write `..`, or something that a careless decoder takes for it.
  DOTS = ["..", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "%252e%252e", "..%00", "%00..", "%c0%ae%c0%ae", "..%c0%80",
          "%e0%80%ae%e0%80%ae", "%ef%bc%8e%ef%bc%8e", "....", "..;", ".", "...", "%u002e%u002e", "..%20", "..%09",
          "%2e%2e%2e"].freeze
  # Ways to write a slash.
  SLASHES = ["/", "%2f", "%2F", "%5c", "\\", "//", "/./", "%252f", "%c0%af", "%e0%80%af", "/%2e/", ";/", "%00/",
             "|/"].freeze
  # Where a path may begin.
  PLACES = ["", "assets", "inner", ".well-known", "link", "away"].freeze

  # @param secrets [Array<String>] names of files one folder above, and absolute paths
  # @return [Array<String>] targets, each once
  def self.all(secrets)
    climbs = DOTS.product(SLASHES, [1, 3]).map { |dots, slash, times| "#{dots}#{slash}" * times }.uniq
    climbing = climbs.product(PLACES).zip(secrets.cycle).map do |(climb, place), secret|
      "/#{place}#{"/" unless place.empty?}#{climb}#{secret.delete_prefix("/")}"
    end
    (climbing + direct(secrets)).uniq
  end

  # Without climbing: dot files, links, devices, absolute paths, and endings that are to be cut off.
  def self.direct(secrets)
    names = %w[.env .git/config inner/.htaccess .well-known/.env %2eenv .%65nv out.txt out/secret.txt away/secret.txt
               absolute.txt fifo.txt inner/fifo loop.txt .env%00.css .env%20 .env/ .env/. .%00env out.txt%00 out.txt/.
               out.txt::$DATA ./out.txt proc/self/environ dev/zero]
    absolute = secrets.flat_map do |secret|
      ["/#{secret}", "//#{secret}", "/%2f#{secret}", "/file:#{secret}", secret, "/%00#{secret}", "/~#{secret}"]
    end
    names.map { |name| "/#{name}" } + absolute
  end
end
