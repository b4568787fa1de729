//! Where a server's threads are just now: one process asks, and each that serves answers for itself.
//!
//! All of them have an eventfd and a file that is only in memory, made before the first fork; a program that is executed
//! may have the two by their descriptors. Whoever asks writes to the eventfd, which wakes each [`Listener`] once; each
//! process writes its answer to its own part of the file. So nobody waits for who does not answer, and who asks needs
//! nothing of those who do but their places and pids.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Octets of the file for each process. What nobody writes takes no memory.
const PART: u64 = 4 << 20;

/// Before an answer: when it was begun, in nanoseconds of the monotonic clock, which all processes have in common; whose
/// it is; its length.
const HEAD: usize = 8 + 4 + 4;

/// How often whoever asks looks for answers.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Longer answers are not written.
pub const LONGEST_ANSWER: usize = PART as usize - HEAD;

/// The means to ask and to answer.
#[derive(Debug)]
pub struct Backtraces {
    bell: OwnedFd,
    answers: File,
}

impl Backtraces {
    /// To be made before the first fork. Both descriptors are closed by `exec`, unless somebody says otherwise.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let answers = memfd_create(c"backtraces", MFdFlags::MFD_CLOEXEC)?;
        Ok(Self::open(bell.into(), answers))
    }

    /// By the descriptors that [`Backtraces::descriptors`] gave, in a program that was executed.
    pub fn open(bell: OwnedFd, answers: OwnedFd) -> Self {
        Self { bell, answers: File::from(answers) }
    }

    /// For another program: of the bell and of the answers.
    pub fn descriptors(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.bell.as_fd(), self.answers.as_fd())
    }

    /// The answers of the processes at these places (see [`PlaceId`](crate::cluster::PlaceId)), each known by its pid, in this
    /// order; `None` for one that has not answered after `patience`. Waits for no longer.
    ///
    /// # Errors
    ///
    /// As write(2) and read(2).
    pub fn ask(&self, whom: &[(u32, i32)], patience: Duration) -> io::Result<Vec<Option<Vec<u8>>>> {
        let deadline = Instant::now() + patience;
        let asked = self.ring()?;
        let mut answers = vec![None; whom.len()];
        loop {
            for ((place, pid), answer) in whom.iter().zip(&mut answers).filter(|(_, answer)| answer.is_none())
            {
                *answer = self.answer(*place, *pid, asked)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || answers.iter().all(Option::is_some) {
                return Ok(answers);
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// Asks, and does not wait: for who has a loop of its own, in which to look for answers ([`Backtraces::answer`]). Returns
    /// when it asked.
    ///
    /// # Errors
    ///
    /// As write(2).
    pub fn ring(&self) -> io::Result<u64> {
        let asked = now();
        // Nobody reads the counter, and it has room for more than there will ever be.
        nix::unistd::write(&self.bell, &1_u64.to_ne_bytes())?;
        Ok(asked)
    }

    /// What process `pid` at `place` has answered since it was asked at `since`; `None` while it has not.
    ///
    /// # Errors
    ///
    /// As read(2).
    pub fn answer(&self, place: u32, pid: i32, since: u64) -> io::Result<Option<Vec<u8>>> {
        let at = u64::from(place) * PART;
        let Some(head) = self.head(at)? else { return Ok(None) };
        if head.begun < since || head.pid != pid {
            return Ok(None);
        }
        let mut text = vec![0; (head.length as usize).min(LONGEST_ANSWER)];
        self.answers.read_exact_at(&mut text, at + HEAD as u64)?;
        // Somebody else may have asked meanwhile.
        Ok((self.head(at)? == Some(head)).then_some(text))
    }

    /// `None` where nobody has ever written.
    fn head(&self, at: u64) -> io::Result<Option<Head>> {
        let mut octets = [0; HEAD];
        match self.answers.read_exact_at(&mut octets, at) {
            Ok(()) => Ok(Some(Head::decode(octets))),
            Err(failure) if failure.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Head {
    /// 0 while the answer is being written.
    begun: u64,
    pid: i32,
    length: u32,
}

impl Head {
    fn encode(self) -> [u8; HEAD] {
        let mut octets = [0; HEAD];
        octets[..8].copy_from_slice(&self.begun.to_ne_bytes());
        octets[8..12].copy_from_slice(&self.pid.to_ne_bytes());
        octets[12..].copy_from_slice(&self.length.to_ne_bytes());
        octets
    }

    fn decode(octets: [u8; HEAD]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self {
            begun: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            pid: i32::from_ne_bytes([i, j, k, l]),
            length: u32::from_ne_bytes([m, n, o, p]),
        }
    }
}

/// A process that answers: its descriptor is readable when somebody has asked.
#[derive(Debug)]
pub struct Listener {
    backtraces: Arc<Backtraces>,
    epoll: Epoll,
}

impl Listener {
    /// To be made by the process itself: one that it had from its parent would be woken in its place.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn new(backtraces: &Arc<Backtraces>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Each write is an edge, for each process that waits; nobody has to read the counter.
        epoll.add(&backtraces.bell, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
        let listener = Self { backtraces: Arc::clone(backtraces), epoll };
        listener.is_asked(); // before it was there
        Ok(listener)
    }

    /// Whether somebody has asked since the last look.
    pub fn is_asked(&self) -> bool {
        self.epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::ZERO) == Ok(1)
    }

    /// When an answer is begun; to be given to [`Listener::answer`].
    pub fn begin(&self) -> u64 {
        now()
    }

    /// Writes the answer of the process at `place`, begun at [`Listener::begin`]. One that is too long is none.
    ///
    /// # Errors
    ///
    /// As write(2).
    pub fn answer(&self, place: u32, pid: i32, begun: u64, text: &[u8]) -> io::Result<()> {
        if text.len() > LONGEST_ANSWER {
            return Ok(());
        }
        let at = u64::from(place) * PART;
        let file = &self.backtraces.answers;
        file.write_all_at(&Head { begun: 0, pid, length: 0 }.encode(), at)?;
        file.write_all_at(text, at + HEAD as u64)?;
        file.write_all_at(&Head { begun, pid, length: text.len() as u32 }.encode(), at)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

fn now() -> u64 {
    crate::sys::nanoseconds(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(30);

    /// Answers one question, in a thread.
    fn answers_once(
        listener: Listener,
        place: u32,
        pid: i32,
        text: &'static [u8],
    ) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || {
            let deadline = Instant::now() + LONG;
            while !listener.is_asked() {
                assert!(Instant::now() < deadline);
                std::thread::yield_now();
            }
            let begun = listener.begin();
            listener.answer(place, pid, begun, text).unwrap();
        })
    }

    #[test]
    fn each_process_answers_once_and_who_does_not_is_not_waited_for() {
        let backtraces = Arc::new(Backtraces::new().unwrap());
        let listener = || Listener::new(&backtraces).unwrap();
        let mute = listener();
        let threads = [answers_once(listener(), 0, 10, b"zero"), answers_once(listener(), 7, 17, b"seven")];
        assert_eq!(
            backtraces.ask(&[(0, 10), (7, 17)], LONG).unwrap(),
            [Some(b"zero".to_vec()), Some(b"seven".to_vec())]
        );
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(mute.is_asked());
        assert!(!mute.is_asked(), "once");
        assert!(!crate::sys::is_readable(mute.as_fd()));
        assert_eq!(
            backtraces.ask(&[(0, 10), (9, 19)], SHORT).unwrap(),
            [None, None],
            "that was an old answer"
        );
        assert!(crate::sys::is_readable(mute.as_fd()));
        assert!(!listener().is_asked(), "it was not there");
    }

    #[test]
    fn answer_of_whoever_had_the_place_before_is_none() {
        let backtraces = Arc::new(Backtraces::new().unwrap());
        let thread = answers_once(Listener::new(&backtraces).unwrap(), 0, 10, b"zero");
        assert_eq!(backtraces.ask(&[(0, 11)], SHORT).unwrap(), [None]);
        thread.join().unwrap();
        assert_eq!(backtraces.answer(0, 10, 0).unwrap(), Some(b"zero".to_vec()));
    }

    #[test]
    fn answer_may_be_longer_or_shorter_than_the_one_before_and_not_too_long() {
        let backtraces = Arc::new(Backtraces::new().unwrap());
        let listener = Listener::new(&backtraces).unwrap();
        for length in [3, 100_000, 0, LONGEST_ANSWER] {
            let text = vec![b'x'; length];
            listener.answer(3, 1, now(), &text).unwrap();
            assert_eq!(backtraces.answer(3, 1, 1).unwrap(), Some(text));
        }
        listener.answer(3, 1, now(), &vec![b'y'; LONGEST_ANSWER + 1]).unwrap();
        assert_eq!(backtraces.answer(3, 1, 1).unwrap().map(|text| text[0]), Some(b'x'));
        assert_eq!(backtraces.answer(2, 1, 1).unwrap(), None);
    }

    #[test]
    fn another_program_asks_by_the_descriptors() {
        let backtraces = Arc::new(Backtraces::new().unwrap());
        let thread = answers_once(Listener::new(&backtraces).unwrap(), 1, 10, b"one");
        let (bell, answers) = backtraces.descriptors();
        let other =
            Backtraces::open(bell.try_clone_to_owned().unwrap(), answers.try_clone_to_owned().unwrap());
        assert_eq!(other.ask(&[(1, 10)], LONG).unwrap(), [Some(b"one".to_vec())]);
        thread.join().unwrap();
    }
}
