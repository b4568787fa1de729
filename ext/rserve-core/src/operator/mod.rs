//! The operator's port (`health_bind`): whether the server lives and is ready, its figures and what its threads do, over
//! HTTP, without Ruby. In single mode a native thread of the server's serves it, in a cluster a process of its own, which
//! only reads the memory that the server's processes write ([`crate::telemetry`]): whatever blocks them, it answers.

mod answer;
mod backtraces;
mod client;
mod desk;
mod permission;
mod port;
mod settings;
mod status;
mod thread;
pub mod verdict;

pub use answer::{Answer, Inquiry, Reply, Request};
pub use desk::TelemetryDesk;
pub use port::{Desk, MOST, Port};
pub use settings::Settings;
pub use thread::PortThread;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::backtraces::Backtraces;
use crate::sys::own;
use crate::telemetry::Telemetry;

/// Serves in a process of its own until `settings.end` is readable, on descriptors that it was started with and that are
/// nobody else's.
///
/// # Errors
///
/// One of them is missing, or is not what it should be.
pub fn serve(settings: Settings) -> io::Result<()> {
    let inherited = |fd: Option<RawFd>| own(fd.unwrap_or(-1));
    let end = inherited(settings.end)?;
    let telemetry = Telemetry::open(inherited(settings.telemetry)?)?;
    let backtraces = match (settings.bell, settings.answers) {
        (Some(bell), Some(answers)) => Some(Arc::new(Backtraces::open(own(bell)?, own(answers)?))),
        _ => None,
    };
    let listeners = settings.listeners.iter().map(|fd| own(*fd)).collect::<io::Result<Vec<OwnedFd>>>()?;
    let port = Port::new(listeners.iter().map(AsRawFd::as_raw_fd))?;
    drop(listeners);
    // From here on this process answers, and the one before it may go.
    if settings.former.is_some() {
        drop(inherited(settings.former)?);
    }
    port.serve(&mut TelemetryDesk::new(telemetry, backtraces, settings), end.as_fd())
}
