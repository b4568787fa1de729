//! Asks a generation whether it is ready, by a connection of which nobody else knows.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::{Channel, Number};
use crate::sys::stream_pair;

/// A status line is shorter.
const LONGEST: usize = 512;

/// One question.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) number: Number,
    pub(super) deadline: Instant,
    stream: UnixStream,
    answer: Vec<u8>,
}

impl Probe {
    /// Passes a connection to the generation's workers through `door`, and asks for `path` on it.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or the generation takes no connections.
    pub(super) fn send(number: Number, door: &Channel, path: &str, deadline: Instant) -> io::Result<Self> {
        let (own, other) = stream_pair()?;
        let mut stream = UnixStream::from(own);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: rserve\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        door.send_file(b"?", other.as_fd())?;
        Ok(Self { number, deadline, stream, answer: Vec::new() })
    }

    /// Looks whether the answer has come. `None` while it has not.
    pub(super) fn look(&mut self, now: Instant) -> Option<Result<(), String>> {
        let mut octets = [0; LONGEST];
        loop {
            match self.stream.read(&mut octets) {
                Ok(0) => return Some(Err("the connection was closed".into())),
                Ok(count) => {
                    self.answer.extend_from_slice(&octets[..count]);
                    if let Some(verdict) = verdict(&self.answer) {
                        return Some(verdict);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(Err(error.to_string())),
            }
        }
        (now >= self.deadline).then(|| Err("no answer".into()))
    }
}

impl AsFd for Probe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What a response says whose beginning is `answer`; early hints and the like are passed over.
fn verdict(answer: &[u8]) -> Option<Result<(), String>> {
    let mut rest = answer;
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let Some(end) = end else {
            return (rest.len() >= LONGEST).then(|| Err("no HTTP".into()));
        };
        let line = String::from_utf8_lossy(&rest[..end]);
        let status =
            line.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)).and_then(|it| it.parse().ok());
        match status {
            Some(100..=199) => {
                let next = rest.windows(4).position(|four| four == b"\r\n\r\n")?;
                rest = &rest[next + 4..];
            }
            Some(200..=399_u16) => return Some(Ok(())),
            Some(status) => return Some(Err(format!("status {status}"))),
            None => return Some(Err("no HTTP".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_below_400_counts() {
        let no = |why: &str| Some(Err(why.to_owned()));
        let long = "x".repeat(LONGEST);
        for (answer, want) in [
            ("", None),
            ("HTTP/1.1 200", None),
            ("HTTP/1.1 200 OK\r\n", Some(Ok(()))),
            ("HTTP/1.0 204\r\n", Some(Ok(()))),
            ("HTTP/1.1 301 Moved\r\n", Some(Ok(()))),
            ("HTTP/1.1 400 Bad\r\n", no("status 400")),
            ("HTTP/1.1 503 X\r\nA: b\r\n", no("status 503")),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n", None),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", None),
            ("HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 500 No\r\n", no("status 500")),
            ("hello\r\n", no("no HTTP")),
            (&long, no("no HTTP")),
        ] {
            assert_eq!(verdict(answer.as_bytes()), want, "{answer:?}");
        }
    }

    #[test]
    fn it_waits_for_an_answer_and_not_for_ever() {
        let (door, inside) = Channel::pair().unwrap();
        let inside = Channel::of(inside);
        let now = Instant::now();
        let mut probe = Probe::send(Number(2), &door, "/up", now).unwrap();
        let packet = inside.receive().unwrap().unwrap();
        let mut server = UnixStream::from(packet.files.into_iter().next().unwrap());
        let mut octets = [0; 64];
        let count = server.read(&mut octets).unwrap();
        assert!(octets[..count].starts_with(b"GET /up HTTP/1.1\r\nHost: localhost\r\n"));
        assert_eq!(probe.look(now), Some(Err("no answer".into())));
        server.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        assert_eq!(probe.look(now), Some(Ok(())));
        drop(server);
        assert!(matches!(probe.look(now), Some(Err(_))));
    }
}
