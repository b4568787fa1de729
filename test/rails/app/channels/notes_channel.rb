# frozen_string_literal: true

# Who subscribes hears what anyone says.
class NotesChannel < ApplicationCable::Channel
  def subscribed = stream_from("notes")

  def say(data) = ActionCable.server.broadcast("notes", { "body" => data.fetch("body") })
end
