# frozen_string_literal: true

# rserve's own classes have Puma's names, arguments and constants, so that one name is all it takes. Who asks for Puma
# by name gets Puma's name in banners, titles and `--version`; and where rserve was not loaded before, its classes call
# themselves Puma's too: people search error pages and logs for `Puma::HttpParserError`.
posing = !defined?(Puma)
if posing && defined?(Rserve)
  Puma = Rserve
elsif posing
  module Puma; end
  Rserve = Puma
end

require "rserve"
Rserve.pose_as_puma if posing
require "rserve/compat"
