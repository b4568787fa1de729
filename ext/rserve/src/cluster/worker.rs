//! `Rserve::Native::Worker`: what a worker has in common with its master: the pipes between them, and the board on
//! which workers show each other how busy they are.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use magnus::Class;
use magnus::{
    DataTypeFunctions, Error, IntoValue, Module, RModule, RString, Ruby, Symbol, TypedData, Value, method,
    typed_data::Obj,
};
use rserve_core::backtraces::{Backtraces, Listener};
use rserve_core::cluster::balance::{Board, Gate};
use rserve_core::cluster::link::Bell;
use rserve_core::cluster::link::ipc::{ForkCommand, WorkerMessage};
use rserve_core::cluster::link::pipes::{CommandReader, Lifeline, MessageWriter, fork_pipe};
use rserve_core::cluster::link::post::PostWriter;
use rserve_core::cluster::{Index, Pid, PlaceId, RetireReason};
use rserve_core::server::ServerStats;
use rserve_core::telemetry::{self, Telemetry, WorkerState};

use crate::core::Core;
use crate::vm::error;
use crate::vm::gvl::without_gvl;

/// How long a worker tries to tell its master something that it must know. The pipe holds a thousand messages.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// What all workers have in common with their master.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) writer: Arc<MessageWriter>,
    pub(crate) lifeline: Arc<Lifeline>,
    /// Cut when workers are to say goodbye to their clients.
    pub(crate) welcome: Arc<Lifeline>,
    pub(crate) board: Board,
    pub(crate) telemetry: Option<Telemetry>,
    pub(crate) backtraces: Arc<Backtraces>,
    /// Where a worker hands over the pipe by which it can be told to be the mold.
    pub(crate) post: Option<Arc<PostWriter>>,
}

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
    /// Only worker 0 has it, under `fork_worker`; under `refork_after` each worker.
    commands: RefCell<Option<CommandReader>>,
    common: Common,
    /// This worker's place in the telemetry.
    told_in: Option<telemetry::Worker>,
    /// Made when this process first listens.
    listener: RefCell<Option<Arc<Listener>>>,
    /// When somebody was heard to ask where the threads are.
    asked_at: Cell<u64>,
    has_said_goodbye: Cell<bool>,
}

impl DataTypeFunctions for Worker {}

impl Worker {
    /// To be called by the worker itself.
    pub(crate) fn new(
        (index, place): (Index, PlaceId),
        phase: Option<u32>,
        commands: Option<CommandReader>,
        common: Common,
    ) -> Self {
        let told_in = common.telemetry.as_ref().and_then(|telemetry| telemetry.worker(place));
        let commands = commands.or_else(|| common.post.as_deref().and_then(hand_over_pipe));
        Self {
            index,
            place,
            next_place: Cell::new(place),
            phase,
            commands: RefCell::new(commands),
            common,
            told_in,
            listener: RefCell::new(None),
            asked_at: Cell::new(0),
            has_said_goodbye: Cell::new(false),
        }
    }

    /// To be called by a worker that worker 0 has forked, once: its own version.
    fn descendant(&self, index: u32) -> Self {
        self.commands.replace(None);
        self.listener.replace(None);
        Self::new((Index(index), self.next_place.get()), None, None, self.common.clone())
    }

    /// Where operators see what it does, if they want to.
    pub(crate) fn told_in(&self) -> Option<telemetry::Worker> {
        self.told_in.clone()
    }

    /// For this worker's server; `None` in a cluster too large for the board.
    pub(crate) fn gate(&self) -> Option<Gate> {
        self.common.board.place(self.place).map(Gate::new)
    }

    /// Whether no worker has given this reason for not booting just before.
    fn is_news(&self, reason: u32) -> bool {
        self.common.board.is_news(reason)
    }

    fn phase(&self) -> Option<u32> {
        self.phase
    }

    fn is_mold(&self) -> bool {
        self.common.post.is_none() && self.commands.borrow().is_some()
    }

    /// Whether it can be told to be the mold.
    fn is_promotable(&self) -> bool {
        self.common.post.is_some() && self.commands.borrow().is_some()
    }

    // ---- to the master ------------------------------------------------------------------------------------------

