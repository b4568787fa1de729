# frozen_string_literal: true

require "json"
require_relative "../helpers/patience"
require_relative "case_table"
require_relative "conversation"

# Runs cases against a live server whose application is oracle.ru, many connections at a time.
class CaseRunner
  # Connections at a time.
  BATCH = 100
  # Between two packets of every connection of a batch: what the poller needs to read the first ones, most of the time.
  # A part that it reads late only makes one cut less.
  PAUSE = 0.002
  # Seconds until every connection of a batch must have ended.
  PATIENCE = 5

  # @param host [String]
  # @param port [Integer]
  # @param oracle_log [String] path of the file that the oracle appends to
  def initialize(host, port, oracle_log)
    @address = [host, port]
    @log = File.open(oracle_log)
    @partial_line = +""
    @seen = Hash.new { |seen, key| seen[key] = [] }
  end

  # @param runs [Array<Array(CaseTable::Case, Array<Integer>)>] cases and where to cut them
  # @return [Array<String>] what is wrong
  def run(runs)
    faults = runs.each_slice(BATCH).flat_map { |batch| run_batch(batch) }
    read_log
    faults + @seen.values.flatten.map { |seen| "a request that nobody sent, or late: #{seen}" }
  end

  private

  def run_batch(batch)
    talks = batch.map { |kase, cuts| Conversation.new(kase, cuts, *@address) }
    talking = talks
    sleep PAUSE while (talking = talking.select(&:send_part)).any?
    deadline = Conversation.now + Patience.for(PATIENCE)
    talks.each { |talk| talk.finish(deadline) }
    read_log
    talks.filter_map do |talk|
      fault = talk.fault(@seen.delete(talk.port) || [])
      "#{talk.kase.name} (#{talk.kase.source})#{" cut at #{talk.cuts.first(3)}" if talk.cuts.any?}: #{fault}" if fault
    end
  end

  def read_log
    lines = (@partial_line + @log.read).lines
    @partial_line = lines.any? && !lines.last.end_with?("\n") ? lines.pop : +""
    lines.map { |line| JSON.parse(line) }.each { |seen| @seen[seen["port"]] << seen }
  end
end
