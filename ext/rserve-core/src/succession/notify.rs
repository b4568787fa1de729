//! Messages to systemd (sd_notify(3)): only the process that it knows as the main one is heard, and that is the keeper.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::time::{ClockId, clock_gettime};

use super::Notification;

/// Where systemd hears us; without it nothing is sent.
#[derive(Debug)]
pub(super) struct Systemd(Option<SocketAddr>);

impl Systemd {
    /// As `NOTIFY_SOCKET` has it.
    pub(super) fn of_environment() -> Self {
        let path = std::env::var("NOTIFY_SOCKET").ok();
        Self(path.and_then(|path| address(&path).ok()))
    }

    /// Tells it; that it cannot be reached is no error of the server's.
    pub(super) fn tell(&self, text: &str) {
        if let Some(address) = &self.0
            && let Err(failure) =
                UnixDatagram::unbound().and_then(|it| it.send_to_addr(text.as_bytes(), address))
        {
            tracing::debug!(%failure, "systemd");
        }
    }
}

fn address(path: &str) -> io::Result<SocketAddr> {
    match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }
}

impl Notification {
    /// As systemd has it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Ready(None) => "READY=1".into(),
            Self::Ready(Some(line)) => format!("READY=1\nSTATUS={line}"),
            Self::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()),
            Self::Stopping => "STOPPING=1".into(),
        }
    }
}

fn monotonic_usec() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000)
}
