//! One client of the operator's port: what it has sent, what it is being sent, and how long it may take for either.

use std::time::{Duration, Instant};

use rserve_http1::{Framing, Head, Limits, Progress, Receiver};

use super::answer::{Answer, Request};
use super::port::Desk;
use crate::net::stream::{Received, Stream};

/// How long a head may take, from its first octet; the first one from the beginning of the connection.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to read a response.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// How long a connection may rest between two requests: longer than monitoring pauses.
const IDLE_TIME: Duration = Duration::from_secs(75);

/// How long a client that is sent nothing more may take to notice: a reset for what it still sends would cost it the
/// response.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Octets of a head. What probes and monitoring send has a few hundred.
const HEAD: usize = 8 * 1024;

/// Octets that are read at a time.
const READ: usize = 4096;

/// Reads, writes and answers in a row: then it is others' turn.
const STEPS: usize = 32;

/// See the module.
pub(super) struct Client {
    stream: Stream,
    stage: Stage,
    since: Instant,
    receiver: Receiver,
    head: Head,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
}

/// What a client is in the middle of, in the order in which room is made at its cost.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    /// It was sent all that there is for it.
    Lingering,
    /// Between two requests.
    Idle,
    Receiving,
    Sending {
        keeps: bool,
    },
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// Nothing before its socket has an edge, or its time is up.
    Waits,
    /// More, when others had their turn.
    Again,
    /// Nothing.
    Over,
}

impl Client {
    pub(super) fn new(stream: Stream, now: Instant) -> Self {
        let limits = Limits { head: HEAD, field_value: HEAD, ..Limits::default() };
        Self {
            stream,
            stage: Stage::Receiving,
            since: now,
            receiver: Receiver::new(limits),
            head: Head::default(),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
        }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// When it is given up if nothing happens.
    pub(super) fn deadline(&self) -> Instant {
        self.since
            + match self.stage {
                Stage::Lingering => LINGER_TIME,
                Stage::Idle => IDLE_TIME,
                Stage::Receiving => HEAD_TIME,
                Stage::Sending { .. } => WRITE_TIME,
            }
    }

    /// How much it has to lose, to be compared with others': the least is closed when there are too many.
    pub(super) fn worth(&self) -> impl Ord + use<> {
        (self.stage, self.since)
    }

    /// It neither sends a request nor is sent a response.
    pub(super) fn is_at_rest(&self) -> bool {
        self.stage <= Stage::Idle
    }

    /// Goes on as far as its socket lets it. After a `last` response the connection is closed.
    pub(super) fn advance(&mut self, desk: &mut dyn Desk, now: Instant, last: bool) -> Turn {
        for _ in 0..STEPS {
            let turn = match self.stage {
                Stage::Receiving | Stage::Idle => self.receive(desk, now, last),
                Stage::Sending { keeps } => self.send(keeps, now),
                Stage::Lingering => self.discard(),
            };
            if let Some(turn) = turn {
                return turn;
            }
        }
        Turn::Again
    }

    fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.since = now;
    }

    /// `None` to go on.
    fn receive(&mut self, desk: &mut dyn Desk, now: Instant, last: bool) -> Option<Turn> {
        match self.receiver.advance(&self.input, &mut self.head) {
            Ok(Progress::Partial { consumed }) => {
                self.input.drain(..consumed);
                self.read(now)
            }
            Ok(Progress::End { consumed } | Progress::Data { consumed, .. }) => {
                self.input.drain(..consumed);
                None
            }
            Ok(Progress::Head { consumed }) => {
                let request = Request::of(&self.head, &self.input);
                let answer = desk.answer(&request, now);
                // Nothing that is asked for here has content: where it ends is not waited for.
                let keeps = !last && self.head.keep_alive && self.head.framing == Framing::None;
                self.respond(&answer, keeps, now);
                self.input.drain(..consumed);
                None
            }
            Err(error) => {
                self.respond(&Answer::of_status(error.status()), false, now);
                None
            }
        }
    }

    fn respond(&mut self, answer: &Answer, keeps: bool, now: Instant) {
        let head_request = self.head.method.of(&self.input) == b"HEAD";
        answer.write(&mut self.output, self.head.version, head_request, keeps);
        self.sent = 0;
        self.enter(Stage::Sending { keeps }, now);
    }

    fn read(&mut self, now: Instant) -> Option<Turn> {
        let length = self.input.len();
        self.input.resize(length + READ, 0);
        let received = self.stream.receive(&mut self.input[length..]);
        let count = if let Ok(Received::Octets(count)) = received { count } else { 0 };
        self.input.truncate(length + count);
        match received {
            Ok(Received::Octets(_)) => {
                if self.stage == Stage::Idle {
                    self.enter(Stage::Receiving, now);
                }
                None
            }
            Ok(Received::WouldBlock) => Some(Turn::Waits),
            Ok(Received::Eof) | Err(_) => Some(Turn::Over),
        }
    }

    fn send(&mut self, keeps: bool, now: Instant) -> Option<Turn> {
        match self.stream.send(&self.output[self.sent..]) {
            Ok(Some(count)) => self.sent += count,
            Ok(None) => return Some(Turn::Waits),
            Err(_) => return Some(Turn::Over),
        }
        if self.sent == self.output.len() {
            self.output = Vec::new();
            if keeps {
                self.enter(if self.input.is_empty() { Stage::Idle } else { Stage::Receiving }, now);
            } else {
                self.stream.finish_sending();
                self.enter(Stage::Lingering, now);
            }
        }
        None
    }

    fn discard(&mut self) -> Option<Turn> {
        match self.stream.receive(&mut [0; READ]) {
            Ok(Received::Octets(_)) => None,
            Ok(Received::WouldBlock) => Some(Turn::Waits),
            Ok(Received::Eof) | Err(_) => Some(Turn::Over),
        }
    }
}
