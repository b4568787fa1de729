//! Encoders that wait for their next content. One for gzip has 270 KB and one for zstd more: made for each response, they came to
//! 10 MB of a worker with five threads, as what lies between them cannot be given back.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flate2::Compress;
use zstd_safe::{CCtx, ResetDirective};

/// What has not been used for so long is given back, or for twice as long.
pub const GIVEN_BACK_AFTER: Duration = Duration::from_secs(1);

/// So many of each kind wait at most: where fibers wait, there may be a thousand contents on their way at a time.
const MOST: usize = 16;

/// Those of one server.
#[derive(Default)]
pub struct Encoders {
    gzip: Mutex<Waiting<Gzip>>,
    zstd: Mutex<Waiting<Zstd>>,
    /// Each encoder has one too.
    alive: Arc<()>,
}

pub(super) struct Gzip {
    pub deflate: Compress,
    level: u32,
    _alive: Arc<()>,
}

pub(super) struct Zstd {
    pub context: CCtx<'static>,
    _alive: Arc<()>,
}

/// The one that was used last is taken first.
struct Waiting<T> {
    idle: Vec<T>,
    /// How many have waited all the time since they were last looked at.
    unused: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { idle: Vec::new(), unused: 0 }
    }
}

impl<T> Waiting<T> {
    fn take(&mut self) -> Option<T> {
        let taken = self.idle.pop();
        self.unused = self.unused.min(self.idle.len());
        taken
    }

    fn give(&mut self, used: T) {
        if self.idle.len() < MOST {
            self.idle.push(used);
        }
    }

    fn give_back(&mut self) -> Vec<T> {
        let unused = self.idle.drain(..self.unused).collect();
        self.unused = self.idle.len();
        unused
    }
}

fn lock<T>(waiting: &Mutex<Waiting<T>>) -> MutexGuard<'_, Waiting<T>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Encoders {
    /// Whether there are any, waiting or in use.
    pub fn are_there(&self) -> bool {
        Arc::strong_count(&self.alive) > 1
    }

    /// Gives back what has waited since the last call: to be called every [`GIVEN_BACK_AFTER`] while [`Encoders::are_there`].
    pub fn give_back(&self) {
        let unused = (lock(&self.gzip).give_back(), lock(&self.zstd).give_back());
        drop(unused);
    }

    pub(super) fn gzip(&self, level: u32) -> Gzip {
        let waiting = lock(&self.gzip).take().filter(|gzip| gzip.level == level);
        match waiting {
            Some(mut gzip) => {
                gzip.deflate.reset();
                gzip
            }
            None => {
                let deflate = Compress::new(flate2::Compression::new(level), false);
                Gzip { deflate, level, _alive: Arc::clone(&self.alive) }
            }
        }
    }

    /// One without parameters.
    pub(super) fn zstd(&self) -> io::Result<Zstd> {
        let waiting = lock(&self.zstd).take();
        if let Some(mut zstd) = waiting
            && zstd.context.reset(ResetDirective::SessionAndParameters).is_ok()
        {
            return Ok(zstd);
        }
        let context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Zstd { context, _alive: Arc::clone(&self.alive) })
    }

    pub(super) fn take_gzip(&self, used: Gzip) {
        lock(&self.gzip).give(used);
    }

    pub(super) fn take_zstd(&self, used: Zstd) {
        lock(&self.zstd).give(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(encoders: &Encoders) -> usize {
        Arc::strong_count(&encoders.alive) - 1
    }

    #[test]
    fn one_that_was_used_is_used_again() {
        let encoders = Encoders::default();
        for _ in 0..3 {
            encoders.take_gzip(encoders.gzip(4));
            encoders.take_zstd(encoders.zstd().unwrap());
            assert_eq!(count(&encoders), 2);
        }
        encoders.take_gzip(encoders.gzip(5));
        assert_eq!(count(&encoders), 2, "that of another level is gone");
    }

    #[test]
    fn as_many_are_kept_as_are_used_at_a_time() {
        let encoders = Encoders::default();
        let used: Vec<_> = (0..5).map(|_| encoders.gzip(4)).collect();
        used.into_iter().for_each(|gzip| encoders.take_gzip(gzip));
        encoders.give_back();
        assert_eq!(count(&encoders), 5);
        for _ in 0..10 {
            let two = [encoders.gzip(4), encoders.gzip(4)];
            two.into_iter().for_each(|gzip| encoders.take_gzip(gzip));
        }
        encoders.give_back();
        assert_eq!(count(&encoders), 2);
        encoders.give_back();
        assert!(!encoders.are_there());
    }

    #[test]
    fn a_crowd_of_them_is_not_kept() {
        let encoders = Encoders::default();
        let used: Vec<_> = (0..100).map(|_| encoders.gzip(4)).collect();
        assert_eq!(count(&encoders), 100);
        used.into_iter().for_each(|gzip| encoders.take_gzip(gzip));
        assert_eq!(count(&encoders), MOST);
    }
}
