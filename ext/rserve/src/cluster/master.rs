//! `Rserve::Native::Master`: the loop of a cluster's master. What happens is told to the supervisor of `rserve-core`,
//! and what that decides is carried out here or by a Ruby object, `Rserve::Cluster`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use magnus::value::{Opaque, ReprValue};
use magnus::{
    Class, DataTypeFunctions, Error, Integer, Module, Object, RArray, RHash, RModule, RString, Ruby, Symbol,
    TryConvert, TypedData, Value, function, gc, method, typed_data::Obj,
};
use rserve_core::backtraces::Backtraces;
use rserve_core::cluster::balance::Board;
use rserve_core::cluster::link::ipc::{ForkCommand, WorkerMessage};
use rserve_core::cluster::link::pipes::{
    CommandReader, CommandWriter, Lifeline, MasterLives, MessageReader, MessageWriter, fork_pipe, lifeline,
    worker_pipe,
};
use rserve_core::cluster::link::post::{PostReader, PostWriter, post};
use rserve_core::cluster::master::{
    Command, Effect, Event, ExitReason, ExitStatus, Inbox, LifecycleEvent, LogLine, Signal, SpawnVia,
    Supervisor, Unclaimed, WorkerHandle, signal,
};
use rserve_core::cluster::{Index, Phase, Pid, PlaceId};
use rserve_core::metrics::MemoryUse;
use rserve_core::telemetry::{RestartResult, ServerPhase, Telemetry};

use crate::backtraces::Backtraces as NativeBacktraces;
use crate::cluster::worker::{Common, Worker};
use crate::figures;
use crate::settings;
use crate::telemetry::Telemetry as Native;
use crate::vm::error;
use crate::vm::gvl::without_gvl;

/// See the module.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::Master", free_immediately, mark)]
pub(crate) struct Master {
    handler: Opaque<Value>,
    supervisor: RefCell<Supervisor>,
    inbox: Arc<Inbox>,
    /// A child ended, or may have: look which.
    look: AtomicBool,
    unclaimed: RefCell<Unclaimed>,
    /// Why the loop ends.
    outcome: Cell<Option<&'static str>>,
    /// What a forked worker must not keep.
    own: RefCell<Option<MasterEnds>>,
    writer: Arc<MessageWriter>,
    lifeline: Arc<Lifeline>,
    /// Cut when workers are to say goodbye to their clients.
    welcome: Arc<Lifeline>,
    /// Where workers hand over the pipes by which they can be told to be the mold; `None` if none is to be.
    post: Option<Arc<PostWriter>>,
    /// For the next worker 0 to take along.
    fork_commands: RefCell<Option<CommandReader>>,
    /// Where the next worker shows its figures.
    next_place: Cell<PlaceId>,
    board: Board,
    telemetry: Option<Telemetry>,
    /// The handler has something to do between two rounds.
    errand: AtomicBool,
    /// How many workers there are, and how many have booted, as the handler was told; `None` if it does not ask.
    staff: Option<Cell<(usize, usize)>>,
    backtraces: Arc<Backtraces>,
}

/// The master's ends of the pipes.
struct MasterEnds {
    reader: MessageReader,
    mold: Option<CommandWriter>,
    /// To the mold's successor.
    next_mold: Option<CommandWriter>,
    /// What workers hand over.
    post: Option<PostReader>,
    /// To each worker that has.
    commands: HashMap<Pid, CommandWriter>,
    _lives: MasterLives,
    welcomes: Option<MasterLives>,
}

impl MasterEnds {
    /// What workers have handed over is taken. A worker does that before it says anything else.
    fn take_post(&mut self) -> &mut Self {
        if let Some(post) = &self.post {
            self.commands.extend(post.receive());
        }
        self
    }
}

impl DataTypeFunctions for Master {
    fn mark(&self, marker: &gc::Marker) {
        marker.mark(self.handler);
    }
}

