# frozen_string_literal: true

class Counter < ApplicationRecord
end
