//! What of a response the socket has not taken yet.
//!
//! The first [`MEMORY_LIMIT`] octets that wait are held in memory, what comes after them in an unlinked file, so that a
//! client that does not read costs a bounded amount of memory and no Ruby thread. What all of them cost together is
//! counted ([`crate::connection::unread`]).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::connection::unread::{Lag, Unread};
use crate::content::Stamp;
use crate::net::stream::Stream;

/// Octets of one response that may wait in memory.
pub const MEMORY_LIMIT: usize = 64 * 1024;

/// Octets of one response that may wait in memory and a file before the thread that makes more of them should wait, too: an
/// endless stream must not fill the disk.
pub const HELD_LIMIT: u64 = 16 << 20;

/// Octets that are still to be sent, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    parts: VecDeque<Part>,
    /// Sum of the memory parts.
    in_memory: usize,
    /// Since when something waits.
    lag: Option<Lag>,
    /// Where what is held is counted, and as how much it is.
    unread: Arc<Unread>,
    counted: u64,
}

#[derive(Debug)]
enum Part {
    Memory { octets: Vec<u8>, sent: usize },
    File { file: Arc<File>, offset: u64, remaining: u64, kind: Kind },
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Ours: what memory has no room for.
    Spill,
    /// Somebody's, whatever becomes of it.
    Any,
    /// Somebody's, and the response tells of it as it was then.
    Stamped(Stamp),
}

/// How far a [`Outgoing::flush`] came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flushed {
    /// Nothing is left.
    All,
    /// The socket is full; it will tell when it is not.
    Blocked,
    /// The budget is spent; the socket may take more.
    More,
    /// A file is not what it was any more: the response can't be completed.
    Changed,
}