impl Master {
    fn new(ruby: &Ruby, handler: Value, options: RHash) -> Result<Self, Error> {
        let telemetry = settings::get::<Obj<Native>>(options, "telemetry")?.map(|it| it.shared().clone());
        let staff = settings::reports_staff(options)?.then(Cell::default);
        let backtraces = settings::get::<Obj<NativeBacktraces>>(options, "backtraces")?;
        let backtraces = backtraces.ok_or_else(|| error::bug(ruby, "a master without backtraces"))?;
        let options = settings::cluster(options)?;
        let make = || {
            let (reader, writer) = worker_pipe()?;
            let (post_reader, post_writer) = if options.refork_after.is_empty() {
                (None, None)
            } else {
                post().map(|(r, w)| (Some(r), Some(w)))?
            };
            let (life, lives) = lifeline()?;
            let (welcome, welcomes) = lifeline()?;
            let own = MasterEnds {
                reader,
                mold: None,
                next_mold: None,
                post: post_reader,
                commands: HashMap::new(),
                _lives: lives,
                welcomes: Some(welcomes),
            };
            Ok(Self {
                handler: handler.into(),
                supervisor: RefCell::new(Supervisor::new(options)),
                inbox: Arc::new(Inbox::new()?),
                look: AtomicBool::new(false),
                unclaimed: RefCell::default(),
                outcome: Cell::new(None),
                own: RefCell::new(Some(own)),
                writer: Arc::new(writer),
                lifeline: Arc::new(life),
                welcome: Arc::new(welcome),
                post: post_writer.map(Arc::new),
                fork_commands: RefCell::new(None),
                next_place: Cell::new(PlaceId(0)),
                board: Board::new()?,
                telemetry: telemetry.clone(),
                errand: AtomicBool::new(false),
                staff,
                backtraces: Arc::clone(backtraces.shared()),
            })
        };
        make().map_err(|failure: std::io::Error| error::system(ruby, &failure))
    }

    /// Starts the workers and looks after them until the end: `:restart` when the caller is to execute itself anew,
    /// `:stop`, `:terminate` or `:halt` when it is to end.
    fn run(ruby: &Ruby, this: Obj<Self>) -> Result<Symbol, Error> {
        this.tell(ruby, Event::Start)?;
        loop {
            if let Some(outcome) = this.outcome.get() {
                // This process may go on; whatever is left of the workers must not.
                this.own.replace(None);
                return Ok(ruby.to_symbol(outcome));
            }
            this.show();
            this.turn(ruby)?;
        }
    }

    /// Shows operators how the whole is.
    fn show(&self) {
        let Some(telemetry) = &self.telemetry else { return };
        let (server, supervisor) = (telemetry.server(), self.supervisor.borrow());
        server.beat();
        server.set_workers(supervisor.asked());
        server.set_worker_phase(supervisor.phase());
        server.set_exits(supervisor.exits());
        supervisor.all_workers().for_each(|worker| telemetry.set_phase(worker.place(), worker.phase()));
        if supervisor.workers().any(WorkerHandle::is_booted) {
            server.has_booted();
        }
    }

    /// One round: wait; then messages, commands, exits, and at last the time. In this order a ping that waited in the
    /// pipe while the master was suspended still counts.
    fn turn(&self, ruby: &Ruby) -> Result<(), Error> {
        let deadline = self.supervisor.borrow().next_deadline(Instant::now());
        let deadline = self.unclaimed.borrow().next_look().map_or(deadline, |at| at.min(deadline));
        self.wait(ruby, deadline)?;
        ruby.thread_check_ints()?;

        let messages = match &mut *self.own.borrow_mut() {
            Some(own) => own.take_post().reader.read().map_err(|failure| error::system(ruby, &failure))?,
            None => return Err(error::bug(ruby, "the master's loop in a worker")),
        };
        for message in messages {
            match message {
                Ok(message) => {
                    if message == WorkerMessage::WakeUp {
                        self.look.store(true, Ordering::Release);
                    }
                    self.tell(ruby, Event::Worker(message))?;
                }
                Err(malformed) => tracing::warn!(%malformed, "worker pipe"),
            }
        }
        for command in self.inbox.take() {
            self.tell(ruby, Event::Operator(command))?;
        }
        if self.errand.swap(false, Ordering::AcqRel) {
            self.handler(ruby).funcall::<_, _, Value>("run_errands", ())?;
        }
        let now = Instant::now();
        if self.look.swap(false, Ordering::AcqRel) || now >= deadline {
            self.reap(ruby)?;
        }
        self.tell(ruby, Event::Tick)
    }

