# frozen_string_literal: true

# rserve's own classes have Puma's names, arguments and constants, so that one name is all it takes. Where rserve was
# not loaded before, there is nothing but Puma's name (`gem/puma`): then banners, titles and `--version` have it, too,
# and classes call themselves Puma's. Where it was, as under `bin/rails server`, people see that it is rserve.
posing = !defined?(Puma) && !defined?(Rserve)
if posing
  module Puma; end
  Rserve = Puma
end

require "rserve"
Rserve.pose_as_puma if posing
require "rserve/compat"
