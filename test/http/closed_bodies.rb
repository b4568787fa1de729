# frozen_string_literal: true

# How often the bodies of faults.ru were closed, for tests that run it.
module ClosedBodies
  private

  # @return [String, nil] what is wrong with it
  def closed_fault(path, fault)
    return unless fault.closed

    # The client has its response before the body is closed.
    server.wait_until("its body is closed", 10) { get("/closed#{path}").body.to_i >= fault.closed }
    counted = get("/closed#{path}").body.to_i
    "its body was closed #{counted} times" if counted > fault.closed
  rescue ServerProcess::Late
    "its body was not closed"
  end
end
