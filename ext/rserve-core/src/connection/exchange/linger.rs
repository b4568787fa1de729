//! Letting a refused client read its answer: what it still sends is thrown away, for a while.

use std::time::{Duration, Instant};

use super::{Activity, Exchange, Outcome, Patience, READ_SIZE, SCRATCH};
use crate::net::stream::Received;

/// How long a refused client may take to read its answer …
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(2);

/// … a second more for so many octets that it is still sending …
const LINGER_RATE: u64 = 64 * 1024;

/// … and so long at most.
const LINGER_MOST: Duration = Duration::from_secs(30);

impl Exchange {
    pub(super) fn linger(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.finish_sending();
        }
        self.activity = Activity::Lingering;
    }

    /// Throws away what a refused client still sends, so that it gets to read its response before the reset that unread
    /// input would cause: many send all of a body before they read.
    pub(super) fn discard(&mut self, now: Instant) -> Outcome {
        self.lingers_since.get_or_insert(now);
        let before = self.lingered;
        SCRATCH.with_borrow_mut(|scratch| {
            while self.lingered < before + READ_SIZE as u64 {
                let Some(stream) = &mut self.stream else { return Outcome::Close };
                match stream.receive(scratch) {
                    Ok(Received::Octets(count)) => {
                        self.lingered += count as u64;
                        self.patience = Patience::Lingering;
                    }
                    Ok(Received::WouldBlock) => {
                        self.drained = true;
                        return Outcome::Wait;
                    }
                    _ => return Outcome::Close,
                }
            }
            Outcome::Again
        })
    }

    /// When a refused client is given up that is still sending.
    pub(crate) fn linger_due(&self, now: Instant) -> Instant {
        let earned = LINGER_TIME + Duration::from_secs(self.lingered / LINGER_RATE);
        self.lingers_since.unwrap_or(now) + earned.min(LINGER_MOST)
    }
}
