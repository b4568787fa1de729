//! One server as the bridge holds it: the ways in and out for Ruby's threads, and the monitor. What these have in common
//! with the poller is in [`crate::shared`].
//!
//! Reading order: [`Server::next`] and [`Server::wait`] are a pool thread's loop, [`Server::write`] and
//! [`Lease::finish`] its way to answer; [`Server::manage`] is the loop of the thread that makes the others.

mod abandoned;
mod absence;
mod answer;
mod collecting;
mod fibers;
mod figures;
mod hung;
mod io_bound;
mod lease;
mod monitor;
mod readers;
pub mod recent;
mod threads;
mod told;

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rserve_http1::content::codings::Coding;

use crate::cluster::balance::{Gate, LargeTurns};
use crate::config::options::Options;
use crate::connection::Connection;
use crate::connection::request::Request;
use crate::content::Storage;
use crate::content::coder::Coder;
use crate::content::encoders::Encoders;
use crate::net::listener::Listener;
use crate::net::tls;
use crate::poller::Poller;
use crate::shared::Shared;

pub use crate::shared::{Late, Notice, Status};
use collecting::Collecting;
pub use fibers::Pump;
pub use figures::ServerStats;
pub use hung::InHand;
pub use io_bound::IoBound;
pub use lease::{BodyRead, Lease, wait_readable};
use monitor::{Look, Monitor};

/// What a pool thread does next.
#[expect(clippy::large_enum_variant, reason = "made once for each request and taken apart at once")]
pub enum Next {
    /// Serve this request.
    Serve(Lease, Request),
    /// Call [`Server::wait`], without the GVL.
    Wait,
    /// End.
    Leave,
}

/// What the managing thread does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manage {
    /// Start one pool thread; it is counted already.
    Spawn,
    /// Call [`Server::manage_wait`], without the GVL.
    Wait,
    /// No request came for the whole `idle_timeout`. Told once, until [`Manage::IdleOver`].
    IdleTimeout,
    /// A request came after all.
    IdleOver,
    /// [`Server::take_late`] has something.
    Late,
    /// It began to drain: others that hold the listeners may close them. Said once.
    Drain,
    /// Every connection is gone: join the threads.
    Done,
}

/// See the module.
pub struct Server {
    pub(crate) shared: Shared,
    poller: Mutex<Poller>,
    monitor: Monitor,
    handshakes: Arc<tls::Handshakes>,
    /// Connections with parts of a response that are held back, for the monitor to send.
    corked: Mutex<Vec<Arc<Connection>>>,
    /// Clients whose responses a pool thread waits with.
    waiting_for_readers: Mutex<Vec<Arc<Connection>>>,
    storage: Option<Storage>,
    encoders: Arc<Encoders>,
    collecting: Collecting,
}

impl Server {
    /// A server without listeners. To be made in the process that will run it, after any fork.
    ///
    /// # Errors
    ///
    /// No descriptor is left for epoll, or a folder of files cannot be opened.
    pub fn new(options: Options) -> io::Result<Arc<Self>> {
        let (poller, registry, waker) = Poller::new()?;
        let storage = Storage::open(&options.content.storage)?;
        Ok(Arc::new(Self {
            shared: Shared::new(options, registry, waker)?,
            poller: Mutex::new(poller),
            monitor: Monitor::default(),
            handshakes: Arc::default(),
            corked: Mutex::default(),
            waiting_for_readers: Mutex::default(),
            storage,
            encoders: Arc::default(),
            collecting: Collecting::default(),
        }))
    }

    /// Accepts on a duplicate of the listening socket `fd` from [`Server::start`] on, with TLS if `tls` says how.
    /// Connections tell the listener's position in the order of these calls.
    ///
    /// # Errors
    ///
    /// `fd` is not open, or no descriptor is left.
    pub fn add_listener(&self, fd: RawFd, tls: Option<Arc<tls::Context>>) -> io::Result<()> {
        if let Some(context) = tls.as_ref().filter(|_| self.shared.options.http2) {
            context.offer_http2();
        }
        let listener = Listener::duplicate(fd, tls, Arc::clone(&self.handshakes))?;
        self.lock_poller().add_listener(listener)
    }

