//! `Rserve::Native::Telemetry`: what operators see of the server, in memory that all of its processes share.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use magnus::{Class, DataTypeFunctions, Error, Module, Object, RModule, Ruby, TypedData, function, method};
use rserve_core::cluster::{Index, Phase, PlaceId};
use rserve_core::config::options;
use rserve_core::metrics::{self, Exposition, Format};
use rserve_core::telemetry::{RestartResult, ServerSection, Telemetry as Shared, Worker};

use crate::core::thread_events;
use crate::vm::error;

/// See the module.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::Telemetry", free_immediately)]
pub(crate) struct Telemetry {
    shared: Shared,
    cluster: bool,
    exposition: RefCell<Exposition>,
}

impl DataTypeFunctions for Telemetry {}

impl Telemetry {
    /// Of the calling process: a cluster's master, or the one process of single mode.
    fn new(ruby: &Ruby, cluster: bool, worker_timeout: f64) -> Result<Self, Error> {
        let shared = Shared::new().map_err(|failure| error::system(ruby, &failure))?;
        let server = shared.server();
        server.begin(cluster, thread_events::ARE_TOLD);
        let timeout: Duration = options::seconds(worker_timeout);
        server.set_worker_timeout(timeout);
        Ok(Self { shared, cluster, exposition: RefCell::default() })
    }

    /// The memory itself.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// For single mode: this process has the first place, and the server's section.
    pub(crate) fn alone(&self) -> (Option<Worker>, ServerSection) {
        self.shared.prepare(PlaceId(0), Index(0), Phase(0));
        (self.shared.worker(PlaceId(0)), self.shared.server())
    }

    /// The process that it is of is another one now (`Process.daemon`).
    fn follow_fork(&self) {
        self.shared.server().begin(self.cluster, thread_events::ARE_TOLD);
    }

    /// It is one of a keeper's generations, and so have the restarts gone so far: in the order of [`RestartResult`].
    fn tell_restarts(&self, generation: u64, results: Vec<u64>) {
        let mut counts = [0; RestartResult::COUNT];
        counts.iter_mut().zip(results).for_each(|(count, result)| *count = result);
        self.shared.server().set_generation(generation);
        self.shared.server().set_restarts(&counts);
    }

    /// The descriptor by which a program that is executed can have it.
    fn fileno(&self) -> i32 {
        self.shared.as_fd().as_raw_fd()
    }

    /// The metrics, as somebody reads them who sends this `Accept`: media type and text.
    fn metrics(&self, accept: String) -> (&'static str, String) {
        let format = Format::accepted(accept.as_bytes());
        (format.media_type(), self.exposition.borrow_mut().text(&self.shared, format))
    }

    /// What each thread does, as JSON.
    fn threads(&self) -> String {
        metrics::threads(&self.shared.read())
    }
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Telemetry", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("new", function!(Telemetry::new, 2))?;
    class.define_method("follow_fork", method!(Telemetry::follow_fork, 0))?;
    class.define_method("tell_restarts", method!(Telemetry::tell_restarts, 2))?;
    class.define_method("fileno", method!(Telemetry::fileno, 0))?;
    class.define_method("metrics", method!(Telemetry::metrics, 1))?;
    class.define_method("threads", method!(Telemetry::threads, 0))?;
    Ok(())
}
