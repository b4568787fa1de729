# frozen_string_literal: true

class NoteJob < ActiveJob::Base
  def perform(body) = Note.create!(body:)
end
