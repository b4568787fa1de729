//! The port of single mode: a thread of the server's own process.

use std::io::{self, PipeWriter, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Desk, Port};
use crate::sys::{forks, native_thread};

/// See the module. In a process that is forked from its own it does nothing.
pub struct PortThread {
    running: Mutex<Option<(PipeWriter, JoinHandle<()>)>>,
    home: u32,
}

impl PortThread {
    /// Begins to serve.
    ///
    /// # Errors
    ///
    /// There can be no further thread, or no descriptor.
    pub fn start(port: Port, mut desk: Box<dyn Desk + Send>) -> io::Result<Self> {
        forks::watch();
        let (reader, writer) = io::pipe()?;
        let thread = native_thread("rserve operator", move || {
            if let Err(failure) = port.serve(&mut *desk, reader.as_fd()) {
                tracing::error!(%failure, "the operator's port has ended");
            }
        })?;
        Ok(Self { running: Mutex::new(Some((writer, thread))), home: forks::generation() })
    }

    /// Ends it; who has begun a request is answered. May take half a second: to be called without the GVL.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut writer, thread)) = running else { return };
        if self.home == forks::generation() {
            // Not by closing alone: a child of this process may have a copy.
            let _ = writer.write_all(b"\n");
            let _ = thread.join();
        }
    }
}
