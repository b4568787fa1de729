//! Requests that the application has in hand: which of them hang, and since when.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::observe::line::Octets;

/// Requests whose application has not answered for a long time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stall {
    /// How many threads have one.
    threads: usize,
    /// What is a long time.
    limit: Duration,
    /// The oldest of them: since when, method and path.
    oldest: Duration,
    request: Vec<u8>,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threads, limit, oldest, request } = self;
        let (noun, verb) = if *threads == 1 { ("thread", "has") } else { ("threads", "have") };
        write!(
            f,
            "{threads} {noun} {verb} been in the application for more than {} s; the oldest request, for {} s: {}",
            limit.as_secs_f64(),
            oldest.as_secs(),
            Octets(request)
        )
    }
}

/// See the module. A lock that is held for a few instructions, by threads that have the GVL.
#[derive(Default)]
pub(crate) struct Calls {
    limit: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// Buffers of calls that are over.
    spare: Vec<Vec<u8>>,
    serial: u64,
    /// How many of those that hang were told of, and when.
    told: Option<(usize, Instant)>,
}

struct Call {
    serial: u64,
    began: Instant,
    request: Vec<u8>,
}

/// A request in the application's hands, until this is dropped.
pub struct InHand<'a> {
    calls: &'a Calls,
    serial: u64,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let mut state = self.calls.lock();
        if let Some(at) = state.calls.iter().position(|call| call.serial == self.serial) {
            let call = state.calls.swap_remove(at);
            state.spare.push(call.request);
        }
    }
}

impl Calls {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The application gets a request; `None` where nobody wants to know.
    pub(crate) fn begin(&self, method: &[u8], path: &[u8], now: Instant) -> Option<InHand<'_>> {
        self.limit?;
        let mut state = self.lock();
        state.serial += 1;
        let serial = state.serial;
        let mut request = state.spare.pop().unwrap_or_default();
        request.clear();
        for part in [method, b" ", path] {
            request.extend_from_slice(part);
        }
        state.calls.push(Call { serial, began: now, request });
        Some(InHand { calls: self, serial })
    }

    /// What is to be told at `now`: that requests hang, once; and again when there are more of them and another limit
    /// has passed.
    pub(crate) fn stall(&self, now: Instant) -> Option<Stall> {
        let limit = self.limit?;
        let mut state = self.lock();
        let age = |call: &Call| now.saturating_duration_since(call.began);
        let threads = state.calls.iter().filter(|call| age(call) > limit).count();
        let news = match state.told {
            None => threads > 0,
            Some((told, at)) => threads > told && now.saturating_duration_since(at) >= limit,
        };
        if threads == 0 {
            state.told = None;
        }
        if !news {
            return None;
        }
        state.told = Some((threads, now));
        let oldest = state.calls.iter().min_by_key(|call| call.began)?;
        Some(Stall { threads, limit, oldest: age(oldest), request: oldest.request.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_told_once_and_again_when_it_is_more() {
        let second = Duration::from_secs(1);
        let (start, limit) = (Instant::now(), 60 * second);
        let calls = Calls::new(Some(limit));
        let said = |seconds| calls.stall(start + seconds * second).map(|stall| stall.to_string());
        let first = calls.begin(b"GET", b"/slow", start);
        assert_eq!(said(60), None);
        let line = "1 thread has been in the application for more than 60 s; the oldest request, for 61 s: GET /slow";
        assert_eq!(said(61), Some(line.into()));
        assert_eq!(said(62), None, "once");
        let second_one = calls.begin(b"PUT", b"/\xff", start + 10 * second);
        assert_eq!(said(75), None, "not so soon again");
        let line = "2 threads have been in the application for more than 60 s; the oldest request, for 121 s: GET /slow";
        assert_eq!(said(121), Some(line.into()));
        drop(first);
        assert_eq!(said(181), None, "fewer");
        drop(second_one);
        assert_eq!(said(182), None);
        let _third = calls.begin(b"PUT", b"/\xff", start + 182 * second);
        assert!(said(243).is_some_and(|line| line.ends_with(r": PUT /\xFF")), "anew");
    }

    #[test]
    fn nothing_is_kept_where_nobody_wants_to_know() {
        assert!(Calls::new(None).begin(b"GET", b"/", Instant::now()).is_none());
    }
}
