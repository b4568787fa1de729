//! Where one thread sleeps until another wakes it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};

/// Remembers one call that comes before its thread sleeps.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Parking {
    /// Sleeps until [`Parking::wake`] (also one that came before), or until `limit` has passed.
    pub(crate) fn park(&self, limit: Option<Duration>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let until = limit.map(|limit| Instant::now() + limit);
        while !*woken {
            woken = match until {
                None => self.wake.wait(woken).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.wake.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *woken = false;
    }

    pub(crate) fn wake(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_park_is_not_lost() {
        let parking = Parking::default();
        parking.wake();
        parking.park(None);
        let before = Instant::now();
        parking.park(Some(Duration::from_millis(10)));
        assert!(before.elapsed() >= Duration::from_millis(10), "one wake ends one park");
    }
}
