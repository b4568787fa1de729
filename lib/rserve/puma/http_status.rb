# frozen_string_literal: true

require "rserve/native"

module Rserve
  # Reason phrases by status, as they are sent.
  HTTP_STATUS_CODES = Native.reason_phrases.freeze

  # Responses with these have no body. (Nor has an interim one.)
  STATUS_WITH_NO_ENTITY_BODY = { 204 => true, 205 => true, 304 => true }.freeze
end
