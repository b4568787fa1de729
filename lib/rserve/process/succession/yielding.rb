# frozen_string_literal: true

module Rserve
  module Succession
    # A generation that loads the application gives way to the one that serves: it takes a processor which that one may
    # need. Only where it may take its priority back, as root may, and what has `LimitNICE` of systemd.
    module Yielding
      # On the scale of nice(2): a tenth of what the other gets, when both want the same processor.
      STEP = 10
      private_constant :STEP

      module_function

      def begin
        usual = Process.getpriority(Process::PRIO_PROCESS, 0)
        # Whether it may be taken back shows by asking for more.
        Process.setpriority(Process::PRIO_PROCESS, 0, usual - 1)
        Process.setpriority(Process::PRIO_PROCESS, 0, usual + STEP)
        @usual = usual
      rescue SystemCallError
        nil # it may not
      end

      # Before anything is forked that serves or works for those who serve.
      def end
        usual = @usual
        @usual = nil
        return unless usual

        Dir.each_child("/proc/self/task") do |thread|
          Process.setpriority(Process::PRIO_PROCESS, Integer(thread), usual)
        rescue Errno::ESRCH
          nil # it has ended
        end
      end
    end
  end
end
