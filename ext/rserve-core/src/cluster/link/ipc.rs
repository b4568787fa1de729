//! What workers tell their master, and the master tells worker 0.
//!
//! All workers share one pipe to the master. A message is one line, written by
//! one `write(2)` of at most [`LONGEST_LINE`] octets, which POSIX keeps whole
//! among other writers (`PIPE_BUF` is at least 512). The letters are Puma's:
//!
//! | line | meaning |
//! |---|---|
//! | `!` | wake up |
//! | `b<pid>:<index>` | booted |
//! | `f<pid>:<index>` | worker 0 forked this worker |
//! | `e<pid>` | got a TERM, perhaps from outside |
//! | `t<pid>` | terminating |
//! | `m<pid>` | has answered its last request, and forks from now on |
//! | `p<pid>:<numbers>` | ping with statistics: decimal numbers, separated by commas, in the order of [`ServerStats::values`] |
//! | `i<pid>:<0 or 1>` | busy again, or idle for `idle_timeout` |
//! | `r<pid>:<reason>` | wants to be replaced, by the name of a [`RetireReason`] |
//!
//! Under `fork_worker` a second pipe leads from the master to worker 0:
//! `pause`, `fork <index> <place>`, `resume`, `resume after_refork`. Under `refork_after` each worker has one of its own:
//! `promote`, and then the same.

use std::str::FromStr;

use crate::cluster::{Index, Pid, PlaceId, RetireReason};
use crate::server::ServerStats;

/// The most octets of a line, its end included.
pub const LONGEST_LINE: usize = 512;

/// A line that is no message. Nobody but rserve writes to these pipes, so it is
/// a defect of ours, or an application that closed and reused our descriptor.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed message: {0:?}")]
pub struct MalformedMessage(pub String);

/// What a worker tells its master.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "each variant says what happened to which worker")]
pub enum WorkerMessage {
    /// Something happened that the master cannot see, such as the exit of a grandchild: look now.
    WakeUp,
    /// The app is loaded and the worker serves.
    Booted { pid: Pid, index: Index },
    /// Worker 0 forked `pid` for `index`.
    Forked { pid: Pid, index: Index },
    /// The worker got a TERM; the master may have sent it, or not.
    GotTerm { pid: Pid },
    /// The worker is about to exit.
    Terminating { pid: Pid },
    /// The worker was told to be the mold ([`ForkCommand::Promote`]), and is.
    Molded { pid: Pid },
    /// The worker lives.
    Ping { pid: Pid, stats: ServerStats },
    /// No connection for `idle_timeout` (`idle`), or one came again.
    Idle { pid: Pid, idle: bool },
    /// The worker wants to be replaced, and serves until another one has booted. Any thread of it may say so.
    Retire { pid: Pid, reason: RetireReason },
}

impl WorkerMessage {
    /// The line to write, its end included.
    pub fn encode(&self) -> String {
        match self {
            Self::WakeUp => "!\n".to_owned(),
            Self::Booted { pid, index } => format!("b{pid}:{index}\n"),
            Self::Forked { pid, index } => format!("f{pid}:{index}\n"),
            Self::GotTerm { pid } => format!("e{pid}\n"),
            Self::Terminating { pid } => format!("t{pid}\n"),
            Self::Molded { pid } => format!("m{pid}\n"),
            Self::Ping { pid, stats } => {
                let numbers = stats.values().map(|number| number.to_string()).join(",");
                format!("p{pid}:{numbers}\n")
            }
            Self::Idle { pid, idle } => format!("i{pid}:{}\n", u8::from(*idle)),
            Self::Retire { pid, reason } => format!("r{pid}:{}\n", reason.name()),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        if line == "!" {
            return Some(Self::WakeUp);
        }
        let rest = line.get(1..)?;
        let (pid, argument) = rest.split_once(':').map_or((rest, None), |(pid, rest)| (pid, Some(rest)));
        let pid = Pid::new(number(pid)?)?;
        match (line.as_bytes()[0], argument) {
            (b'b', Some(index)) => Some(Self::Booted { pid, index: Index(number(index)?) }),
            (b'f', Some(index)) => Some(Self::Forked { pid, index: Index(number(index)?) }),
            (b'e', None) => Some(Self::GotTerm { pid }),
            (b't', None) => Some(Self::Terminating { pid }),
            (b'm', None) => Some(Self::Molded { pid }),
            (b'p', Some(numbers)) => Some(Self::Ping { pid, stats: stats(numbers)? }),
            (b'i', Some("0")) => Some(Self::Idle { pid, idle: false }),
            (b'i', Some("1")) => Some(Self::Idle { pid, idle: true }),
            (b'r', Some(reason)) => Some(Self::Retire { pid, reason: RetireReason::from_name(reason)? }),
            _ => None,
        }
    }
}

/// What the master tells worker 0 under `fork_worker`, or the mold under `refork_after`, to be done in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ForkCommand {
    /// Finish the requests, serve no more, and send [`WorkerMessage::Molded`].
    Promote,
    /// Run `before_refork`; worker 0 finishes its requests and stops serving before.
    Pause,
    /// Fork the worker of this index, which shows its figures there, and send [`WorkerMessage::Forked`].
    Fork(Index, PlaceId),
    /// Worker 0 serves; a mold does not.
    Resume {
        /// Run the `after_refork` hooks first.
        after_refork: bool,
    },
}

