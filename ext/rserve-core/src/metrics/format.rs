//! The two formats that Prometheus reads: its own text (0.0.4), and OpenMetrics (1.0).

use std::fmt::Write;

use super::{Kind, Metric};
use crate::telemetry::Histogram;

/// How metrics are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// Prometheus' own.
    #[default]
    Text,
    /// OpenMetrics, which says which unit something has, and where the end is.
    OpenMetrics,
}

impl Format {
    /// The one that a client would rather have, by its `Accept` (RFC 9110 §12.5.1); the text when it does not say.
    pub fn accepted(accept: &[u8]) -> Self {
        let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
        let quality = |wanted: &dyn Fn(&str, &[&str]) -> bool| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let media = parts.next()?;
                let parameters: Vec<_> = parts.collect();
                let quality = parameters.iter().find_map(|parameter| parameter.strip_prefix("q="));
                wanted(media, &parameters)
                    .then(|| quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
            });
            ranges.fold(0.0, f64::max)
        };
        let open_metrics = quality(&|media, parameters| {
            let mut versions = parameters.iter().filter_map(|parameter| parameter.strip_prefix("version="));
            media == "application/openmetrics-text"
                && versions.all(|version| version.trim_matches('"') == "1.0.0")
        });
        let text = quality(&|media, _| matches!(media, "text/plain" | "text/*" | "*/*"));
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// `Content-Type` of what is written.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// A number that is not whole, or is a bound: OpenMetrics has a canonical way to write these.
    fn decimal(self, number: f64) -> String {
        match self {
            Self::Text => number.to_string(),
            Self::OpenMetrics if number.fract() == 0.0 => format!("{number:.1}"),
            Self::OpenMetrics => number.to_string(),
        }
    }
}

/// Labels and their values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// Metrics that are being written.
pub(super) struct Text {
    text: String,
    format: Format,
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self { text: String::new(), format }
    }

    /// What is said of a metric before its values.
    pub(super) fn begin(&mut self, metric: &Metric) {
        let (name, kind) = match (self.format, metric.kind) {
            (Format::Text, Kind::Counter) => (metric.sample(), "counter"),
            (_, Kind::Counter) => (metric.name.into(), "counter"),
            (_, Kind::Gauge) => (metric.name.into(), "gauge"),
            (_, Kind::Histogram) => (metric.name.into(), "histogram"),
            (Format::Text, Kind::Unknown) => (metric.name.into(), "untyped"),
            (Format::OpenMetrics, Kind::Unknown) => (metric.name.into(), "unknown"),
        };
        self.line(format_args!("# HELP {name} {}", metric.help));
        self.line(format_args!("# TYPE {name} {kind}"));
        if self.format == Format::OpenMetrics
            && let Some(unit) = metric.unit()
        {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    pub(super) fn value(&mut self, name: &str, labels: Labels<'_>, value: u64) {
        let labels = braced(labels, None);
        self.line(format_args!("{name}{labels} {value}"));
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        histogram: &Histogram,
        bounds: &[u64],
    ) {
        let seconds = bounds.iter().map(|microseconds| *microseconds as f64 / 1e6);
        let bounds = seconds.map(|bound| self.format.decimal(bound)).chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (bound, count) in bounds.collect::<Vec<_>>().iter().zip(histogram.buckets) {
            below += count;
            let labels = braced(labels, Some(bound));
            self.line(format_args!("{name}_bucket{labels} {below}"));
        }
        let labels = braced(labels, None);
        let sum = self.format.decimal(histogram.nanoseconds as f64 / 1e9);
        self.line(format_args!("{name}_sum{labels} {sum}"));
        self.line(format_args!("{name}_count{labels} {below}"));
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A String takes whatever is written.
        let _ = writeln!(self.text, "{line}");
    }
}

/// `{a="b",le="1"}`, or nothing. No value has anything in it that would have to be escaped.
fn braced(labels: Labels<'_>, bound: Option<&str>) -> String {
    let bound = bound.map(|bound| ("le", bound));
    let labels: Vec<_> =
        labels.iter().copied().chain(bound).map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}
