# frozen_string_literal: true

Rails.application.routes.draw do
  root "greetings#show"
  post "/echo", to: "greetings#echo"
  get "/raise", to: "greetings#fail"
  get "/up", to: ->(_env) { [200, {}, ["up"]] } # as Rails has it from 7.1 on
  get "/pid", to: "greetings#pid"

  resources :notes, only: %i[index create show]
  post "/count", to: "notes#count"
  post "/jobs", to: "notes#later"

  get "/action_cable.js", to: "files#action_cable"
  get "/download", to: "files#download"
  get "/stream", to: "streams#show"
  post "/stream", to: "streams#update"
end
