//! The operator's port: `Rserve::Native::OperatorPort`, a thread of single mode, and what a cluster's process for it runs.

use std::sync::Arc;

use magnus::{Class, DataTypeFunctions, Error, Module, Object, RModule, Ruby, TypedData, function, method};
use rserve_core::operator::{self, Port, PortThread, Settings, TelemetryDesk};

use crate::backtraces::Backtraces;
use crate::telemetry::Telemetry;
use crate::vm::error;
use crate::vm::gvl::without_gvl;

/// See the module.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::OperatorPort", free_immediately)]
pub(crate) struct OperatorPort {
    thread: PortThread,
}

impl DataTypeFunctions for OperatorPort {}

impl OperatorPort {
    /// Serves from now on, by a native thread.
    fn new(
        ruby: &Ruby,
        telemetry: &Telemetry,
        backtraces: Option<&Backtraces>,
        arguments: Vec<String>,
    ) -> Result<Self, Error> {
        let settings = parse(ruby, &arguments)?;
        let backtraces = backtraces.map(|it| Arc::clone(it.shared()));
        let start = || {
            let port = Port::new(settings.listeners.iter().copied())?;
            let desk = TelemetryDesk::new(telemetry.shared().clone(), backtraces, settings);
            PortThread::start(port, Box::new(desk))
        };
        Ok(Self { thread: start().map_err(|failure| error::system(ruby, &failure))? })
    }

    fn stop(&self) {
        if without_gvl(|| self.thread.stop(), &|| {}).is_none() {
            self.thread.stop();
        }
    }
}

/// Serves until the process is to end, with the GVL: there is no other thread.
fn serve(ruby: &Ruby, arguments: Vec<String>) -> Result<(), Error> {
    operator::serve(parse(ruby, &arguments)?).map_err(|failure| error::system(ruby, &failure))
}

fn parse(ruby: &Ruby, arguments: &[String]) -> Result<Settings, Error> {
    Settings::parse(arguments.iter().map(String::as_str))
        .map_err(|argument| error::bug(ruby, &format!("the operator's port does not know {argument}")))
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    native.define_singleton_method("serve_operator", function!(serve, 1))?;
    let class = native.define_class("OperatorPort", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("new", function!(OperatorPort::new, 3))?;
    class.define_method("stop", method!(OperatorPort::stop, 0))?;
    Ok(())
}
