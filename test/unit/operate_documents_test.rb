# frozen_string_literal: true

require "json"
require "open3"
require "yaml"
require_relative "../helper"

# docs/operate/: what is to be loaded by Grafana and Prometheus is well-formed, and asks for what there is.
class OperateDocumentsTest < Minitest::Test
  FOLDER = File.join(TestServer::ROOT, "docs/operate")
  ROW = /^\| `(\w+)` \| (gauge|counter|histogram|untyped) \| ([^|]*)/
  METRICS = File.read(File.join(TestServer::ROOT, "docs/metrics.md")).scan(ROW)
  PROMTOOL = ENV.fetch("PATH").split(":").map { |place| "#{place}/promtool" }.find { |path| File.executable?(path) }
  # What PromQL, a dashboard's variables and whoever scrapes bring along.
  WORDS = %w[sum max by rate increase histogram_quantile and le job instance label_values __rate_interval m h].freeze

  def test_the_dashboard_asks_for_what_there_is
    dashboard = JSON.parse(File.read(File.join(FOLDER, "grafana.json")))
    panels = dashboard.fetch("panels")
    assert_equal panels.size, panels.map { |panel| panel.fetch("id") }.uniq.size
    places = panels.map { |panel| panel.fetch("gridPos").values_at("x", "y", "w", "h") }
    assert(places.all? { |x, _, width, _| x + width <= 24 })
    assert_equal places.size, places.map { |place| place.first(2) }.uniq.size
    queries = dashboard.dig("templating", "list").filter_map do |variable|
      variable["query"] if variable["type"] == "query"
    end
    assert_known(panels.flat_map { |panel| panel.fetch("targets").map { |target| target.fetch("expr") } } + queries)
    shown = JSON.generate(dashboard)
    assert_empty(METRICS.map(&:first).reject { |name| shown.include?(name) }, "metrics that it does not show")
  end

  def test_alerts_ask_for_what_there_is
    path = File.join(FOLDER, "alerts.yml")
    rules = YAML.safe_load_file(path).fetch("groups").flat_map { |group| group.fetch("rules") }
    assert_equal rules.size, rules.map { |rule| rule.fetch("alert") }.uniq.size
    rules.each do |rule|
      assert_includes %w[page ticket], rule.dig("labels", "severity"), rule["alert"]
      refute_empty rule.dig("annotations", "summary"), rule["alert"]
    end
    assert_known(rules.map { |rule| rule.fetch("expr") })
    return unless PROMTOOL

    output, status = Open3.capture2e(PROMTOOL, "check", "rules", path)
    assert_predicate status, :success?, output
  end

  private

  # Every word of the expressions is a metric, a label of one, or PromQL's.
  def assert_known(expressions)
    samples = METRICS.flat_map do |name, kind,|
      kind == "histogram" ? %w[bucket sum count].map { |part| "#{name}_#{part}" } : [name]
    end
    labels = METRICS.flat_map { |_, _, cell| cell.scan(/`(\w+)`/).flatten }
    words = expressions.flat_map { |expression| expression.gsub(/"[^"]*"/, "").scan(/[a-z_]\w*/) }.uniq
    assert_empty words - samples - labels - WORDS
    assert_operator (words & samples).size, :>, 5
  end
end