impl ForkCommand {
    /// The line to write, its end included.
    pub fn encode(&self) -> String {
        match self {
            Self::Promote => "promote\n".to_owned(),
            Self::Pause => "pause\n".to_owned(),
            Self::Fork(index, place) => format!("fork {index} {place}\n"),
            Self::Resume { after_refork: false } => "resume\n".to_owned(),
            Self::Resume { after_refork: true } => "resume after_refork\n".to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        match line {
            "promote" => Some(Self::Promote),
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume { after_refork: false }),
            "resume after_refork" => Some(Self::Resume { after_refork: true }),
            _ => {
                let (index, place) = line.strip_prefix("fork ")?.split_once(' ')?;
                Some(Self::Fork(Index(number(index)?), PlaceId(number(place)?)))
            }
        }
    }
}

/// Cuts the octets of a pipe into messages, however `read(2)` divides them.
#[derive(Debug, Default)]
pub struct Lines {
    unread: Vec<u8>,
}

impl Lines {
    /// Appends what was read.
    pub fn push(&mut self, octets: &[u8]) {
        self.unread.extend_from_slice(octets);
    }

    /// The next whole message of a worker; `None` until more octets come.
    ///
    /// # Errors
    ///
    /// [`MalformedMessage`] for a line that is none; it is dropped, go on with the next.
    pub fn next_worker_message(&mut self) -> Option<Result<WorkerMessage, MalformedMessage>> {
        self.next(WorkerMessage::parse)
    }

    /// The next whole command to worker 0; `None` until more octets come.
    ///
    /// # Errors
    ///
    /// [`MalformedMessage`] for a line that is none; it is dropped, go on with the next.
    pub fn next_fork_command(&mut self) -> Option<Result<ForkCommand, MalformedMessage>> {
        self.next(ForkCommand::parse)
    }

    fn next<T>(&mut self, parse: fn(&str) -> Option<T>) -> Option<Result<T, MalformedMessage>> {
        let length = match self.unread.iter().position(|octet| *octet == b'\n') {
            Some(length) => length,
            // No writer of ours makes a line this long: do not collect it for ever.
            None if self.unread.len() >= LONGEST_LINE => self.unread.len() - 1,
            None => return None,
        };
        let line: Vec<u8> = self.unread.drain(..=length).collect();
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        Some(parse(line).ok_or_else(|| MalformedMessage(line.to_owned())))
    }
}