impl Outgoing {
    pub(crate) fn new(unread: &Arc<Unread>) -> Self {
        Self { parts: VecDeque::new(), in_memory: 0, lag: None, unread: Arc::clone(unread), counted: 0 }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Octets waiting in memory.
    pub fn in_memory(&self) -> usize {
        self.in_memory
    }

    /// Octets waiting, in memory and files.
    pub fn left(&self) -> u64 {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Memory { octets, sent } => (octets.len() - sent) as u64,
                Part::File { remaining, .. } => *remaining,
            })
            .sum()
    }

    /// Octets of memory and of files that are taken up: a file is as long as all that was written to it until the last
    /// octet of it is sent.
    pub fn held(&self) -> u64 {
        let spilled = self.parts.iter().map(|part| match part {
            Part::File { offset, remaining, kind: Kind::Spill, .. } => offset + remaining,
            _ => 0,
        });
        self.in_memory as u64 + spilled.sum::<u64>()
    }

    /// Since when the client has been behind; `None` when nothing waits.
    pub(crate) fn lag(&self) -> Option<Lag> {
        self.lag
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        (self.in_memory, self.lag) = (0, None);
        self.count();
    }

    /// Something was queued or sent.
    fn count(&mut self) {
        let held = self.held();
        if held != self.counted {
            self.unread.change(self.counted, held);
            self.counted = held;
        }
        if self.parts.is_empty() {
            self.lag = None;
        } else if self.lag.is_none() {
            self.lag = Some(Lag::begin(Instant::now()));
        }
    }

    /// Queues a copy of what is left of `slices` after their first `sent` octets.
    ///
    /// # Errors
    ///
    /// The file for what exceeds the memory limit could not be made or written.
    pub fn push(&mut self, slices: &[IoSlice<'_>], mut sent: usize, folder: &Path) -> io::Result<()> {
        let mut pushed = Ok(());
        for slice in slices {
            let octets = &slice[sent.min(slice.len())..];
            sent = sent.saturating_sub(slice.len());
            if !octets.is_empty() && pushed.is_ok() {
                pushed = self.push_octets(octets, folder);
            }
        }
        self.count();
        pushed
    }

    fn push_octets(&mut self, octets: &[u8], folder: &Path) -> io::Result<()> {
        if let Some(Part::File { file, remaining, kind: Kind::Spill, .. }) = self.parts.back_mut() {
            (&**file).write_all(octets)?;
            *remaining += octets.len() as u64;
            return Ok(());
        }
        if self.in_memory + octets.len() <= MEMORY_LIMIT {
            self.in_memory += octets.len();
            match self.parts.back_mut() {
                Some(Part::Memory { octets: tail, sent }) => {
                    // A client that always leaves a little would make this grow for ever.
                    tail.drain(..std::mem::take(sent));
                    tail.extend_from_slice(octets);
                }
                _ => self.parts.push_back(Part::Memory { octets: octets.to_vec(), sent: 0 }),
            }
            return Ok(());
        }
        let mut file = crate::sys::unlinked_file(folder)?;
        file.write_all(octets)?;
        let (file, remaining) = (Arc::new(file), octets.len() as u64);
        self.parts.push_back(Part::File { file, offset: 0, remaining, kind: Kind::Spill });
        Ok(())
    }

    /// Queues `len` octets of `file` from `offset`. If it has a `stamp`, they are sent only as long as that is the file's.
    pub(crate) fn push_file(&mut self, file: Arc<File>, offset: u64, len: u64, stamp: Option<Stamp>) {
        if len > 0 {
            let kind = stamp.map_or(Kind::Any, Kind::Stamped);
            self.parts.push_back(Part::File { file, offset, remaining: len, kind });
            self.count();
        }
    }

    /// What is sent next has to be read from somebody's file, and perhaps from a disk.
    pub(crate) fn reads_file(&self) -> bool {
        matches!(self.parts.front(), Some(Part::File { kind: Kind::Any | Kind::Stamped(_), .. }))
    }

    /// Sends until nothing is left or the socket is full, at most `budget` octets.
    ///
    /// # Errors
    ///
    /// The socket's or a file's own: the connection is lost.
    pub fn flush(&mut self, stream: &mut Stream, budget: usize) -> io::Result<Flushed> {
        let mut left = budget;
        let flushed = self.send(stream, &mut left);
        if left < budget
            && let Some(lag) = &mut self.lag
        {
            lag.took((budget - left) as u64, Instant::now());
            self.count();
        }
        flushed
    }

    fn send(&mut self, stream: &mut Stream, budget: &mut usize) -> io::Result<Flushed> {
        loop {
            let more_follows = self.parts.len() > 1;
            let Some(part) = self.parts.front_mut() else { break };
            if *budget == 0 {
                return Ok(Flushed::More);
            }
            let taken = match part {
                Part::Memory { octets, sent } => {
                    let count = match more_follows {
                        true => stream.send_before_more(&octets[*sent..])?,
                        false => stream.send(&octets[*sent..])?,
                    };
                    let Some(count) = count else { return Ok(Flushed::Blocked) };
                    *sent += count;
                    self.in_memory -= count;
                    if *sent == octets.len() {
                        self.parts.pop_front();
                    }
                    count
                }
                Part::File { file, offset, remaining, kind } => {
                    if matches!(kind, Kind::Stamped(stamp) if Stamp::of(file) != Some(*stamp)) {
                        return Ok(Flushed::Changed);
                    }
                    let wanted = usize::try_from(*remaining).unwrap_or(usize::MAX).min(*budget);
                    let Some(count) = stream.send_file(file.as_fd(), *offset, wanted)? else {
                        return Ok(Flushed::Blocked);
                    };
                    if count == 0 {
                        return Ok(Flushed::Changed);
                    }
                    *offset += count as u64;
                    *remaining -= count as u64;
                    if *remaining == 0 {
                        self.parts.pop_front();
                    }
                    count
                }
            };
            *budget = budget.saturating_sub(taken);
        }
        Ok(if stream.flush()? { Flushed::All } else { Flushed::Blocked })
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.unread.change(self.counted, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_was_sent_takes_no_memory_however_long_a_client_lags_behind() {
        let (mut client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut stream = Stream::new(ours.into());
        let (mut outgoing, folder) = (Outgoing::default(), std::env::temp_dir());
        let mut fill = vec![b'f'; 1 << 20];
        while stream.send(&fill).unwrap().is_some() {}
        fill.truncate(8000);
        let mut buffer = vec![0; 8000];
        for _ in 0..1000 {
            outgoing.push(&[IoSlice::new(&fill)], 0, &folder).unwrap();
            client.read_exact(&mut buffer).unwrap();
            outgoing.flush(&mut stream, usize::MAX).unwrap();
        }
        let memory = outgoing.parts.iter().map(|part| match part {
            Part::Memory { octets, .. } => octets.capacity(),
            Part::File { .. } => 0,
        });
        assert!(memory.sum::<usize>() <= 4 * MEMORY_LIMIT);
        assert!(outgoing.left() > 0, "the client was not behind");
    }

    #[test]
    fn a_file_counts_for_all_that_it_holds() {
        let (_client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut stream = Stream::new(ours.into());
        let mut outgoing = Outgoing::default();
        let octets = vec![b'o'; 1 << 20];
        outgoing.push(&[IoSlice::new(&octets)], 0, &std::env::temp_dir()).unwrap();
        outgoing.flush(&mut stream, usize::MAX).unwrap();
        assert_eq!(outgoing.held(), 1 << 20);
        assert!(outgoing.left() < 1 << 20);
        outgoing.clear();
        assert_eq!((outgoing.held(), outgoing.lag()), (0, None));
    }
}
