//! The answers: which path tells what.

use std::time::{Duration, Instant};

use super::answer::{Answer, Request};
use super::port::Desk;
use super::settings::Settings;
use super::{status, verdict};
use crate::metrics::{self, Exposition, Format};
use crate::telemetry::{self, Telemetry};

/// How often the clock is looked at, to notice that the machine, or the container, stood still.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub struct TelemetryDesk {
    telemetry: Telemetry,
    settings: Settings,
    exposition: Exposition,
    looked_at: u64,
    /// When this process began, or last went on after it had stood still.
    awake_since: u64,
}

impl TelemetryDesk {
    /// Tells what `telemetry` says.
    pub fn new(telemetry: Telemetry, settings: Settings) -> Self {
        let now = telemetry::now();
        Self { telemetry, settings, exposition: Exposition::default(), looked_at: now, awake_since: now }
    }

    fn live(&self) -> Answer {
        match verdict::stuck(&self.telemetry.read(), self.awake_since) {
            None => Answer::text(200, "ok"),
            Some(stuck) => Answer::text(503, stuck.label()),
        }
    }

    fn metrics(&mut self, request: &Request<'_>) -> Answer {
        let format = Format::accepted(request.accept);
        let content = self.exposition.text(&self.telemetry, format).into_bytes();
        Answer { status: 200, content_type: format.media_type(), content }
    }

    fn ready(&self) -> Answer {
        match verdict::unready(&self.telemetry.read(), self.settings.ready_saturation) {
            None => Answer::text(200, "ok"),
            Some(unready) => Answer::text(503, unready.label()),
        }
    }
}

impl Desk for TelemetryDesk {
    fn answer(&mut self, request: &Request<'_>, now: Instant) -> Answer {
        self.look(now);
        let is_read = matches!(request.method, b"GET" | b"HEAD");
        match request.path {
            b"/livez" | b"/readyz" | b"/metrics" | b"/threads" | b"/status" if !is_read => {
                Answer::of_status(405)
            }
            b"/livez" => self.live(),
            b"/readyz" => self.ready(),
            b"/metrics" => self.metrics(request),
            b"/threads" => Answer::json(metrics::threads(&self.telemetry.read())),
            b"/status" => Answer::json(status::json(&self.telemetry.read(), &self.settings, now_of_day())),
            _ => Answer::of_status(404),
        }
    }

    fn look(&mut self, now: Instant) -> Option<Instant> {
        let at = telemetry::now();
        if u128::from(at.saturating_sub(self.looked_at)) > 3 * LOOK.as_millis() {
            self.awake_since = at;
        }
        self.looked_at = at;
        Some(now + LOOK)
    }
}

fn now_of_day() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default()
}
