//! `Rserve::Native::Core`: one server as Ruby sees it. Its methods are the loops of Ruby's threads, and [`serve`] what
//! they do with a request; everything that is decided in them is decided in `rserve-core`.

mod body_file;
mod checked;
pub(crate) mod client;
pub(crate) mod early_hints;
pub(crate) mod env;
mod hash_places;
mod input;
mod prototype;
pub(crate) mod request_timeout;
mod response;
mod serve;
pub(crate) mod stream;
pub(crate) mod thread_events;
mod writer;

use std::cell::{Cell, RefCell};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Instant;

use magnus::value::{Opaque, ReprValue};
use magnus::{
    Class, DataTypeFunctions, Error, Module, Object, RArray, RHash, RModule, Ruby, Symbol, TryConvert,
    TypedData, Value, function, gc, method, typed_data::Obj,
};
use rserve_core::server::{Manage, Next, Notice, Pump, Server, ServerStats, Status};
use rserve_core::telemetry::{ServerPhase, ServerSection};
use rserve_http1::Spelling;

use self::env::EnvBuilder;
use self::request_timeout::Timed;
use self::thread_events::{Presence, PresenceHook};
use crate::cluster::worker::Worker;
use crate::figures;
use crate::settings;
use crate::telemetry::Telemetry;
use crate::tls::TlsContext;
use crate::vm::gvl::{wipe_stack, without_gvl};
use crate::vm::{error, garbage, protect};

/// See the module.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::Core", free_immediately, mark)]
pub(crate) struct Core {
    server: Arc<Server>,
    /// The `Rserve::Server` that it belongs to: everything that is Ruby's to say.
    handler: Opaque<Value>,
    app: Cell<Opaque<Value>>,
    env: EnvBuilder,
    early_hints: bool,
    /// Requests may say that they only wait (`max_io_threads`).
    io_bound: bool,
    out_of_band: bool,
    /// Full collections of garbage are kept out of requests (`gc :out_of_band`).
    collects: bool,
    /// How many collections there had been at the last look.
    collections: Cell<u64>,
    /// Which listeners ask clients for certificates.
    verifying: RefCell<Vec<bool>>,
    spelling: Spelling,
    presence_hook: RefCell<Option<PresenceHook>>,
    /// In single mode, where operators want to see what the server does.
    alone: RefCell<Option<ServerSection>>,
    timed: Timed,
}

impl DataTypeFunctions for Core {
    fn mark(&self, marker: &gc::Marker) {
        marker.mark(self.handler);
        marker.mark(self.app.get());
        self.env.mark(marker);
        self.timed.mark(marker);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Lets the monitor go; it holds no strong reference.
        self.server.halt();
    }
}

impl Core {
    fn new(ruby: &Ruby, handler: Value, app: Value, settings: RHash) -> Result<Self, Error> {
        let options = settings::server(ruby, settings)?;
        let (compat, io_bound) = (options.compat, options.max_io_threads > 0);
        let has_timeout = options.request_timeout.is_set();
        let spelling = if compat.spells_in_lower_case() { Spelling::Lower } else { Spelling::Title };
        let env = EnvBuilder::new(
            settings::remote_address(settings)?,
            compat,
            settings::flag(settings, "request_start")?,
        );
        let server = Server::new(options).map_err(|failure| error::system(ruby, &failure))?;
        let timed = Timed::new(&server, has_timeout);
        Ok(Self {
            server,
            handler: handler.into(),
            app: Cell::new(app.into()),
            env,
            early_hints: settings::flag(settings, "early_hints")?,
            io_bound,
            out_of_band: settings::flag(settings, "out_of_band")?,
            collects: settings::flag(settings, "collects")?,
            collections: Cell::new(0),
            verifying: RefCell::default(),
            spelling,
            presence_hook: RefCell::new(None),
            alone: RefCell::new(None),
            timed,
        })
    }

    /// Whether the application may name files for the server to send.
    pub(crate) fn sends_files(&self) -> bool {
        self.server.storage().is_some()
    }

    pub(crate) fn handler(&self, ruby: &Ruby) -> Value {
        ruby.get_inner(self.handler)
    }

    fn set_app(&self, app: Value) {
        self.app.set(app.into());
    }