/// `1*DIGIT`: unlike Rust's, no sign.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    if digits.bytes().all(|octet| octet.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn stats(numbers: &str) -> Option<ServerStats> {
    let values: Option<Vec<u64>> = numbers.split(',').map(number).collect();
    values?.try_into().ok().map(ServerStats::from_values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(raw: i32) -> Pid {
        Pid::new(raw).unwrap()
    }

    fn all_messages() -> Vec<(WorkerMessage, String)> {
        let values: [u64; ServerStats::COUNT] = std::array::from_fn(|place| place as u64);
        let stats = ServerStats::from_values(values);
        let ping = format!("p12:{}\n", values.map(|value| value.to_string()).join(","));
        [
            (WorkerMessage::WakeUp, "!\n"),
            (WorkerMessage::Booted { pid: pid(12), index: Index(3) }, "b12:3\n"),
            (WorkerMessage::Forked { pid: pid(12), index: Index(3) }, "f12:3\n"),
            (WorkerMessage::GotTerm { pid: pid(12) }, "e12\n"),
            (WorkerMessage::Terminating { pid: pid(12) }, "t12\n"),
            (WorkerMessage::Molded { pid: pid(12) }, "m12\n"),
            (WorkerMessage::Ping { pid: pid(12), stats }, ping.as_str()),
            (WorkerMessage::Idle { pid: pid(12), idle: true }, "i12:1\n"),
            (WorkerMessage::Idle { pid: pid(12), idle: false }, "i12:0\n"),
            (WorkerMessage::Retire { pid: pid(12), reason: RetireReason::HungRequest }, "r12:hung_request\n"),
        ]
        .map(|(message, line)| (message, line.to_owned()))
        .to_vec()
    }

    #[test]
    fn every_message_is_its_line() {
        for (message, line) in all_messages() {
            assert_eq!(message.encode(), line);
        }
    }

    #[test]
    fn messages_arrive_whole_however_the_pipe_divides_them() {
        let (messages, lines): (Vec<_>, Vec<_>) = all_messages().into_iter().unzip();
        let octets = lines.concat().into_bytes();
        for split in 0..=octets.len() {
            let mut reader = Lines::default();
            let mut got = Vec::new();
            for part in [&octets[..split], &octets[split..]] {
                reader.push(part);
                got.extend(std::iter::from_fn(|| reader.next_worker_message()));
            }
            assert_eq!(got, messages.iter().copied().map(Ok).collect::<Vec<_>>(), "split at {split}");
        }
    }

    #[test]
    fn longest_ping_fits_into_an_atomic_write() {
        let stats = ServerStats::from_values([u64::MAX; ServerStats::COUNT]);
        let line = WorkerMessage::Ping { pid: pid(i32::MAX), stats }.encode();
        assert!(line.len() <= LONGEST_LINE, "{} octets", line.len());
    }

    #[test]
    fn what_is_no_message_is_dropped_and_the_next_is_read() {
        for line in [
            "",
            "?",
            "b",
            "b0:1",
            "b-1:1",
            "b+1:1",
            "b12",
            "b12:",
            "b12:x",
            "e12:1",
            "i12:2",
            "r12:boredom",
            "p12:1,2",
            &format!("p12:{}", vec!["1"; ServerStats::COUNT + 1].join(",")),
            "é12",
        ] {
            let mut reader = Lines::default();
            reader.push(format!("{line}\nt7\n").as_bytes());
            assert_eq!(
                reader.next_worker_message(),
                Some(Err(MalformedMessage(line.to_owned()))),
                "{line:?}"
            );
            assert_eq!(reader.next_worker_message(), Some(Ok(WorkerMessage::Terminating { pid: pid(7) })));
        }
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut reader = Lines::default();
        reader.push(&[b'x'; 3 * LONGEST_LINE]);
        while reader.next_worker_message().is_some() {}
        assert!(reader.unread.len() < LONGEST_LINE);
    }

    #[test]
    fn fork_commands_survive_the_pipe() {
        for (command, line) in [
            (ForkCommand::Promote, "promote\n"),
            (ForkCommand::Pause, "pause\n"),
            (ForkCommand::Fork(Index(11), PlaceId(12)), "fork 11 12\n"),
            (ForkCommand::Resume { after_refork: false }, "resume\n"),
            (ForkCommand::Resume { after_refork: true }, "resume after_refork\n"),
        ] {
            assert_eq!(command.encode(), line);
            let mut reader = Lines::default();
            reader.push(line.as_bytes());
            assert_eq!(reader.next_fork_command(), Some(Ok(command)));
            assert_eq!(reader.next_fork_command(), None);
        }
    }
}
