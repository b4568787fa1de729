# frozen_string_literal: true

# Lines of a rackup file.
module GcStress
  # GC.stress from the application's answer until its next request.
  AFTER_THE_APPLICATION = <<~RUBY
    use(Class.new do
      def initialize(app) = @app = app
      def call(env) = (GC.stress = false) || @app.call(env).tap { GC.stress = true }
    end)
  RUBY

  # GC.stress in the application.
  AROUND_THE_APPLICATION = <<~RUBY
    use(Class.new do
      def initialize(app) = @app = app
      def call(env)
        GC.stress = true
        @app.call(env)
      ensure
        GC.stress = false
      end
    end)
  RUBY
end
