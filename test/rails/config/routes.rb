# frozen_string_literal: true

Rails.application.routes.draw do
  root "greetings#show"
  post "/echo", to: "greetings#echo"
end
