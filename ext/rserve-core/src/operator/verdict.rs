//! Whether a server lives and whether it should be sent requests, by what it tells of itself: pure.

use std::time::Duration;

use crate::telemetry::{ServerPhase, Snapshot, WorkerSnapshot, WorkerState};

/// Why a server should be restarted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stuck {
    /// The master's loop.
    Master,
    /// Every worker; in single mode the process.
    Workers,
}

impl Stuck {
    /// For operators.
    pub fn label(self) -> &'static str {
        match self {
            Self::Master => "master stuck",
            Self::Workers => "workers stuck",
        }
    }
}

/// Why a server should be sent no requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unready {
    /// The application is being loaded, or no worker serves yet.
    Booting,
    /// It is about to end.
    Draining,
    /// It has had more requests than threads for long.
    Saturated,
}

impl Unready {
    /// For operators.
    pub fn label(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Draining => "draining",
            Self::Saturated => "saturated",
        }
    }
}

/// What is stuck for longer than `worker_timeout`, if anything is that only a restart from outside can mend: one worker
/// of several is the master's business, and being busy is nobody's. What happened before `awake_since` says nothing: the
/// whole machine may have stood still.
pub fn stuck(snapshot: &Snapshot, awake_since: u64) -> Option<Stuck> {
    let server = &snapshot.server;
    if !matches!(server.phase, Some(ServerPhase::Running | ServerPhase::Draining | ServerPhase::Stopping)) {
        return None;
    }
    if server.cluster && is_silent(snapshot, server.heartbeat, awake_since) {
        return Some(Stuck::Master);
    }
    let mut workers = snapshot.present().filter(|worker| worker.state != WorkerState::Stopping).peekable();
    let stuck = |worker: &WorkerSnapshot| {
        worker.state == WorkerState::Ready && is_silent(snapshot, worker.heartbeat, awake_since)
    };
    (workers.peek().is_some() && workers.all(stuck)).then_some(Stuck::Workers)
}

/// Why it should be sent no requests now; `saturation` is how long it may be saturated, if there is a limit.
pub fn unready(snapshot: &Snapshot, saturation: Option<Duration>) -> Option<Unready> {
    match snapshot.server.phase {
        None | Some(ServerPhase::Booting) => return Some(Unready::Booting),
        Some(ServerPhase::Draining | ServerPhase::Stopping) => return Some(Unready::Draining),
        Some(ServerPhase::Running) => {}
    }
    let mut ready = snapshot.present().filter(|worker| worker.state == WorkerState::Ready).peekable();
    if ready.peek().is_none() {
        return Some(Unready::Booting);
    }
    let limit = u64::try_from(saturation?.as_millis()).unwrap_or(u64::MAX);
    // A worker that is stuck has no thread for anybody, whatever it said last.
    let full = |worker: &WorkerSnapshot| {
        worker.saturated_since.is_some_and(|since| snapshot.at.saturating_sub(since) >= limit)
            || is_silent(snapshot, worker.heartbeat, 0)
    };
    ready.all(full).then_some(Unready::Saturated)
}

fn is_silent(snapshot: &Snapshot, heartbeat: u64, awake_since: u64) -> bool {
    let timeout = snapshot.server.worker_timeout;
    timeout > 0 && snapshot.at.saturating_sub(heartbeat.max(awake_since)) > timeout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Index, Phase, PlaceId};
    use crate::telemetry::Telemetry;

    const NOW: u64 = 1_000_000;

    /// At [`NOW`]: what the server has last shown so many seconds ago, and what its workers have.
    fn snapshot(phase: ServerPhase, heartbeat: u64, workers: &[(WorkerState, u64, Option<u64>)]) -> Snapshot {
        let telemetry = Telemetry::new().unwrap();
        telemetry.server().begin(true, false);
        telemetry.server().enter(phase);
        telemetry.server().set_worker_timeout(Duration::from_secs(60));
        for index in 0..workers.len() {
            let index = u32::try_from(index).unwrap();
            telemetry.prepare(PlaceId(index), Index(index), Phase(0));
        }
        let mut snapshot = telemetry.read();
        snapshot.at = NOW;
        snapshot.server.heartbeat = NOW - heartbeat * 1000;
        for (worker, &(state, heartbeat, saturated)) in snapshot.workers.iter_mut().zip(workers) {
            worker.state = state;
            worker.heartbeat = NOW - heartbeat * 1000;
            worker.saturated_since = saturated.map(|seconds| NOW - seconds * 1000);
        }
        snapshot
    }

    #[test]
    fn verdicts() {
        use ServerPhase::{Booting, Draining, Running, Stopping};
        use WorkerState::{Booting as Boots, Ready, Stopping as Stops, Vacant};
        let ready = |heartbeat| (Ready, heartbeat, None);
        let full = |seconds| (Ready, 1, Some(seconds));
        for (name, phase, heartbeat, workers, live, is_ready) in [
            ("loads for long", Booting, 500, vec![], None, Some(Unready::Booting)),
            ("no worker yet", Running, 1, vec![(Boots, 500, None)], None, Some(Unready::Booting)),
            ("none at all", Running, 1, vec![(Vacant, 900, None)], None, Some(Unready::Booting)),
            ("serves", Running, 1, vec![ready(1), ready(60)], None, None),
            ("half of it", Running, 1, vec![ready(1), (Boots, 1, None)], None, None),
            ("one is stuck", Running, 1, vec![ready(1), ready(61)], None, None),
            (
                "one is stuck, one boots",
                Running,
                1,
                vec![(Boots, 1, None), ready(61)],
                None,
                Some(Unready::Saturated),
            ),
            (
                "all are stuck",
                Running,
                1,
                vec![ready(70), ready(61)],
                Some(Stuck::Workers),
                Some(Unready::Saturated),
            ),
            (
                "one is stuck, one ends",
                Running,
                1,
                vec![(Stops, 1, None), ready(61)],
                Some(Stuck::Workers),
                Some(Unready::Saturated),
            ),
            ("the master is stuck", Running, 61, vec![ready(1)], Some(Stuck::Master), None),
            ("so at the end", Stopping, 61, vec![], Some(Stuck::Master), Some(Unready::Draining)),
            ("is to end", Draining, 1, vec![ready(1)], None, Some(Unready::Draining)),
            ("ends", Stopping, 1, vec![(Stops, 500, None)], None, Some(Unready::Draining)),
            ("full for a moment", Running, 1, vec![full(9), full(50)], None, None),
            ("full", Running, 1, vec![full(10), full(50)], None, Some(Unready::Saturated)),
            ("one is not full", Running, 1, vec![full(10), ready(1)], None, None),
            ("full, and one is stuck", Running, 1, vec![full(10), ready(61)], None, Some(Unready::Saturated)),
        ] {
            let snapshot = snapshot(phase, heartbeat, &workers);
            assert_eq!(stuck(&snapshot, 0), live, "{name}");
            assert_eq!(unready(&snapshot, Some(Duration::from_secs(10))), is_ready, "{name}");
            assert_eq!(stuck(&snapshot, NOW - 60_000), None, "{name}, and the machine stood still");
            let full = is_ready == Some(Unready::Saturated);
            assert_eq!(unready(&snapshot, None), is_ready.filter(|_| !full), "{name}, without a limit");
        }
    }

    #[test]
    fn single_mode_has_no_masters_loop() {
        let mut snapshot = snapshot(ServerPhase::Running, 500, &[(WorkerState::Ready, 1, None)]);
        snapshot.server.cluster = false;
        assert_eq!(stuck(&snapshot, 0), None);
    }
}
