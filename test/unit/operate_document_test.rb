# frozen_string_literal: true

require_relative "../helper"
require "rserve"
require "yaml"

# The files in docs/operate are well-formed, and ask for what there is.
class OperateDocumentTest < Minitest::Test
  DOCS = File.join(TestServer::ROOT, "docs")
  MANIFEST = File.read(File.join(DOCS, "operate/kubernetes.yaml"))

  def test_kubernetes_manifest
    deployment, service = YAML.load_stream(MANIFEST)
    assert_equal(%w[Deployment Service], [deployment, service].map { |it| it["kind"] })
    pod = deployment.dig("spec", "template")
    container = pod.dig("spec", "containers").first
    ports = container["ports"].to_h { |port| port.values_at("name", "containerPort") }
    assert_equal pod.dig("metadata", "labels"), service.dig("spec", "selector")
    assert_includes ports.keys, service.dig("spec", "ports").first["targetPort"]
    assert_equal ports["operator"].to_s, pod.dig("metadata", "annotations", "prometheus.io/port")
    probes = container.select { |key, _| key.end_with?("Probe") }.transform_values { |probe| probe["httpGet"] }
    assert_equal({ "startupProbe" => "/readyz", "readinessProbe" => "/readyz", "livenessProbe" => "/livez" },
                 probes.transform_values { |get| get["path"] })
    assert_equal ["operator"], probes.values.map { |get| get["port"] }.uniq
    assert_configuration(ports["operator"], pod.dig("spec", "terminationGracePeriodSeconds"))
  end

  def test_paths_of_the_port
    served = File.read(File.join(TestServer::ROOT, "ext/rserve-core/src/operator/desk.rs")).scan(%r{b"(/\w+)"}).flatten
    documented = File.read(File.join(DOCS, "operate.md")).scan(%r{^\| `(/\w+)`}).flatten
    assert_equal served.uniq.sort, documented.sort
  end

  private

  # The one in the manifest's own comment.
  def assert_configuration(port, grace)
    text = MANIFEST[/^#   workers.*?^#   end$/m].gsub(/^#/, "")
    options = Rserve::Configuration.new { |user| user.instance_eval(text) }.tap(&:load).tap(&:clamp)._options
    assert_equal ["tcp://0.0.0.0:#{port}"], options[:health_bind]
    assert_operator grace, :>, options[:shutdown_delay] + options[:worker_shutdown_timeout]
  end
end