    fn add_listener(
        ruby: &Ruby,
        this: &Self,
        fd: i32,
        prototype: RHash,
        tls: Option<Obj<TlsContext>>,
    ) -> Result<(), Error> {
        let tls = tls.map(|tls| tls.context());
        this.verifying.borrow_mut().push(tls.as_ref().is_some_and(|tls| tls.verifies()));
        this.server.add_listener(fd, tls).map_err(|failure| error::system(ruby, &failure))?;
        this.env.add_prototype(prototype)
    }

    /// Connections that the keeper passes in; `held` keeps the listeners that are added after it closed.
    fn add_door(ruby: &Ruby, this: &Self, fd: i32, prototype: RHash, held: bool) -> Result<(), Error> {
        this.verifying.borrow_mut().push(false);
        this.server.add_door(fd, held).map_err(|failure| error::system(ruby, &failure))?;
        this.env.add_prototype(prototype)
    }

    /// Takes connections by all listeners.
    fn open(&self) {
        self.server.open();
    }

    /// Shares the listeners with the other workers of a cluster.
    fn balance(&self, worker: Obj<Worker>) {
        if let Some(gate) = worker.gate() {
            self.server.add_gate(gate);
        }
    }

    /// Operators see what it does, in the place of a worker, or in single mode in the first one.
    fn tell_in(&self, place: Value) -> Result<(), Error> {
        let told_in = match <Obj<Worker>>::try_convert(place) {
            Ok(worker) => worker.told_in(),
            Err(_) => {
                let telemetry = <Obj<Telemetry>>::try_convert(place)?;
                let (worker, server) = telemetry.alone();
                self.alone.replace(Some(server));
                worker
            }
        };
        if let Some(worker) = told_in {
            self.server.tell_in(worker);
        }
        Ok(())
    }

    fn enter(&self, phase: ServerPhase) {
        if let Some(server) = &*self.alone.borrow() {
            server.enter(phase);
        }
    }

    fn start(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        this.presence_hook.replace(Some(PresenceHook::install(&this.server)));
        this.server.start().map_err(|failure| error::system(ruby, &failure))?;
        if let Some(server) = &*this.alone.borrow() {
            server.has_booted();
        }
        Ok(())
    }

    /// The loop of a pool thread; returns when the thread is to end.
    fn work(ruby: &Ruby, this: Obj<Self>) -> Result<(), Error> {
        let server = Arc::clone(&this.server);
        let seat = server.seat();
        let presence = Presence::of_this_thread(ruby, &server, &seat);
        loop {
            match server.next(&seat) {
                Next::Serve(lease, ref mut request) => {
                    let served = {
                        let _serving = (!seat.serves_large()).then(|| presence.serving());
                        this.serve(ruby, lease, request)
                    };
                    server.served(&seat);
                    served?;
                    if this.collects {
                        Self::look_at_garbage(ruby, &this)?;
                    }
                    if server.others_busy() {
                        // A thread that was preempted in the middle of a request goes first.
                        protect::thread_schedule()?;
                    }
                }
                Next::Wait if server.collection_pending() && Self::collects_idle(ruby, &this)? => {}
                Next::Wait if this.out_of_band && server.hold() => {
                    let outcome: Result<Value, Error> = this.handler(ruby).funcall("out_of_band", ());
                    server.resume();
                    outcome?;
                }
                Next::Wait => {
                    wipe_stack();
                    without_gvl(|| server.wait(&seat), &|| server.interrupt(&seat));
                    server.take_interrupt(&seat);
                }
                Next::Leave => return Ok(()),
            }
            ruby.thread_check_ints()?;
        }
    }

    /// A descriptor that can be read when the pump has something to do; `nil` without fibers. It is the caller's.
    fn fiber_bell(ruby: &Ruby, this: &Self) -> Result<Option<i32>, Error> {
        let bell = this.server.fiber_bell().map(|bell| bell.try_clone_to_owned()).transpose();
        bell.map(|bell| bell.map(IntoRawFd::into_raw_fd)).map_err(|failure| error::system(ruby, &failure))
    }

    /// What the pump, the fiber that begins the others, does next: `:begin` (have one call `serve_in_fiber`), `:interrupt`
    /// (those that `take_gone` names), `:wait` (for the bell, then call `pump_waited`), `:pause` or `:leave`.
    fn pump(ruby: &Ruby, this: &Self) -> Symbol {
        ruby.to_symbol(match this.server.pump() {
            Pump::Begin => "begin",
            Pump::Interrupt => "interrupt",
            Pump::Wait => "wait",
            Pump::Pause => "pause",
            Pump::Leave => "leave",
        })
    }

