# frozen_string_literal: true

module Rserve
  # Version of the rserve gem; the Puma version it stands in for is Const::PUMA_VERSION.
  VERSION = "1.0.0.rc1"

  # Name of this release, printed in the banner.
  CODE_NAME = "First Light"
end
