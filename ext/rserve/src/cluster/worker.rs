//! `Rserve::Native::Worker`: what a worker has in common with its master: the pipes between them, and the board on
//! which workers show each other how busy they are.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use magnus::Class;
use magnus::{
    DataTypeFunctions, Error, IntoValue, Module, RModule, Ruby, Symbol, TypedData, Value, method,
    typed_data::Obj,
};
use rserve_core::cluster::balance::{Board, Gate};
use rserve_core::cluster::link::Bell;
use rserve_core::cluster::link::ipc::{ForkCommand, WorkerMessage};
use rserve_core::cluster::link::pipes::{CommandReader, Lifeline, MessageWriter};
use rserve_core::cluster::{Index, Pid, PlaceId, RetireReason};
use rserve_core::server::ServerStats;
use rserve_core::telemetry::{self, Telemetry, WorkerState};

use crate::core::Core;
use crate::vm::error;
use crate::vm::gvl::without_gvl;

/// How long a worker tries to tell its master something that it must know. The pipe holds a thousand messages.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// See the module.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::Worker", free_immediately)]
pub(crate) struct Worker {
    index: Index,
    place: PlaceId,
    /// Where the next worker shows its figures that this one forks.
    next_place: Cell<PlaceId>,
    /// Where the master has forked it.
    phase: Option<u32>,
    writer: Arc<MessageWriter>,
    lifeline: Arc<Lifeline>,
    welcome: Arc<Lifeline>,
    /// Only worker 0 has it, under `fork_worker`.
    commands: RefCell<Option<CommandReader>>,
    board: Board,
    telemetry: Option<Telemetry>,
    /// This worker's place there.
    told_in: Option<telemetry::Worker>,
}

impl DataTypeFunctions for Worker {}

impl Worker {
    pub(crate) fn new(
        (index, place): (Index, PlaceId),
        phase: Option<u32>,
        writer: Arc<MessageWriter>,
        [lifeline, welcome]: [Arc<Lifeline>; 2],
        commands: Option<CommandReader>,
        board: Board,
        telemetry: Option<Telemetry>,
    ) -> Self {
        let told_in = telemetry.as_ref().and_then(|telemetry| telemetry.worker(place));
        Self {
            index,
            place,
            next_place: Cell::new(place),
            phase,
            writer,
            lifeline,
            welcome,
            commands: RefCell::new(commands),
            board,
            telemetry,
            told_in,
        }
    }

    /// To be called by a worker that worker 0 has forked, once: its own version.
    fn descendant(&self, index: u32) -> Self {
        self.commands.replace(None);
        Self::new(
            (Index(index), self.next_place.get()),
            None,
            Arc::clone(&self.writer),
            [Arc::clone(&self.lifeline), Arc::clone(&self.welcome)],
            None,
            self.board.clone(),
            self.telemetry.clone(),
        )
    }

    /// Where operators see what it does, if they want to.
    pub(crate) fn told_in(&self) -> Option<telemetry::Worker> {
        self.told_in.clone()
    }

    /// For this worker's server; `None` in a cluster too large for the board.
    pub(crate) fn gate(&self) -> Option<Gate> {
        self.board.place(self.place).map(Gate::new)
    }

    /// Whether no worker has given this reason for not booting just before.
    fn is_news(&self, reason: u32) -> bool {
        self.board.is_news(reason)
    }

    fn phase(&self) -> Option<u32> {
        self.phase
    }

    fn is_mold(&self) -> bool {
        self.commands.borrow().is_some()
    }

    // ---- to the master ------------------------------------------------------------------------------------------

    fn booted(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        this.board.forget_news();
        this.enter(WorkerState::Ready);
        this.send(ruby, WorkerMessage::Booted { pid: own_pid(ruby)?, index: this.index })
    }

    fn forked(ruby: &Ruby, this: &Self, index: u32, pid: i32) -> Result<(), Error> {
        let pid = Pid::new(pid).ok_or_else(|| error::bug(ruby, "a fork without pid"))?;
        this.send(ruby, WorkerMessage::Forked { pid, index: Index(index) })
    }

    fn got_term(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        this.enter(WorkerState::Stopping);
        this.send(ruby, WorkerMessage::GotTerm { pid: own_pid(ruby)? })
    }

    fn terminating(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        this.enter(WorkerState::Stopping);
        this.send(ruby, WorkerMessage::Terminating { pid: own_pid(ruby)? })
    }

    fn idle(ruby: &Ruby, this: &Self, idle: bool) -> Result<(), Error> {
        this.send(ruby, WorkerMessage::Idle { pid: own_pid(ruby)?, idle })
    }

    /// The worker wants to be replaced for a reason, named as in [`RetireReason`]; it serves until another one does.
    fn retire(ruby: &Ruby, this: &Self, reason: Symbol) -> Result<(), Error> {
        let name = reason.name()?;
        let reason = RetireReason::from_name(&name);
        let reason = reason.ok_or_else(|| error::bug(ruby, &format!("no reason {name}")))?;
        this.send(ruby, WorkerMessage::Retire { pid: own_pid(ruby)?, reason })
    }

    fn wake_up(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        this.send(ruby, WorkerMessage::WakeUp)
    }

    /// The worker lives, and this is how its server does.
    fn ping(ruby: &Ruby, this: &Self, core: Obj<Core>) -> Result<(), Error> {
        this.tell_stats(ruby, core.take_reading())
    }