    fn pump_waited(&self) {
        self.server.pump_waited();
    }

    fn rouse_pump(&self) {
        self.server.rouse_pump();
    }

    /// Numbers of fibers whose clients are gone for certain, by the pump.
    fn take_gone(ruby: &Ruby, this: &Self) -> RArray {
        ruby.ary_from_iter(this.server.take_gone())
    }

    /// Serves one request, if there is one, in the calling fiber, which has this number; 0 if it is not to be named by
    /// `take_gone`.
    fn serve_in_fiber(ruby: &Ruby, this: Obj<Self>, fiber: u64) -> Result<(), Error> {
        let server = Arc::clone(&this.server);
        let Some((lease, mut request)) = server.begin_in_fiber(fiber) else { return Ok(()) };
        let served = this.serve(ruby, lease, &mut request);
        server.served_in_fiber();
        served?;
        if this.collects { Self::look_at_garbage(ruby, &this) } else { Ok(()) }
    }

    /// A request is over: whether garbage is to be collected before long is looked at when some has been.
    fn look_at_garbage(ruby: &Ruby, this: &Obj<Self>) -> Result<(), Error> {
        let collections = garbage::collections();
        if this.collections.replace(collections) == collections {
            return Ok(());
        }
        Self::weigh_garbage(ruby, this).map(drop)
    }

    /// Nobody waits; whether it has collected.
    fn collects_idle(ruby: &Ruby, this: &Obj<Self>) -> Result<bool, Error> {
        if !this.server.hold_idle() {
            return Ok(false);
        }
        let outcome = Self::weigh_garbage(ruby, this);
        this.server.resume();
        outcome
    }

    /// Collects in full if that is needed, and if now is the time for it; whether it has.
    fn weigh_garbage(ruby: &Ruby, this: &Obj<Self>) -> Result<bool, Error> {
        let handler = this.handler(ruby);
        let (asked, growth) = handler.funcall::<_, _, (bool, u32)>("garbage", ())?;
        let began = Instant::now();
        let collects = this.server.weigh_collection(asked, growth, began);
        if collects {
            let outcome: Result<Value, Error> = handler.funcall("collect_garbage", ());
            this.collections.set(garbage::collections());
            this.server.collected(Some(began.elapsed()));
            outcome?;
        }
        Ok(collects)
    }

    /// As after a request, by the managing thread: one may go on for long.
    fn tick_garbage(ruby: &Ruby, this: Obj<Self>) -> Result<(), Error> {
        if this.server.collection_pending() {
            Self::weigh_garbage(ruby, &this)?;
        }
        Ok(())
    }

    /// A pool thread has ended, in whatever way.
    fn leave(&self) {
        self.server.leave();
    }

    /// The thread that `:spawn` asked for cannot be made.
    fn spawn_failed(&self) {
        self.server.spawn_failed();
    }

