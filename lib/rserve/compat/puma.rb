# frozen_string_literal: true

require "rserve"

# rserve's own classes have Puma's names, arguments and constants, so that one name is all it takes. Who asks for Puma
# by name also gets Puma's name in banners, titles and `--version`.
unless defined?(Puma)
  Puma = Rserve
  Rserve.pose_as_puma
end

require "rserve/compat"
