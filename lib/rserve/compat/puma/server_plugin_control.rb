# frozen_string_literal: true

# rserve has nothing of this; the file is here so that the one of the puma gem is not loaded in its place.
require "puma"
