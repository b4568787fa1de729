# frozen_string_literal: true

class GreetingsController < ActionController::Base
  skip_forgery_protection

  def show
    session[:visits] = session[:visits].to_i + 1
    render plain: "Hello from Rails, visit #{session[:visits]}"
  end

  def echo = render(json: params.require(:text))
  def pid = render(plain: Process.pid.to_s)
  def fail = raise("on purpose")
end