    fn wait(&self, ruby: &Ruby, deadline: Instant) -> Result<(), Error> {
        let own = self.own.borrow();
        let Some(own) = own.as_ref() else { return Ok(()) };
        let inbox = &self.inbox;
        let mut others = vec![own.reader.as_fd()];
        others.extend(own.post.as_ref().map(AsFd::as_fd));
        match without_gvl(|| inbox.wait(&others, deadline), &|| inbox.ring()) {
            Some(Err(failure)) => Err(error::system(ruby, &failure)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn reap(&self, ruby: &Ruby) -> Result<(), Error> {
        let pids: Vec<Pid> = self.supervisor.borrow().all_workers().filter_map(WorkerHandle::pid).collect();
        for pid in pids {
            self.reap_one(ruby, pid)?;
        }
        let unclaimed = self.unclaimed.borrow_mut().look(Instant::now());
        unclaimed.map_or(Ok(()), |pid| self.reap_one(ruby, pid))
    }

    fn reap_one(&self, ruby: &Ruby, pid: Pid) -> Result<(), Error> {
        let ended: Value = self.handler(ruby).funcall("reap", (pid.as_raw(),))?;
        let Some(event) = exit_event(pid, ended)? else { return Ok(()) };
        let place = self
            .supervisor
            .borrow()
            .all_workers()
            .find(|worker| worker.pid() == Some(pid))
            .map(WorkerHandle::place);
        if let (Some(telemetry), Some(place)) = (&self.telemetry, place) {
            telemetry.vacate(place);
        }
        if let Some(own) = &mut *self.own.borrow_mut() {
            own.take_post().commands.remove(&pid);
        }
        self.tell(ruby, event)
    }

    /// Tells the supervisor what happened, and does what it says.
    fn tell(&self, ruby: &Ruby, event: Event) -> Result<(), Error> {
        let effects = self.supervisor.borrow_mut().handle(event, Instant::now());
        for effect in effects {
            self.carry_out(ruby, effect)?;
        }
        self.tell_staff(ruby)
    }

    fn tell_staff(&self, ruby: &Ruby) -> Result<(), Error> {
        let Some(told) = &self.staff else { return Ok(()) };
        let staff = {
            let supervisor = self.supervisor.borrow();
            (supervisor.workers().count(), supervisor.workers().filter(|worker| worker.is_booted()).count())
        };
        if told.replace(staff) != staff {
            self.handler(ruby).funcall::<_, _, Value>("staff", staff)?;
        }
        Ok(())
    }

    fn carry_out(&self, ruby: &Ruby, effect: Effect) -> Result<(), Error> {
        effect.tell();
        self.tell_operators(&effect);
        let handler = self.handler(ruby);
        let call = |name| handler.funcall::<_, _, Value>(name, ()).map(drop);
        match effect {
            Effect::Spawn { index, place, phase, via: SpawnVia::Master, successor } => {
                self.spawn(ruby, index, place, phase, successor)?;
            }
            Effect::Spawn { index, place, phase, via: SpawnVia::Mold, .. } => {
                self.prepare(index, place, phase);
                self.command_mold(ForkCommand::Fork(index, place));
            }
            Effect::SwitchMold => {
                if let Some(own) = &mut *self.own.borrow_mut() {
                    own.mold = own.next_mold.take();
                }
            }
            Effect::Promote { pid } => self.promote(pid),
            Effect::UseMold { pid } => {
                if let Some(own) = &mut *self.own.borrow_mut() {
                    own.mold = own.commands.remove(&pid);
                }
            }
            Effect::Measure { pid } => self.measure(ruby, pid)?,
            Effect::Vacate { place } => {
                self.board.vacate(place);
                if let Some(telemetry) = &self.telemetry {
                    telemetry.vacate(place);
                }
            }
            Effect::PauseMold => self.command_mold(ForkCommand::Pause),
            Effect::ResumeMold { after_refork } => self.command_mold(ForkCommand::Resume { after_refork }),
            Effect::Signal { pid, signal } => signal::send(pid, signal),
            Effect::Log(line) => {
                let text = line.to_string();
                if self.staff.is_some() && matches!(line, LogLine::Died { .. }) {
                    handler.funcall::<_, _, Value>("worker_died", (text.as_str(),))?;
                }
                handler.funcall::<_, _, Value>("log", (text,)).map(drop)?;
            }
            Effect::Fire(event) => {
                let event = ruby.to_symbol(match event {
                    LifecycleEvent::Booted => "booted",
                    LifecycleEvent::PhaseBegun => "phase_begun",
                    LifecycleEvent::PhaseBooted => "phase_booted",
                    LifecycleEvent::Stopped => "stopped",
                });
                handler.funcall::<_, _, Value>("fire", (event,)).map(drop)?;
            }
            Effect::RunAfterWorkerShutdown { index, place, pid, phase, .. } => {
                self.board.vacate(place);
                let worker = (index.0, pid.as_raw(), phase.0);
                handler.funcall::<_, _, Value>("after_worker_shutdown", worker).map(drop)?;
            }
            Effect::ChangeDirectory => call("change_directory")?,
            Effect::ReopenLogs => call("reopen_logs")?,
            Effect::Retire => {
                if let Some(own) = &mut *self.own.borrow_mut() {
                    own.welcomes = None;
                }
            }
            Effect::CloseListeners => call("close_listeners")?,
            Effect::AnnounceShutdown => call("announce_shutdown")?,
            // Named as Puma's, for gems that prepend theirs.
            Effect::AnnounceWorkersStop => call("stop_workers")?,
            Effect::Exec => self.outcome.set(Some("restart")),
            Effect::Exit(ExitReason::Halt) => self.outcome.set(Some("halt")),
            Effect::Exit(ExitReason::Stop) => self.outcome.set(Some("stop")),
            Effect::Exit(ExitReason::Terminate) => self.outcome.set(Some("terminate")),
        }
        Ok(())
    }

    fn tell_operators(&self, effect: &Effect) {
        let Some(telemetry) = &self.telemetry else { return };
        match effect {
            Effect::Retire => telemetry.server().enter(ServerPhase::Draining),
            Effect::AnnounceWorkersStop => telemetry.server().enter(ServerPhase::Stopping),
            Effect::Fire(LifecycleEvent::PhaseBooted) => {
                telemetry.server().count_restart(RestartResult::Completed);
            }
            _ => {}
        }
    }

    /// Has Ruby fork a worker. In the worker this never returns.
    fn spawn(
        &self,
        ruby: &Ruby,
        index: Index,
        place: PlaceId,
        phase: Phase,
        successor: bool,
    ) -> Result<(), Error> {
        self.prepare(index, place, phase);
        self.next_place.set(place);
        let forks = index == Index::MOLD && self.supervisor.borrow().can_refork();
        if forks {
            let (reader, writer) = fork_pipe().map_err(|failure| error::system(ruby, &failure))?;
            self.fork_commands.replace(Some(reader));
            if let Some(own) = &mut *self.own.borrow_mut() {
                *(if successor { &mut own.next_mold } else { &mut own.mold }) = Some(writer);
            }
        }
        let spawned: Value = self.handler(ruby).funcall("spawn", (index.0, phase.0))?;
        self.fork_commands.replace(None);
        let event = spawn_event(index, spawned)?;
        if let (Some(telemetry), Event::SpawnFailed { .. }) = (&self.telemetry, &event) {
            telemetry.vacate(place);
        }
        self.tell(ruby, event)
    }

    /// A worker is about to come.
    fn prepare(&self, index: Index, place: PlaceId, phase: Phase) {
        self.board.prepare(place);
        if let Some(telemetry) = &self.telemetry {
            telemetry.prepare(place, index, phase);
        }
    }

    /// How much memory a worker has: some milliseconds, for large ones.
    fn measure(&self, ruby: &Ruby, pid: Pid) -> Result<(), Error> {
        let memory = MemoryUse::of(pid.as_raw().unsigned_abs());
        self.tell(ruby, Event::Measured { pid, octets: memory.map(|memory| memory.pss) })
    }

    /// One that could not hand over a pipe, for want of descriptors, can be no mold: another one takes its place.
    fn promote(&self, pid: Pid) {
        if let Some(own) = &mut *self.own.borrow_mut() {
            let told = own.take_post().commands.get(&pid).map(|writer| writer.send(ForkCommand::Promote));
            if !matches!(told, Some(Ok(()))) {
                tracing::warn!(%pid, "a worker that was to be the mold cannot be told");
                signal::send(pid, Signal::Term);
            }
        }
    }

    /// Worker 0 may be gone, or stuck: the supervisor will notice.
    fn command_mold(&self, command: ForkCommand) {
        if let Some(MasterEnds { mold: Some(mold), .. }) = &*self.own.borrow()
            && let Err(failure) = mold.send(command)
        {
            tracing::debug!(?command, %failure, "worker 0 does not hear");
        }
    }

    fn handler(&self, ruby: &Ruby) -> Value {
        ruby.get_inner(self.handler)
    }

    // ---- for traps, other threads and the new worker ------------------------------------------------------------

    fn push(ruby: &Ruby, this: &Self, name: Symbol) -> Result<(), Error> {
        let command = match &*name.name()? {
            "add_worker" => Command::AddWorker,
            "halt" => Command::Halt,
            "phased_restart" => Command::PhasedRestart,
            "refork" => Command::Refork,
            "remove_worker" => Command::RemoveWorker,
            "reopen_logs" => Command::ReopenLogs,
            "restart" => Command::Restart,
            "stop" => Command::Stop,
            "terminate" => Command::Terminate,
            other => return Err(error::bug(ruby, &format!("no command {other}"))),
        };
        this.inbox.push(command);
        Ok(())
    }

    /// Has the loop call `run_errands`.
    fn errand(&self) {
        self.errand.store(true, Ordering::Release);
        self.inbox.ring();
    }

    /// CHLD: some child has ended.
    fn child_ended(&self) {
        self.look.store(true, Ordering::Release);
        self.inbox.ring();
    }

    /// To be called by the forked worker, once: what it has in common with its master. The rest is let go.
    fn worker(&self, index: u32) -> Worker {
        self.own.replace(None);
        let commands = self.fork_commands.take();
        let common = Common {
            writer: Arc::clone(&self.writer),
            lifeline: Arc::clone(&self.lifeline),
            welcome: Arc::clone(&self.welcome),
            board: self.board.clone(),
            telemetry: self.telemetry.clone(),
            backtraces: Arc::clone(&self.backtraces),
            post: self.post.clone(),
        };
        Worker::new((Index(index), self.next_place.get()), Some(self.phase()), commands, common)
    }

    // ---- what the workers tell when they are asked ----------------------------------------------------------------

    /// Of each worker its index, its pid, and what it says of its threads; nil when it says nothing for `seconds`.
    fn ask_for_backtraces(ruby: &Ruby, this: Obj<Self>, seconds: f64) -> Result<RArray, Error> {
        let known = |worker: &WorkerHandle| Some((worker.index(), worker.place().0, worker.pid()?.as_raw()));
        let workers: Vec<_> = this.supervisor.borrow().all_workers().filter_map(known).collect();
        let whom: Vec<(u32, i32)> = workers.iter().map(|(_, place, pid)| (*place, *pid)).collect();
        let backtraces = Arc::clone(&this.backtraces);
        let patience = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let asked = without_gvl(|| backtraces.ask(&whom, patience), &|| {});
        ruby.thread_check_ints()?;
        let answers =
            asked.unwrap_or_else(|| Ok(Vec::new())).map_err(|failure| error::system(ruby, &failure))?;
        let told = ruby.ary_new();
        for ((index, _, pid), answer) in workers.into_iter().zip(answers) {
            let text = answer.map(|octets| ruby.enc_str_new(octets, ruby.utf8_encoding()));
            told.push((index.0, pid, text))?;
        }
        Ok(told)
    }

    // ---- statistics ---------------------------------------------------------------------------------------------

    fn phase(&self) -> u32 {
        self.supervisor.borrow().phase().0
    }

    /// Every worker as a Hash; times are seconds since 1970.
    fn workers(ruby: &Ruby, this: &Self) -> Result<RArray, Error> {
        let supervisor = this.supervisor.borrow();
        let workers = ruby.ary_new();
        for worker in supervisor.workers() {
            workers.push(describe(ruby, worker)?)?;
        }
        Ok(workers)
    }
}

fn describe(ruby: &Ruby, worker: &WorkerHandle) -> Result<RHash, Error> {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let seconds = |at: Instant| {
        let ago = now.saturating_duration_since(at);
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        since.saturating_sub(ago).as_secs_f64()
    };
    let hash = ruby.hash_new();
    hash.aset(ruby.to_symbol("started_at"), seconds(worker.started_at()))?;
    hash.aset(ruby.to_symbol("pid"), worker.pid().map(Pid::as_raw))?;
    hash.aset(ruby.to_symbol("index"), worker.index().0)?;
    hash.aset(ruby.to_symbol("phase"), worker.phase().0)?;
    hash.aset(ruby.to_symbol("booted"), worker.is_booted())?;
    hash.aset(ruby.to_symbol("last_checkin"), seconds(worker.last_checkin()))?;
    let status = worker.last_status().map(|stats| figures::to_hash(ruby, stats)).transpose()?;
    hash.aset(ruby.to_symbol("last_status"), status)?;
    Ok(hash)
}

/// `spawned` is the new pid, or a String that says why there is none.
fn spawn_event(index: Index, spawned: Value) -> Result<Event, Error> {
    if let Some(reason) = RString::from_value(spawned) {
        return Ok(Event::SpawnFailed { index, reason: reason.to_string()? });
    }
    let ruby = Ruby::get_with(spawned);
    let pid = Pid::new(i32::try_convert(spawned)?).ok_or_else(|| error::bug(&ruby, "a fork without pid"))?;
    Ok(Event::Spawned { index, pid })
}

/// `ended` is nil for a process that lives, `true` for one that is gone without a trace, its exit status, or (a
/// negative number) the signal that it died by.
fn exit_event(pid: Pid, ended: Value) -> Result<Option<Event>, Error> {
    if ended.is_nil() {
        return Ok(None);
    }
    let Some(number) = Integer::from_value(ended) else { return Ok(Some(Event::Vanished { pid })) };
    let number = number.to_i32()?;
    let status = if number < 0 { ExitStatus::Signal(-number) } else { ExitStatus::Code(number) };
    Ok(Some(Event::Exited { pid, status }))
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Master", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("new", function!(Master::new, 2))?;
    class.define_method("run", method!(Master::run, 0))?;
    class.define_method("push", method!(Master::push, 1))?;
    class.define_method("child_ended", method!(Master::child_ended, 0))?;
    class.define_method("errand", method!(Master::errand, 0))?;
    class.define_method("worker", method!(Master::worker, 1))?;
    class.define_method("ask_for_backtraces", method!(Master::ask_for_backtraces, 1))?;
    class.define_method("phase", method!(Master::phase, 0))?;
    class.define_method("workers", method!(Master::workers, 0))?;
    Ok(())
}
