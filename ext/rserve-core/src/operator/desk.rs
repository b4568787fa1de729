//! The answers: which path tells what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, Reply, Request};
use super::backtraces::BacktraceInquiry;
use super::port::Desk;
use super::settings::Settings;
use super::{permission, status, verdict};
use crate::backtraces::Backtraces;
use crate::metrics::{self, Exposition, Format};
use crate::telemetry::{self, Telemetry};

/// How often the clock is looked at, to notice that the machine, or the container, stood still.
const LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub struct TelemetryDesk {
    telemetry: Telemetry,
    backtraces: Option<Arc<Backtraces>>,
    settings: Settings,
    exposition: Exposition,
    looked_at: u64,
    /// When this process began, or last went on after it had stood still.
    awake_since: u64,
}

impl TelemetryDesk {
    /// Tells what `telemetry` says, and what the workers say by `backtraces`.
    pub fn new(telemetry: Telemetry, backtraces: Option<Arc<Backtraces>>, settings: Settings) -> Self {
        let now = telemetry::now();
        let exposition = Exposition::default();
        Self { telemetry, backtraces, settings, exposition, looked_at: now, awake_since: now }
    }

    fn threads(&self, request: &Request<'_>, now: Instant) -> Reply {
        let snapshot = self.telemetry.read();
        if request.parameter("backtrace") != Some(b"1") {
            return Answer::json(metrics::threads(&snapshot)).into();
        }
        if let Err(refusal) = permission::check(request, self.settings.token.as_deref()) {
            return Answer::text(403, refusal).into();
        }
        let inquiry = self.backtraces.as_ref().map(|it| BacktraceInquiry::begin(it, &snapshot, now));
        match inquiry {
            Some(Ok(inquiry)) => Reply::Later(Box::new(inquiry)),
            // No descriptor left, or none handed over.
            Some(Err(_)) | None => Answer::of_status(503).into(),
        }
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
    fn answer(&mut self, request: &Request<'_>, now: Instant) -> Reply {
        self.look(now);
        let is_read = matches!(request.method, b"GET" | b"HEAD");
        let answer = match request.path {
            b"/livez" | b"/readyz" | b"/metrics" | b"/threads" | b"/status" if !is_read => {
                Answer::of_status(405)
            }
            b"/livez" => self.live(),
            b"/readyz" => self.ready(),
            b"/metrics" => self.metrics(request),
            b"/threads" => return self.threads(request, now),
            b"/status" => Answer::json(status::json(&self.telemetry.read(), &self.settings, now_of_day())),
            _ => Answer::of_status(404),
        };
        answer.into()
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