    /// The managing thread's loop, up to the next thing that Ruby must do: `:spawn`, `:idle`, `:busy`, `:log`,
    /// `:late`, `:drain` or `:done`;
    /// `:tick` when there was nothing for `limit` seconds.
    fn manage(ruby: &Ruby, this: Obj<Self>, limit: f64) -> Result<Symbol, Error> {
        let server = Arc::clone(&this.server);
        let until = Instant::now() + rserve_core::config::options::seconds(limit);
        if let Some(server) = &*this.alone.borrow() {
            server.beat();
        }
        loop {
            match server.manage() {
                Manage::Spawn => return Ok(ruby.to_symbol("spawn")),
                Manage::IdleTimeout => return Ok(ruby.to_symbol("idle")),
                Manage::Drain => return Ok(ruby.to_symbol("drain")),
                Manage::Late => return Ok(ruby.to_symbol("late")),
                Manage::IdleOver => return Ok(ruby.to_symbol("busy")),
                Manage::Done => return Ok(ruby.to_symbol("done")),
                Manage::Wait => {
                    if server.has_notices() {
                        return Ok(ruby.to_symbol("log"));
                    }
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(ruby.to_symbol("tick"));
                    }
                    without_gvl(|| server.manage_wait(left), &|| server.interrupt_manager());
                }
            }
            ruby.thread_check_ints()?;
        }
    }

    /// What is to be logged: messages; of a request that did not come in time `[message, peer's address]`, of failed TLS
    /// `[message, peer's address, DER of a certificate or nil]`; `[message]` of what hangs in the application,
    /// `[:given_up, message]` when the server has answered in its place.
    fn notices(ruby: &Ruby, this: &Self) -> RArray {
        let text = |text: String| ruby.str_new(&text).as_value();
        let notices = this.server.take_notices().into_iter().map(|notice| {
            let message = text(notice.to_string());
            let peer = notice.peer().map(|ip| text(ip.to_string()));
            match (notice, peer) {
                (Notice::TlsFailed(_, fault), peer) => {
                    let certificate = fault.certificate.map(|der| ruby.str_from_slice(&der));
                    ruby.into_value((message, peer, certificate))
                }
                (Notice::GivenUp(_), _) => ruby.into_value((ruby.to_symbol("given_up"), message)),
                (Notice::Stalled(_), _) => ruby.into_value((message,)),
                (_, Some(peer)) => ruby.into_value((message, peer)),
                (_, None) => message,
            }
        });
        ruby.ary_from_iter(notices)
    }

    fn retire(&self) {
        self.enter(ServerPhase::Draining);
        self.server.retire();
    }

    fn drain(&self) {
        self.enter(ServerPhase::Stopping);
        self.server.drain();
    }

    fn halt(&self) {
        self.enter(ServerPhase::Stopping);
        self.server.halt();
    }

    /// Gives up every connection whose request is not complete, and every response that is not read.
    fn evict(&self) {
        self.server.evict();
    }

    fn join(&self) {
        self.presence_hook.replace(None);
        let server = &self.server;
        if without_gvl(|| server.join(), &|| {}).is_none() {
            server.join();
        }
    }

    fn trim(&self, force: bool) {
        self.server.trim(force);
    }

    fn resize(&self, min: usize, max: usize) {
        self.server.resize(min, max);
    }

    fn is_running(&self) -> bool {
        matches!(self.server.status(), Status::Running | Status::Retiring)
    }

    /// The figures, as a reading.
    pub(crate) fn take_reading(&self) -> ServerStats {
        self.server.take_stats()
    }

    fn take_stats(ruby: &Ruby, this: &Self) -> Result<RHash, Error> {
        figures::to_hash(ruby, &this.take_reading())
    }

    fn stats(ruby: &Ruby, this: &Self) -> Result<RHash, Error> {
        figures::to_hash(ruby, &this.server.stats())
    }
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Core", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("new", function!(Core::new, 3))?;
    class.define_method("app=", method!(Core::set_app, 1))?;
    class.define_method("add_listener", method!(Core::add_listener, 3))?;
    class.define_method("add_door", method!(Core::add_door, 3))?;
    class.define_method("open", method!(Core::open, 0))?;
    class.define_method("balance", method!(Core::balance, 1))?;
    class.define_method("tell_in", method!(Core::tell_in, 1))?;
    class.define_method("start", method!(Core::start, 0))?;
    class.define_method("work", method!(Core::work, 0))?;
    class.define_method("fiber_bell", method!(Core::fiber_bell, 0))?;
    class.define_method("pump", method!(Core::pump, 0))?;
    class.define_method("pump_waited", method!(Core::pump_waited, 0))?;
    class.define_method("rouse_pump", method!(Core::rouse_pump, 0))?;
    class.define_method("serve_in_fiber", method!(Core::serve_in_fiber, 1))?;
    class.define_method("take_gone", method!(Core::take_gone, 0))?;
    class.define_method("tick_garbage", method!(Core::tick_garbage, 0))?;
    class.define_method("leave", method!(Core::leave, 0))?;
    class.define_method("spawn_failed", method!(Core::spawn_failed, 0))?;
    class.define_method("manage", method!(Core::manage, 1))?;
    class.define_method("notices", method!(Core::notices, 0))?;
    class.define_method("retire", method!(Core::retire, 0))?;
    class.define_method("take_late", method!(Core::take_late, 0))?;
    class.define_method("hung_threads", method!(Core::hung_threads, 0))?;
    class.define_method("drain", method!(Core::drain, 0))?;
    class.define_method("halt", method!(Core::halt, 0))?;
    class.define_method("evict", method!(Core::evict, 0))?;
    class.define_method("join", method!(Core::join, 0))?;
    class.define_method("trim", method!(Core::trim, 1))?;
    class.define_method("resize", method!(Core::resize, 2))?;
    class.define_method("running?", method!(Core::is_running, 0))?;
    class.define_method("stats", method!(Core::stats, 0))?;
    class.define_method("take_stats", method!(Core::take_stats, 0))?;
    Ok(())
}