    /// Takes connections that the keeper passes in through the socket `fd`, from [`Server::start`] on. To be called before
    /// [`Server::add_listener`]; if `held`, those listeners wait for [`Server::open`].
    ///
    /// # Errors
    ///
    /// `fd` is not open, or no descriptor is left.
    pub fn add_door(&self, fd: RawFd, held: bool) -> io::Result<()> {
        self.lock_poller().add_door(Listener::door(fd)?, held)
    }

    /// Takes connections by all listeners, see [`Server::add_door`].
    pub fn open(&self) {
        self.shared.life.open();
        self.shared.wake_poller();
    }

    /// Takes connections through `gate`, from [`Server::start`] on: the listeners are shared with other workers.
    pub fn add_gate(&self, gate: Gate) {
        let _ = self.shared.place.set(gate.place().clone());
        self.shared.backlog.take_turns(LargeTurns::new(gate.place().clone()));
        let options = &self.shared.options;
        let takes = options.queue.are_set() || self.shared.has_files() || options.fibers.is_some();
        self.lock_poller().add_gate(gate.taking_without_threads(takes));
        self.show_size();
    }

    /// Begins to serve and starts the monitor, a native thread.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn start(self: &Arc<Self>) -> io::Result<()> {
        if self.shared.begin() { self.monitor.start(self) } else { Ok(()) }
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Files that the application may have sent, if there are any.
    pub fn storage(&self) -> Option<&Storage> {
        self.storage.as_ref()
    }

    /// Begins to code a content, see [`Coder::new`].
    ///
    /// # Errors
    ///
    /// No memory is left.
    pub fn coder(&self, coding: Coding, level: u32, jitter: u64, length: Option<u64>) -> io::Result<Coder> {
        let coder = Coder::new(&self.encoders, coding, level, jitter, length)?;
        // It has an encoder to give back one day.
        self.shared.monitor.rouse();
        Ok(coder)
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Goes on serving, but keeps no connection beyond its next response: the process is about to end, and whoever sends
    /// requests here is being told.
    pub fn retire(&self) {
        self.shared.life.retire();
    }

    /// Accepts no more and answers what was accepted.
    pub fn drain(&self) {
        self.shared.advance(Status::Draining);
    }

    /// Serves nothing more; what runs is left to finish, the rest is dropped.
    pub fn halt(&self) {
        self.shared.advance(Status::Done);
    }

    /// Gives up every connection that is not with the application: incomplete requests are answered 408, responses
    /// that are not read are cut off.
    pub fn evict(&self) {
        self.shared.life.evict();
        self.shared.wake_poller();
    }

    /// Whether this process is the one that serves. In a child that an application forked in the middle of a request,
    /// the sockets and locks are the parent's affair: there every method that would touch them does nothing, and pool
    /// threads end.
    pub fn is_at_home(&self) -> bool {
        self.shared.life.is_at_home()
    }

    /// Ends the monitor, and lets go of the sockets. Threads that serve are left alone.
    pub fn join(&self) {
        self.halt();
        self.monitor.join(&self.shared.monitor);
        if self.is_at_home() {
            self.lock_poller().let_go();
        }
    }

    /// Whether [`Server::take_notices`] has something.
    pub fn has_notices(&self) -> bool {
        !self.shared.notices.is_empty()
    }

    /// What should be logged since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.shared.notices.take()
    }

    pub(crate) fn lock_poller(&self) -> MutexGuard<'_, Poller> {
        self.poller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_poller(&self) -> Option<MutexGuard<'_, Poller>> {
        match self.poller.try_lock() {
            Ok(poller) => Some(poller),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn corked(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.corked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