    fn booted(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        this.common.board.forget_news();
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

    /// It was told to be the mold, and finishes its requests.
    fn promoted(&self) {
        self.enter(WorkerState::Stopping);
    }

    fn molded(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        this.send(ruby, WorkerMessage::Molded { pid: own_pid(ruby)? })
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
        let _ = self.common.writer.send(&WorkerMessage::Ping { pid: own_pid(ruby)?, stats });
        Ok(())
    }

    fn enter(&self, state: WorkerState) {
        if let Some(telemetry) = &self.told_in {
            telemetry.enter(state);
        }
    }

    fn send(&self, ruby: &Ruby, message: WorkerMessage) -> Result<(), Error> {
        for _ in 0..TRIES {
            match self.common.writer.send(&message) {
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

    /// Returns what comes next: `:question` when somebody asks where the threads are, `:goodbye` (once) when the clients are
    /// to be told that their connections end, `:gone` when the master is gone.
    fn hear_master(ruby: &Ruby, this: Obj<Self>) -> Result<Symbol, Error> {
        let (lifeline, welcome) = (Arc::clone(&this.common.lifeline), Arc::clone(&this.common.welcome));
        let bell = Bell::new().map_err(|failure| error::system(ruby, &failure))?;
        // Without one nobody can ask, but the master's end must be noticed.
        let listener = this.listener().ok();
        let mut others = vec![lifeline.as_fd()];
        others.extend(listener.as_deref().map(AsFd::as_fd));
        if !this.has_said_goodbye.get() {
            others.push(welcome.as_fd());
        }
        while !lifeline.is_cut() {
            without_gvl(|| bell.wait(&others, None), &|| bell.ring());
            bell.stop();
            ruby.thread_check_ints()?;
            if let Some(listener) = listener.as_deref().filter(|listener| listener.is_asked()) {
                this.asked_at.set(listener.begin());
                return Ok(ruby.to_symbol("question"));
            }
            if !this.has_said_goodbye.get() && welcome.is_cut() {
                this.has_said_goodbye.set(true);
                return Ok(ruby.to_symbol("goodbye"));
            }
        }
        Ok(ruby.to_symbol("gone"))
    }

    /// Answers the `:question` that was heard last.
    fn answer(ruby: &Ruby, this: &Self, text: RString) -> Result<(), Error> {
        let text = text.to_string()?;
        let pid = own_pid(ruby)?.as_raw();
        let answered = this
            .listener()
            .and_then(|listener| listener.answer(this.place.0, pid, this.asked_at.get(), text.as_bytes()));
        answered.map_err(|failure| error::system(ruby, &failure))
    }

    fn listener(&self) -> io::Result<Arc<Listener>> {
        if let Some(listener) = &*self.listener.borrow() {
            return Ok(Arc::clone(listener));
        }
        let listener = Arc::new(Listener::new(&self.common.backtraces)?);
        self.listener.replace(Some(Arc::clone(&listener)));
        Ok(listener)
    }

    /// The next thing that worker 0 or the mold is to do: `:promote`, `:pause`, `:resume`, `:resume_after_refork` or, to fork a worker, its
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
                Ok(Some(ForkCommand::Promote)) => "promote",
                Ok(Some(ForkCommand::Pause)) => "pause",
                Ok(Some(ForkCommand::Resume { after_refork: false })) => "resume",
                Ok(Some(ForkCommand::Resume { after_refork: true })) => "resume_after_refork",
                Ok(None) => "leave",
            };
            return Ok(ruby.to_symbol(name).into_value_with(ruby));
        }
    }
}

/// The pipe by which this process hears commands. It can do without, if no descriptor is left.
fn hand_over_pipe(post: &PostWriter) -> Option<CommandReader> {
    let pid = i32::try_from(std::process::id()).ok().and_then(Pid::new)?;
    let (reader, writer) = fork_pipe().ok()?;
    post.hand_over(pid, &writer).ok().map(|()| reader)
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
    class.define_method("promotable?", method!(Worker::is_promotable, 0))?;
    class.define_method("promoted", method!(Worker::promoted, 0))?;
    class.define_method("molded", method!(Worker::molded, 0))?;
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
    class.define_method("answer", method!(Worker::answer, 1))?;
    class.define_method("hear_master", method!(Worker::hear_master, 0))?;
    class.define_method("next_command", method!(Worker::next_command, 0))?;
    Ok(())
}
