//! What operators see of a connection: what it is in the middle of, and how its requests are answered.

use std::time::Instant;

use super::{Activity, Exchange};
use crate::connection::request::Request;
use crate::net::stream::Stream;
use crate::telemetry::{ConnectionState, Labels, Worker};

/// One connection, for as long as it is open.
#[derive(Debug)]
pub(super) struct Told {
    telemetry: Worker,
    state: Option<ConnectionState>,
    /// The request that is being answered, and when its head was complete.
    request: Option<(Labels, Instant)>,
    /// It is one of several on a connection, which counts by itself.
    is_stream: bool,
}

impl Told {
    fn enter(&mut self, state: Option<ConnectionState>) {
        let state = state.filter(|_| !self.is_stream);
        self.telemetry.connection(self.state, state);
        self.state = state;
    }

    pub(super) fn answered(&mut self, status: u16) {
        if let Some((labels, _)) = &mut self.request {
            labels.answered(status);
        }
    }

    /// The response is out, or given up.
    pub(super) fn end_request(&mut self, now: Instant) {
        if let Some((labels, began)) = self.request.take() {
            let nanoseconds = now.saturating_duration_since(began).as_nanos();
            self.telemetry.request(labels, u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.enter(None);
    }
}

impl Exchange {
    /// From now on operators see the connection.
    pub(crate) fn tell_in(&mut self, telemetry: &Worker) {
        let (telemetry, is_stream) = (telemetry.clone(), self.is_stream());
        self.told = Some(Box::new(Told { telemetry, state: None, request: None, is_stream }));
        self.tell_state();
    }

    /// What it is in the middle of may have changed.
    pub(crate) fn tell_state(&mut self) {
        if self.told.is_some() {
            let state = self.state();
            self.told.iter_mut().for_each(|told| told.enter(state));
        }
    }

    fn state(&self) -> Option<ConnectionState> {
        match self.activity {
            Activity::Receiving if self.is_idle() => Some(ConnectionState::Idle),
            Activity::Carrying if self.is_idle() => Some(ConnectionState::Idle),
            Activity::Receiving => Some(ConnectionState::Reading),
            Activity::Carrying => Some(ConnectionState::Serving),
            Activity::Ready => Some(ConnectionState::Serving),
            Activity::Sending => Some(ConnectionState::Writing),
            Activity::Lingering => Some(ConnectionState::Lingering),
            Activity::Gone => None,
        }
    }

    /// `request` is being answered.
    pub(super) fn tell_request(&mut self, request: &Request) {
        if self.told.is_some() {
            let labels = self.labels(request);
            self.tell_labels(labels, request.head_at);
        }
    }

    /// The request that is not complete is being answered.
    pub(super) fn tell_late_request(&mut self) {
        if self.told.is_some() {
            // Of a head that never came whole nobody knows when it would have begun.
            let began = if self.in_body() { self.request.head_at } else { Instant::now() };
            self.tell_labels(self.labels(&self.request), began);
        }
    }

    fn labels(&self, request: &Request) -> Labels {
        let https = self.stream.as_ref().is_some_and(Stream::is_tls);
        Labels::new(request.head.method.of(&request.octets), https, request.head.version)
    }

    fn tell_labels(&mut self, labels: Labels, began: Instant) {
        self.told.iter_mut().for_each(|told| told.request = Some((labels, began)));
    }
}
