# frozen_string_literal: true

require "rserve"

# Puma's name for rserve. rserve's own classes have Puma's names, arguments and constants, so one name is enough.
Puma = Rserve unless defined?(Puma)
