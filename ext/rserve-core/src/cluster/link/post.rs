//! How a worker gives its master the end of a pipe by which it can be told something (`refork_after`): the master has not
//! forked every worker, so it cannot have made all of their pipes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::pipes::CommandWriter;
use crate::cluster::Pid;
use crate::sys::{Packets, packet_pair};

/// Octets of a packet: a pid.
const LONGEST: usize = 16;

/// Makes both ends, before the first fork.
///
/// # Errors
///
/// No descriptor is left.
pub fn post() -> io::Result<(PostReader, PostWriter)> {
    let (reader, writer) = packet_pair()?;
    Ok((PostReader(Packets::new(reader)), PostWriter(Packets::new(writer))))
}

/// The master's end.
#[derive(Debug)]
pub struct PostReader(Packets);

/// The workers' end; inherited by all of them.
#[derive(Debug)]
pub struct PostWriter(Packets);

impl PostReader {
    /// Whatever has come, and by whom each is read; never waits.
    pub fn receive(&self) -> Vec<(Pid, CommandWriter)> {
        let mut all = Vec::new();
        let mut packet = [0; LONGEST];
        while let Ok((count, files)) = self.0.receive(&mut packet) {
            if count == 0 {
                break;
            }
            let pid = std::str::from_utf8(&packet[..count]).ok().and_then(|text| text.parse().ok());
            let file = files.into_iter().next();
            all.extend(pid.and_then(Pid::new).zip(file.map(CommandWriter::from)));
        }
        all
    }
}

impl AsFd for PostReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PostWriter {
    /// Gives `writer` to the master: process `pid` reads there. Never waits.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the master has not read for very long, `EPIPE` when it is gone.
    pub fn hand_over(&self, pid: Pid, writer: &CommandWriter) -> io::Result<()> {
        self.0.send(pid.to_string().as_bytes(), Some(writer.as_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::link::ipc::ForkCommand;
    use crate::cluster::link::pipes::fork_pipe;

    #[test]
    fn master_tells_workers_by_what_they_have_given_it() {
        let (reader, writer) = post().unwrap();
        assert!(reader.receive().is_empty());
        let mut workers = Vec::new();
        for raw in [7, i32::MAX] {
            let (commands, end) = fork_pipe().unwrap();
            writer.hand_over(Pid::new(raw).unwrap(), &end).unwrap();
            workers.push(commands);
        }
        assert!(crate::sys::is_readable(reader.as_fd()));
        let ends = reader.receive();
        assert_eq!(ends.iter().map(|(pid, _)| pid.as_raw()).collect::<Vec<_>>(), [7, i32::MAX]);
        ends[1].1.send(ForkCommand::Promote).unwrap();
        assert_eq!(workers[1].next_command().unwrap(), Some(ForkCommand::Promote));
        assert_eq!(workers[0].next_command().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(ends);
        assert_eq!(workers[0].next_command().unwrap(), None);
    }
}
