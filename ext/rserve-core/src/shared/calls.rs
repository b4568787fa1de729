//! Requests that the application has in hand: since when, and what becomes of those that it has for too long.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::options::{Options, RequestTimeout};
use crate::connection::Connection;
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

/// One request that the application has had for too long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Late {
    /// By which its [`Calls::begin`] is known.
    pub serial: u64,
    /// Since when.
    pub age: Duration,
    /// A fiber has it.
    pub in_fiber: bool,
    /// Method and path.
    request: Vec<u8>,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Octets(&self.request).fmt(f)
    }
}

/// One count for all servers of the process: whoever has only the serial need not know the server. Never 0.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// See the module. A lock that is held for a few instructions.
#[derive(Default)]
pub(crate) struct Calls {
    stuck_after: Option<Duration>,
    timeout: RequestTimeout,
    state: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    calls: Vec<AppCall>,
    /// Buffers of calls that are over.
    spare: Vec<Vec<u8>>,
    /// How many of those that hang were told of, and when.
    told: Option<(usize, Instant)>,
}

struct AppCall {
    serial: u64,
    began: Instant,
    request: Vec<u8>,
    /// Only with a hard time-out.
    connection: Option<Arc<Connection>>,
    /// By how much both time-outs are longer than others'.
    extension: Duration,
    /// The soft time-out was told.
    told: bool,
    /// The hard time-out has passed.
    given_up: bool,
    /// A fiber has it: it may take as long as it likes, but for the time-outs.
    in_fiber: bool,
}

impl AppCall {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn late(&self, now: Instant) -> Late {
        let (serial, in_fiber) = (self.serial, self.in_fiber);
        Late { serial, age: self.age(now), in_fiber, request: self.request.clone() }
    }

    fn is_past(&self, limit: Option<Duration>, now: Instant) -> bool {
        limit.is_some_and(|limit| self.age(now) > limit + self.extension)
    }
}

impl Calls {
    pub(super) fn new(options: &Options) -> Self {
        Self { stuck_after: options.stuck_after, timeout: options.request_timeout, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The application gets a request; gives its serial, or `None` where nobody wants to know.
    pub(crate) fn begin(
        &self,
        method: &[u8],
        path: &[u8],
        connection: &Arc<Connection>,
        in_fiber: bool,
        now: Instant,
    ) -> Option<u64> {
        if self.stuck_after.is_none() && !self.timeout.is_set() {
            return None;
        }
        let connection = self.timeout.hard.map(|_| Arc::clone(connection));
        Some(self.lock().begin(method, path, connection, in_fiber, now))
    }

    /// The application has given a request back: `true` when that is too late.
    pub(crate) fn end(&self, serial: u64) -> bool {
        let mut state = self.lock();
        let Some(at) = state.calls.iter().position(|call| call.serial == serial) else { return false };
        let call = state.calls.swap_remove(at);
        state.spare.push(call.request);
        call.given_up
    }

    /// The time-outs of a request are longer by this.
    pub(crate) fn extend(&self, serial: u64, by: Duration) {
        let mut state = self.lock();
        if let Some(call) = state.calls.iter_mut().find(|call| call.serial == serial) {
            call.extension = call.extension.saturating_add(by);
        }
    }

    /// What is to be told at `now`: that requests hang, once; and again when there are more of them and another limit
    /// has passed.
    pub(crate) fn stall(&self, now: Instant) -> Option<Stall> {
        let limit = self.stuck_after?;
        self.lock().stall(limit, now)
    }

    /// Requests that are past the soft time-out, each once.
    pub(crate) fn take_late(&self, now: Instant) -> Vec<Late> {
        if self.timeout.soft.is_none() {
            return Vec::new();
        }
        let (mut state, soft) = (self.lock(), self.timeout.soft);
        let late = state.calls.iter_mut().filter(|call| !call.told && call.is_past(soft, now));
        late.map(|call| {
            call.told = true;
            call.late(now)
        })
        .collect()
    }

    /// Whether [`Calls::take_late`] has any.
    pub(crate) fn has_late(&self, now: Instant) -> bool {
        let soft = self.timeout.soft;
        soft.is_some() && self.lock().calls.iter().any(|call| !call.told && call.is_past(soft, now))
    }

    /// Requests that are past the hard time-out, and whose they are.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<(Late, Arc<Connection>)> {
        let hard = self.timeout.hard;
        if hard.is_none() {
            return Vec::new();
        }
        let state = self.lock();
        let overdue = state.calls.iter().filter(|call| !call.given_up && call.is_past(hard, now));
        overdue.filter_map(|call| Some((call.late(now), Arc::clone(call.connection.as_ref()?)))).collect()
    }

    /// Nobody waits for what the application gives back: `false` when it just has.
    pub(crate) fn give_up(&self, serial: u64) -> bool {
        let mut state = self.lock();
        let call = state.calls.iter_mut().find(|call| call.serial == serial);
        call.map(|call| call.given_up = true).is_some()
    }

    /// Those that were given up, and that the application still has.
    pub(crate) fn given_up(&self) -> Vec<u64> {
        self.lock().calls.iter().filter(|call| call.given_up).map(|call| call.serial).collect()
    }

    /// A request has no hard time-out: the application has taken its connection.
    pub(crate) fn excuse(&self, serial: u64) {
        let mut state = self.lock();
        if let Some(call) = state.calls.iter_mut().find(|call| call.serial == serial) {
            call.connection = None;
        }
    }

    /// How long [`Calls::overdue`] need not be asked; `None` without a hard time-out.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        let hard = self.timeout.hard?;
        let state = self.lock();
        let waiting = state.calls.iter().filter(|call| !call.given_up && call.connection.is_some());
        let due = waiting.map(|call| (hard + call.extension).saturating_sub(call.age(now))).min();
        // One that begins meanwhile is due no sooner.
        Some(due.unwrap_or(hard).min(hard))
    }
}

