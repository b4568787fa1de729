//! What session tickets are sealed with: the same at every worker and after every restart, and for a day only.
//!
//! A ticket is a session that the client keeps for the server, encrypted. Its keys are derived from a secret of 12 hours, and
//! each secret from the one before it, which is then forgotten: who reads a server's memory can open the tickets of a day, and
//! none before. All processes have the secrets in the same memory, which has no name; whoever comes first makes the next one,
//! and since that can come out in one way only, it makes no difference when two do.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::sys::tls::TicketKey;
use crate::sys::{SharedFile, nanoseconds};

/// For so long one secret's keys seal; for as long again they open. Longer than any ticket is good for (two hours).
const EPOCH: u64 = 12 * 3600 * 1_000_000_000;

/// Words of a place: the epoch, counted from 1, and its secret.
const PLACE: usize = 5;

/// A place for the epochs with even numbers, and one for the others.
const WORDS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2 * PLACE - 1);

type Secret = [u8; 32];

/// See the module.
pub struct Tickets {
    memory: SharedFile,
    known: Mutex<Option<(u64, Arc<[TicketKey]>)>>,
}

impl Tickets {
    /// Of a server that nobody has begun before.
    ///
    /// # Errors
    ///
    /// There is no memory, or no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Self::begun_at(nanoseconds(false) / EPOCH)
    }

    fn begun_at(epoch: u64) -> io::Result<Self> {
        let mut secret = [0; 32];
        openssl::rand::rand_bytes(&mut secret)?;
        let tickets = Self { memory: SharedFile::zeroed(c"tickets", WORDS)?, known: Mutex::default() };
        tickets.write(epoch, &secret);
        Ok(tickets)
    }

    /// Those that this program was executed with as `fd`; programs that it executes do not get them by themselves.
    ///
    /// # Errors
    ///
    /// It is something else, and stays as it is.
    pub fn adopt(fd: RawFd) -> io::Result<Self> {
        let tickets = Self::open(crate::sys::duplicate(fd)?)?;
        crate::sys::own(fd)?;
        Ok(tickets)
    }

    fn open(file: OwnedFd) -> io::Result<Self> {
        let tickets = Self { memory: SharedFile::open(file, WORDS)?, known: Mutex::default() };
        match tickets.latest() {
            Some(_) => Ok(tickets),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The keys that are good now; the first one seals.
    pub(crate) fn keys(&self) -> Option<Arc<[TicketKey]>> {
        self.keys_in(nanoseconds(false) / EPOCH).ok().flatten()
    }

    fn keys_in(&self, epoch: u64) -> Result<Option<Arc<[TicketKey]>>, ErrorStack> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, keys)) = &*known
            && *of >= epoch
        {
            return Ok(Some(Arc::clone(keys)));
        }
        let Some((mut latest, mut secret)) = self.latest() else { return Ok(None) };
        let mut before = latest.checked_sub(1).and_then(|before| self.read(before));
        while latest < epoch {
            before = Some(secret);
            secret = derive(&secret, b"next")?;
            latest += 1;
            self.write(latest, &secret);
        }
        if let Some(before) = before {
            self.write(latest - 1, &before);
        }
        let keys: Result<Vec<_>, _> = [Some(secret), before].iter().flatten().map(keys_of).collect();
        let keys: Arc<[_]> = keys?.into();
        *known = Some((latest, Arc::clone(&keys)));
        Ok(Some(keys))
    }

    fn latest(&self) -> Option<(u64, Secret)> {
        let marked = [0, PLACE].map(|at| self.memory[at].load(Ordering::Acquire));
        let epoch = marked.iter().max()?.checked_sub(1)?;
        let older = || epoch.checked_sub(1).and_then(|before| Some((before, self.read(before)?)));
        self.read(epoch).map(|secret| (epoch, secret)).or_else(older)
    }

    fn place(&self, epoch: u64) -> &[AtomicU64] {
        let at = if epoch.is_multiple_of(2) { 0 } else { PLACE };
        &self.memory[at..at + PLACE]
    }

    fn read(&self, epoch: u64) -> Option<Secret> {
        let (mark, words) = self.place(epoch).split_first()?;
        let there = || mark.load(Ordering::Acquire) == epoch + 1;
        if !there() {
            return None;
        }
        let mut secret = [0; 32];
        for (octets, word) in secret.chunks_exact_mut(8).zip(words) {
            octets.copy_from_slice(&word.load(Ordering::Acquire).to_ne_bytes());
        }
        there().then_some(secret)
    }

    fn write(&self, epoch: u64, secret: &Secret) {
        if self.read(epoch).is_some() {
            return;
        }
        let Some((mark, words)) = self.place(epoch).split_first() else { return };
        mark.store(0, Ordering::SeqCst);
        for (octets, word) in secret.chunks_exact(8).zip(words) {
            let octets = octets.try_into().map_or(0, u64::from_ne_bytes);
            word.store(octets, Ordering::SeqCst);
        }
        mark.store(epoch + 1, Ordering::SeqCst);
    }
}

