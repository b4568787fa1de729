# frozen_string_literal: true

module Rserve
  class Server
    # Full collections of garbage that requests do not wait for (`gc :out_of_band`): whether one is needed, and making
    # it. When it is made is decided in the core.
    class Collector
      # Ruby can be told to leave full collections to whoever asks for them (3.4 and later).
      CAN_WAIT = GC.respond_to?(:config) && GC.config.key?(:rgengc_allow_full_mark)
      # It says that the next one would be one (3.3 and later).
      TELLS = begin
        GC.latest_gc_info(:need_major_by)
        true
      rescue ArgumentError
        false
      end
      private_constant :CAN_WAIT, :TELLS

      # @return [Boolean] does this Ruby tell enough?
      def self.possible? = TELLS

      def initialize
        @pages = pages
      end

      # From now on Ruby makes none by itself, where it can.
      def take_over
        GC.config(rgengc_allow_full_mark: false) if CAN_WAIT
      end

      # From now on Ruby makes them as ever.
      def give_back
        GC.config(rgengc_allow_full_mark: true) if CAN_WAIT
      end

      # @return [Array(Boolean, Integer)] whether Ruby needs one; and the heap's pages, in hundredths of what there were
      #   after the last one, or 0 where Ruby sees to that by itself
      def state
        [!GC.latest_gc_info(:need_major_by).nil?, CAN_WAIT ? pages * 100 / @pages : 0]
      end

      # Makes one. Objects grow old only while Ruby may make them.
      def collect
        give_back
        GC.start
        @pages = pages
      ensure
        take_over
      end

      private

      def pages = GC.stat(:heap_allocated_pages)
    end
  end
end