impl Ledger {
    fn begin(
        &mut self,
        method: &[u8],
        path: &[u8],
        connection: Option<Arc<Connection>>,
        in_fiber: bool,
        now: Instant,
    ) -> u64 {
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut request = self.spare.pop().unwrap_or_default();
        request.clear();
        for part in [method, b" ", path] {
            request.extend_from_slice(part);
        }
        self.calls.push(AppCall {
            serial,
            began: now,
            request,
            connection,
            extension: Duration::ZERO,
            told: false,
            given_up: false,
            in_fiber,
        });
        serial
    }

    fn stall(&mut self, limit: Duration, now: Instant) -> Option<Stall> {
        let on_threads = || self.calls.iter().filter(|call| !call.in_fiber);
        let threads = on_threads().filter(|call| call.age(now) > limit).count();
        let news = match self.told {
            None => threads > 0,
            Some((told, at)) => threads > told && now.saturating_duration_since(at) >= limit,
        };
        if threads == 0 {
            self.told = None;
        }
        if !news {
            return None;
        }
        self.told = Some((threads, now));
        let oldest = on_threads().min_by_key(|call| call.began)?;
        Some(Stall { threads, limit, oldest: oldest.age(now), request: oldest.request.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn calls(stuck_after: Option<Duration>, soft: Option<Duration>, hard: Option<Duration>) -> Calls {
        let request_timeout = RequestTimeout { soft, hard };
        Calls::new(&Options { stuck_after, request_timeout, ..Options::default() })
    }

    fn begin(calls: &Calls, method: &[u8], path: &[u8], now: Instant) -> u64 {
        calls.lock().begin(method, path, None, false, now)
    }

    #[test]
    fn what_hangs_is_told_once_and_again_when_it_is_more() {
        let (start, limit) = (Instant::now(), 60 * SECOND);
        let calls = calls(Some(limit), None, None);
        let said = |seconds| calls.stall(start + seconds * SECOND).map(|stall| stall.to_string());
        let first = begin(&calls, b"GET", b"/slow", start);
        assert_eq!(said(60), None);
        let line = "1 thread has been in the application for more than 60 s; the oldest request, for 61 s: GET /slow";
        assert_eq!(said(61), Some(line.into()));
        assert_eq!(said(62), None, "once");
        let second = begin(&calls, b"PUT", b"/\xff", start + 10 * SECOND);
        assert_eq!(said(75), None, "not so soon again");
        let line = "2 threads have been in the application for more than 60 s; the oldest request, for 121 s: GET /slow";
        assert_eq!(said(121), Some(line.into()));
        calls.end(first);
        assert_eq!(said(181), None, "fewer");
        calls.end(second);
        assert_eq!(said(182), None);
        begin(&calls, b"PUT", b"/\xff", start + 182 * SECOND);
        assert!(said(243).is_some_and(|line| line.ends_with(r": PUT /\xFF")), "anew");
    }

    #[test]
    fn a_fiber_may_wait_for_long() {
        let (start, calls) = (Instant::now(), calls(Some(SECOND), None, None));
        calls.lock().begin(b"GET", b"/stream", None, true, start);
        assert_eq!(calls.stall(start + 60 * SECOND), None);
    }

    #[test]
    fn each_that_is_late_is_told_once_and_later_when_it_asked_for_time() {
        let start = Instant::now();
        let calls = calls(None, Some(30 * SECOND), None);
        let (first, second) = (begin(&calls, b"GET", b"/a", start), begin(&calls, b"GET", b"/b", start));
        calls.extend(second, 10 * SECOND);
        let told = |seconds| {
            let now = start + seconds * SECOND;
            let has = calls.has_late(now);
            let told: Vec<_> =
                calls.take_late(now).iter().map(|late| (late.serial, late.age, late.to_string())).collect();
            assert_eq!(has, !told.is_empty());
            told
        };
        assert_eq!(told(30), []);
        assert_eq!(told(31), [(first, 31 * SECOND, "GET /a".to_owned())]);
        assert_eq!(told(40), []);
        assert_eq!(told(41), [(second, 41 * SECOND, "GET /b".to_owned())]);
        assert_eq!(told(99), []);
    }

    #[test]
    fn who_gives_back_and_who_gives_up_agree_on_who_was_first() {
        let now = Instant::now();
        let calls = calls(None, None, Some(60 * SECOND));
        let (first, second) = (begin(&calls, b"GET", b"/", now), begin(&calls, b"GET", b"/", now));
        assert!(calls.give_up(first));
        assert!(calls.end(first), "too late");
        assert!(!calls.end(second));
        assert!(!calls.give_up(second), "too late");
    }

    #[test]
    fn the_monitor_rests_until_the_next_one_is_due() {
        let now = Instant::now();
        assert_eq!(calls(Some(SECOND), Some(SECOND), None).rest(now), None);
        let calls = calls(None, None, Some(60 * SECOND));
        assert_eq!(calls.rest(now), Some(60 * SECOND));
        assert!(calls.overdue(now + 61 * SECOND).is_empty());
    }
}