/// Whoever has it can open every ticket: it is for this server's next programs alone.
impl AsFd for Tickets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn keys_of(secret: &Secret) -> Result<TicketKey, ErrorStack> {
    let [name, _] = halves(derive(secret, b"name")?);
    Ok(TicketKey { name, cipher: derive(secret, b"cipher")?, mac: derive(secret, b"mac")? })
}

fn halves(octets: [u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    halves.as_flattened_mut().copy_from_slice(&octets);
    halves
}

fn derive(secret: &Secret, purpose: &[u8]) -> Result<Secret, ErrorStack> {
    let key = PKey::hmac(secret)?;
    let mut derived = [0; 32];
    Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot(&mut derived, purpose)?;
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tickets: &Tickets, epoch: u64) -> Vec<[u8; 16]> {
        tickets.keys_in(epoch).unwrap().unwrap().iter().map(|key| key.name).collect()
    }

    fn another_process(tickets: &Tickets) -> Tickets {
        Tickets::open(tickets.as_fd().try_clone_to_owned().unwrap()).unwrap()
    }

    #[test]
    fn a_key_seals_for_an_epoch_and_opens_for_two() {
        let tickets = Tickets::begun_at(7).unwrap();
        let first = names(&tickets, 7);
        assert_eq!(first.len(), 1);
        let second = names(&tickets, 8);
        assert_eq!((second.len(), second[1]), (2, first[0]));
        let third = names(&tickets, 9);
        assert_eq!((third.len(), third[1]), (2, second[0]));
        assert!(!third.contains(&first[0]));
        assert_eq!(names(&tickets, 8), third, "a clock that is behind");
        assert!(tickets.read(7).is_none(), "the first secret is forgotten");
    }

    #[test]
    fn processes_agree_whoever_comes_first() {
        let tickets = Tickets::begun_at(0).unwrap();
        let others = [(); 3].map(|()| another_process(&tickets));
        let first = names(&tickets, 0);
        assert_eq!(names(&others[0], 0), first);
        let second = names(&others[0], 1);
        assert_eq!(second[1], first[0]);
        assert_eq!(names(&tickets, 1), second);
        assert_eq!(names(&others[1], 1), second, "one that has seen nothing before");
        assert_eq!(names(&another_process(&tickets), 1), second, "one that was not there before");
        let late = names(&others[2], 40);
        assert_eq!(names(&tickets, 40), late);
        assert_eq!(late.len(), 2);
        assert_eq!(names(&another_process(&tickets), 41)[1], late[0]);
    }

    #[test]
    fn a_secret_that_is_being_written_can_be_derived() {
        let tickets = Tickets::begun_at(0).unwrap();
        let (other, second) = (another_process(&tickets), names(&tickets, 1));
        tickets.place(1)[0].store(0, Ordering::SeqCst);
        assert_eq!(names(&other, 1), second);
    }

    #[test]
    fn servers_have_nothing_in_common() {
        let [one, other] = [0, 0].map(|epoch| names(&Tickets::begun_at(epoch).unwrap(), 0));
        assert_ne!(one, other);
    }

    #[test]
    fn what_is_no_secret_is_not_taken() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(Tickets::open(null.into()).is_err());
        let empty = SharedFile::zeroed(c"empty", WORDS).unwrap();
        assert!(Tickets::open(empty.as_fd().try_clone_to_owned().unwrap()).is_err());
    }
}
