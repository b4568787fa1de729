# frozen_string_literal: true

# rserve's configuration for the apps beside: what it does by itself there.
rserve do
  static File.expand_path("../../docs", __dir__)
  compress
end