    /// The worker lives, and its server does not run yet.
    fn ping_idle(ruby: &Ruby, this: &Self, max_threads: u64) -> Result<(), Error> {
        this.tell_stats(ruby, ServerStats::of_empty_pool(max_threads))
    }

    /// What does not fit into the pipe is left out: the next ping follows.
    fn tell_stats(&self, ruby: &Ruby, stats: ServerStats) -> Result<(), Error> {
        let _ = self.writer.send(&WorkerMessage::Ping { pid: own_pid(ruby)?, stats });
        Ok(())
    }

    fn enter(&self, state: WorkerState) {
        if let Some(telemetry) = &self.told_in {
            telemetry.enter(state);
        }
    }

    fn send(&self, ruby: &Ruby, message: WorkerMessage) -> Result<(), Error> {
        for _ in 0..TRIES {
            match self.writer.send(&message) {
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => {
                    without_gvl(|| std::thread::sleep(BETWEEN_TRIES), &|| {});
                    ruby.thread_check_ints()?;
                }
                // Without a master there is nobody to tell, and the lifeline ends this worker.
                Ok(()) | Err(_) => break,
            }
        }
        Ok(())
    }

    // ---- from the master ----------------------------------------------------------------------------------------

    /// Returns when the clients are to be said goodbye to, or the master is gone.
    fn outlive_welcome(ruby: &Ruby, this: Obj<Self>) -> Result<(), Error> {
        Self::outlive(ruby, &[Arc::clone(&this.welcome), Arc::clone(&this.lifeline)])
    }

    /// Returns when the master is gone.
    fn outlive_master(ruby: &Ruby, this: Obj<Self>) -> Result<(), Error> {
        Self::outlive(ruby, &[Arc::clone(&this.lifeline)])
    }

    fn outlive(ruby: &Ruby, lines: &[Arc<Lifeline>]) -> Result<(), Error> {
        let bell = Bell::new().map_err(|failure| error::system(ruby, &failure))?;
        let fds: Vec<_> = lines.iter().map(|line| line.as_fd()).collect();
        while !lines.iter().any(|line| line.is_cut()) {
            without_gvl(|| bell.wait(&fds, None), &|| bell.ring());
            bell.stop();
            ruby.thread_check_ints()?;
        }
        Ok(())
    }

    /// The next thing that worker 0 is to do: `:pause`, `:resume`, `:resume_after_refork` or, to fork a worker, its
    /// index; `:leave` when the master wants nothing more. nil when a signal came first.
    fn next_command(ruby: &Ruby, this: Obj<Self>) -> Result<Value, Error> {
        let bell = Bell::new().map_err(|failure| error::system(ruby, &failure))?;
        let mut waited = false;
        loop {
            let next = match this.commands.borrow_mut().as_mut() {
                Some(commands) => commands.next_command(),
                None => Ok(None),
            };
            let name = match next {
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock && !waited => {
                    let commands = this.commands.borrow();
                    let Some(commands) = commands.as_ref() else { continue };
                    without_gvl(|| bell.wait(&[commands.as_fd()], None), &|| bell.ring());
                    ruby.thread_check_ints()?;
                    waited = true;
                    continue;
                }
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(ruby.qnil().into_value_with(ruby));
                }
                Err(failure) => return Err(error::system(ruby, &failure)),
                Ok(Some(ForkCommand::Fork(index, place))) => {
                    this.next_place.set(place);
                    return Ok(index.0.into_value_with(ruby));
                }
                Ok(Some(ForkCommand::Pause)) => "pause",
                Ok(Some(ForkCommand::Resume { after_refork: false })) => "resume",
                Ok(Some(ForkCommand::Resume { after_refork: true })) => "resume_after_refork",
                Ok(None) => "leave",
            };
            return Ok(ruby.to_symbol(name).into_value_with(ruby));
        }
    }
}

fn own_pid(ruby: &Ruby) -> Result<Pid, Error> {
    let raw = i32::try_from(std::process::id()).ok();
    raw.and_then(Pid::new).ok_or_else(|| error::bug(ruby, "a process without pid"))
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Worker", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("descendant", method!(Worker::descendant, 1))?;
    class.define_method("mold?", method!(Worker::is_mold, 0))?;
    class.define_method("phase", method!(Worker::phase, 0))?;
    class.define_method("news?", method!(Worker::is_news, 1))?;
    class.define_method("booted", method!(Worker::booted, 0))?;
    class.define_method("forked", method!(Worker::forked, 2))?;
    class.define_method("got_term", method!(Worker::got_term, 0))?;
    class.define_method("terminating", method!(Worker::terminating, 0))?;
    class.define_method("idle", method!(Worker::idle, 1))?;
    class.define_method("retire", method!(Worker::retire, 1))?;
    class.define_method("wake_up", method!(Worker::wake_up, 0))?;
    class.define_method("ping", method!(Worker::ping, 1))?;
    class.define_method("ping_idle", method!(Worker::ping_idle, 1))?;
    class.define_method("outlive_welcome", method!(Worker::outlive_welcome, 0))?;
    class.define_method("outlive_master", method!(Worker::outlive_master, 0))?;
    class.define_method("next_command", method!(Worker::next_command, 0))?;
    Ok(())
}
