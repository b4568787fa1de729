//! What a generation's configuration says about its restart.

use std::path::PathBuf;
use std::time::Duration;

/// How a generation is asked whether it is ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ready {
    /// What it is asked for; a response below 400 counts.
    pub path: String,
    /// How long it may take after it has booted.
    pub timeout: Duration,
    /// How often it is asked.
    pub interval: Duration,
}

/// See the module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How many workers it is to have in the end.
    pub workers: u32,
    /// How many of them are started, and ended, at a time.
    pub step: u32,
    /// How long it may take to boot.
    pub boot_timeout: Duration,
    /// Without it, it is ready when its workers have booted.
    pub ready: Option<Ready>,
    /// How long it must live, ready, before it serves.
    pub settle: Duration,
    /// How long its requests may take when another one has taken over.
    pub drain: Duration,
    /// Where the keeper's pid stands.
    pub pidfile: Option<PathBuf>,
}

impl Settings {
    /// How many workers a generation begins with that has to prove itself.
    pub fn first_step(&self) -> u32 {
        self.step.clamp(1, self.workers.max(1))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 1,
            step: 1,
            boot_timeout: Duration::from_secs(60),
            ready: None,
            settle: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            pidfile: None,
        }
    }
}
