//! One client of the operator's port: what it has sent, what it is being sent, and how long it may take for either.

use std::time::{Duration, Instant};

use rserve_http1::{Framing, Head, Limits, Progress, Receiver};

use super::answer::{Answer, Inquiry, Reply, Request};
use super::port::Desk;
use crate::net::stream::{Received, Stream};

/// How long a head may take, from its first octet; the first one from the beginning of the connection.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to read a response.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// How long a client is let wait for an answer that has to be found.
const INQUIRY_TIME: Duration = Duration::from_secs(5);

/// How often an answer that has to be found is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

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
    /// What finds the answer, and when it is asked next.
    inquiry: Option<(Box<dyn Inquiry>, Instant)>,
}

/// What a client is in the middle of, in the order in which room is made at its cost.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    /// It was sent all that there is for it.
    Lingering,
    /// Between two requests.
    Idle,
    Receiving,
    /// Its answer has to be found. Its request is the first `head` octets of what was read.
    Waiting {
        keeps: bool,
        head: usize,
    },
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
            inquiry: None,
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
                Stage::Waiting { .. } => INQUIRY_TIME,
                Stage::Sending { .. } => WRITE_TIME,
            }
    }

    /// When it is to be advanced whether its socket has an edge or not.
    pub(super) fn looks_at(&self) -> Option<Instant> {
        self.inquiry.as_ref().map(|(_, at)| *at)
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
                Stage::Waiting { keeps, head } => self.wait(keeps, head, now),
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
                let reply = desk.answer(&request, now);
                // Nothing that is asked for here has content: where it ends is not waited for.
                let keeps = !last && self.head.keep_alive && self.head.framing == Framing::None;
                match reply {
                    Reply::Now(answer) => {
                        self.respond(&answer, keeps, now);
                        self.input.drain(..consumed);
                    }
                    Reply::Later(inquiry) => {
                        self.inquiry = Some((inquiry, now));
                        self.enter(Stage::Waiting { keeps, head: consumed }, now);
                    }
                }
                None
            }
            Err(error) => {
                self.respond(&Answer::of_status(error.status()), false, now);
                None
            }
        }
    }

    fn wait(&mut self, keeps: bool, head: usize, now: Instant) -> Option<Turn> {
        let (inquiry, at) = self.inquiry.as_mut()?;
        let Some(answer) = inquiry.look(now) else {
            *at = now + LOOK_EVERY;
            return Some(Turn::Waits);
        };
        self.inquiry = None;
        self.respond(&answer, keeps, now);
        self.input.drain(..head);
        None
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
