# frozen_string_literal: true

# A form with a file. As JSON without a token, for programs.
class NotesController < ActionController::Base
  protect_from_forgery with: :exception, unless: -> { request.format.json? }
  layout "application"

  def index
    @notes = Note.order(:id)
    respond_to do |format|
      format.html
      format.json { render json: @notes.pluck(:body) }
    end
  end

  def create
    note = Note.create!(params.require(:note).permit(:body, :file))
    ActionCable.server.broadcast("notes", { "body" => note.body })
    respond_to do |format|
      format.html { redirect_to note_path(note) }
      format.json { render json: { id: note.id, file: note.file.attached? && rails_blob_path(note.file) } }
    end
  end

  def show
    @note = Note.find(params[:id])
  end

  # One row that everybody writes to.
  def count
    Counter.update_counters(1, value: 1)
    render json: Counter.find(1).value
  end

  def later
    NoteJob.perform_later(params.require(:body))
    head :accepted
  end
end
