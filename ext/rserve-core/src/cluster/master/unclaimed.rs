//! Children that have ended and that nobody waits for.

use std::time::{Duration, Instant};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::cluster::Pid;

/// How long somebody has to fetch a child's status. `waitpid(-1)` would take it away from who waits for that child:
/// from Ruby's `Process.detach`, from the application's own code.
const PATIENCE: Duration = Duration::from_secs(1);

/// Finds children of this process that stay zombies: a master that is a container's first process inherits every orphan.
#[derive(Debug, Default)]
pub struct Unclaimed {
    seen: Option<(Pid, Instant)>,
}

impl Unclaimed {
    /// A child that nobody has fetched for a second; the caller may have it. The master's own workers are to be reaped
    /// before.
    pub fn look(&mut self, now: Instant) -> Option<Pid> {
        let zombie = zombie();
        match (self.seen, zombie) {
            (Some((seen, since)), Some(pid)) if seen == pid => (now - since >= PATIENCE).then_some(pid),
            _ => {
                self.seen = zombie.map(|pid| (pid, now));
                None
            }
        }
    }

    /// When to look again, if there is a reason to.
    pub fn next_look(&self) -> Option<Instant> {
        self.seen.map(|(_, since)| since + PATIENCE)
    }
}

/// Any child that has ended; it stays what it is.
fn zombie() -> Option<Pid> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::All, flags) {
        Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => Pid::new(pid.as_raw()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn child_is_given_away_when_nobody_has_fetched_it_for_a_while() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        let mut unclaimed = Unclaimed::default();
        let start = Instant::now();
        // Other tests have children, too, but claim them.
        while unclaimed.look(Instant::now()) != Some(pid) {
            assert!(start.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
        assert!(start.elapsed() >= PATIENCE);
        assert!(child.wait().unwrap().success(), "still there for who claims it");
    }
}
