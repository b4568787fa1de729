# frozen_string_literal: true

class NoteJob < ActiveJob::Base
  PATIENCE = 200

  # SQLite may refuse a writer at once while another process writes, whatever time-out it was given.
  def perform(body)
    tries ||= 0
    Note.create!(body:)
  rescue ActiveRecord::StatementInvalid
    raise if (tries += 1) > PATIENCE

    sleep 0.02
    retry
  end
end
