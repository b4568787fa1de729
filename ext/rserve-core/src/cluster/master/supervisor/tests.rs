//! The event table: what each event leads to, without a process.

mod delay;
mod mold;
mod molding;
mod replacing;

use super::*;
use crate::cluster::PlaceId;
use crate::cluster::master::{CullingStrategy, SpawnVia};

/// A cluster, its clock, and the short words of this file.
struct Cluster {
    supervisor: Supervisor,
    now: Instant,
}

const SECOND: Duration = Duration::from_secs(1);

fn pid(raw: i32) -> Pid {
    Pid::new(raw).unwrap()
}

/// The pid that tests give to the first worker at `index`.
fn pid_of(index: u32) -> Pid {
    pid(100 + i32::try_from(index).unwrap())
}

fn options(workers: u32) -> Options {
    Options { workers, ..Options::default() }
}

fn molded(workers: u32) -> Options {
    Options { fork_worker: Some(1000), ..options(workers) }
}

fn spawn(index: u32, phase: u32) -> Effect {
    let index = Index(index);
    Effect::Spawn { index, place: index.into(), phase: Phase(phase), via: SpawnVia::Master, successor: false }
}

fn spawn_via_mold(index: u32, phase: u32) -> Effect {
    let index = Index(index);
    Effect::Spawn { index, place: index.into(), phase: Phase(phase), via: SpawnVia::Mold, successor: false }
}

fn term(pid: Pid) -> Effect {
    Effect::Signal { pid, signal: Signal::Term }
}

fn kill(pid: Pid) -> Effect {
    Effect::Signal { pid, signal: Signal::Kill }
}

fn shut_down(index: u32, pid: Pid, phase: u32) -> Effect {
    let (index, place, phase) = (Index(index), PlaceId(index), Phase(phase));
    Effect::RunAfterWorkerShutdown { index, place, pid, phase, status: ExitStatus::Code(0) }
}

fn ping(pid: Pid) -> Event {
    ping_after(pid, 0)
}

fn ping_after(pid: Pid, requests_count: u64) -> Event {
    let stats = ServerStats { requests_count, ..ServerStats::default() };
    Event::Worker(WorkerMessage::Ping { pid, stats })
}

fn boot(index: u32, pid: Pid) -> Event {
    Event::Worker(WorkerMessage::Booted { pid, index: Index(index) })
}

fn fork(index: u32, pid: Pid) -> Event {
    Event::Worker(WorkerMessage::Forked { pid, index: Index(index) })
}

fn exit(pid: Pid) -> Event {
    Event::Exited { pid, status: ExitStatus::Code(0) }
}

fn spawned(index: u32, pid: Pid) -> Event {
    Event::Spawned { index: Index(index), pid }
}

fn operator(command: Command) -> Event {
    Event::Operator(command)
}

/// What the log says, without the other effects.
fn log(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Log(line) => Some(line.to_string()),
            _ => None,
        })
        .collect()
}

/// What is done, without the log and without what follows from every end.
fn deeds(effects: Vec<Effect>) -> Vec<Effect> {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Log(_) | Effect::Vacate { .. })).collect()
}

impl Cluster {
    /// Started: worker `n` is process `100 + n`, booted long enough ago, and has just pinged.
    fn booted(options: Options) -> Self {
        let (workers, mold) = (options.workers, options.fork_worker.is_some());
        let mut cluster = Self { supervisor: Supervisor::new(options), now: Instant::now() };
        cluster.handle(Event::Start);
        for index in 0..workers {
            let process = if mold && index > 0 { fork } else { spawned };
            cluster.handle(process(index, pid_of(index)));
            cluster.handle(boot(index, pid_of(index)));
        }
        cluster.now += 5 * SECOND;
        for index in 0..workers {
            cluster.handle(ping(pid_of(index)));
        }
        cluster
    }

    fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.supervisor.handle(event, self.now)
    }

    fn do_(&mut self, event: Event) -> Vec<Effect> {
        deeds(self.handle(event))
    }

    /// Time passes; nobody pings.
    fn after(&mut self, duration: Duration) -> Vec<Effect> {
        self.now += duration;
        self.handle(Event::Tick)
    }

    /// A new process takes the free place and boots.
    fn replace(&mut self, index: u32, pid: Pid) {
        self.handle(spawned(index, pid));
        self.handle(boot(index, pid));
        self.handle(ping(pid));
    }

    fn pids(&self) -> Vec<i32> {
        self.supervisor.workers().filter_map(WorkerHandle::pid).map(Pid::as_raw).collect()
    }
}

#[test]
fn start_asks_for_every_worker() {
    let mut supervisor = Supervisor::new(options(2));
    let now = Instant::now();
    assert_eq!(supervisor.handle(Event::Start, now), [spawn(0, 0), spawn(1, 0)]);
    assert_eq!(supervisor.handle(Event::Tick, now), []);
}

#[test]
fn booted_is_fired_once_when_every_worker_has_pinged() {
    let mut supervisor = Supervisor::new(options(2));
    let now = Instant::now();
    supervisor.handle(Event::Start, now);
    supervisor.handle(spawned(0, pid(100)), now);
    supervisor.handle(spawned(1, pid(101)), now);
    let effects = supervisor.handle(boot(1, pid(101)), now + Duration::from_millis(40));
    assert_eq!(log(&effects), ["- Worker 1 (PID: 101) booted in 0.04s, phase: 0"]);
    assert_eq!(deeds(effects), []);
    supervisor.handle(boot(0, pid(100)), now);
    assert_eq!(supervisor.handle(ping(pid(101)), now), []);
    assert_eq!(supervisor.handle(ping(pid(100)), now), [Effect::Fire(LifecycleEvent::Booted)]);
    assert_eq!(supervisor.handle(ping(pid(100)), now), []);
}

#[test]
fn dead_worker_is_replaced_at_its_index_at_once() {
    let mut cluster = Cluster::booted(options(3));
    assert_eq!(cluster.do_(exit(pid(101))), [shut_down(1, pid(101), 0), spawn(1, 0)]);
    cluster.replace(1, pid(200));
    assert_eq!(cluster.pids(), [100, 200, 102]);
}

#[test]
fn unknown_child_is_logged_and_changes_nothing() {
    let mut cluster = Cluster::booted(options(2));
    let effects = cluster.handle(exit(pid(999)));
    assert_eq!(log(&effects), ["! reaped unknown child process pid=999 status=pid 999 exit 0"]);
    assert_eq!(deeds(effects), []);
}

#[test]
fn messages_of_strangers_are_logged_but_last_words_are_not() {
    let mut cluster = Cluster::booted(options(1));
    assert_eq!(log(&cluster.handle(ping(pid(999)))), ["! Out-of-sync worker list, no 999 worker"]);
    cluster.handle(exit(pid(100)));
    assert_eq!(log(&cluster.handle(ping(pid(100)))), [""; 0]);
    let terminating = Event::Worker(WorkerMessage::Terminating { pid: pid(100) });
    assert_eq!(log(&cluster.handle(terminating)), [""; 0]);
}

#[test]
fn worker_that_does_not_boot_in_time_is_killed_before_the_check_interval_ends() {
    let mut cluster = Cluster::booted(Options { worker_boot_timeout: SECOND, ..options(1) });
    cluster.handle(exit(pid(100)));
    cluster.handle(spawned(0, pid(200)));
    assert_eq!(cluster.supervisor.next_deadline(cluster.now), cluster.now + SECOND);
    let effects = cluster.after(SECOND);
    assert_eq!(
        log(&effects),
        ["! Terminating timed out worker (Worker 0 failed to boot within 1 seconds): 200"]
    );
    assert_eq!(deeds(effects), [kill(pid(200))]);
    let killed = Event::Exited { pid: pid(200), status: ExitStatus::Signal(9) };
    assert_eq!(cluster.do_(killed)[1..], [spawn(0, 0)], "the first time, without a delay");
}

#[test]
fn worker_that_does_not_ping_in_time_is_killed() {
    let mut cluster = Cluster::booted(Options { worker_timeout: 6 * SECOND, ..options(2) });
    assert_eq!(cluster.after(5 * SECOND), []);
    cluster.handle(ping(pid(100)));
    let effects = cluster.after(SECOND);
    assert_eq!(
        log(&effects),
        ["! Terminating timed out worker (Worker 1 failed to check in within 6 seconds): 101"]
    );
    assert_eq!(deeds(effects), [kill(pid(101))]);
}

#[test]
fn pings_that_waited_while_the_master_was_suspended_count() {
    let mut cluster = Cluster::booted(options(2));
    cluster.now += 3600 * SECOND;
    assert_eq!(cluster.handle(ping(pid(100))), [], "the other's may come next");
    assert_eq!(cluster.handle(ping(pid(101))), []);
    assert_eq!(cluster.handle(Event::Tick), []);
}

#[test]
fn time_in_which_all_were_suspended_counts_for_nobody() {
    let hour = 3600 * SECOND;
    let mut cluster = Cluster::booted(Options { worker_timeout: 6 * SECOND, ..options(1) });
    assert_eq!(cluster.after(SECOND), []);
    assert_eq!(cluster.after(4 * SECOND), []);
    assert_eq!(cluster.after(hour), [], "its ping may come a moment later");
    assert_eq!(deeds(cluster.after(SECOND)), [kill(pid(100))], "it has not");
}

#[test]
fn term_is_repeated_and_then_becomes_kill() {
    let mut cluster = Cluster::booted(Options { worker_shutdown_timeout: 2 * SECOND, ..options(1) });
    cluster.handle(operator(Command::PhasedRestart));
    assert_eq!(cluster.after(SECOND / 2), []);
    assert_eq!(cluster.after(SECOND / 2), [term(pid(100))]);
    assert_eq!(cluster.after(SECOND), [kill(pid(100))]);
    assert_eq!(cluster.after(SECOND), [kill(pid(100))], "again, should it still be there");
}

#[test]
fn worker_that_got_a_term_from_outside_is_not_replaced_before_it_is_gone_and_killed_when_stuck() {
    let mut cluster = Cluster::booted(Options { worker_shutdown_timeout: 2 * SECOND, ..options(2) });
    assert_eq!(cluster.handle(Event::Worker(WorkerMessage::GotTerm { pid: pid(101) })), []);
    assert_eq!(cluster.after(2 * SECOND), [kill(pid(101))]);
    assert_eq!(cluster.handle(exit(pid(101))), [shut_down(1, pid(101), 0), spawn(1, 0)]);
}

#[test]
fn terminating_worker_is_killed_when_it_does_not_exit() {
    let mut cluster = Cluster::booted(Options { worker_shutdown_timeout: SECOND, ..options(1) });
    assert_eq!(cluster.handle(Event::Worker(WorkerMessage::Terminating { pid: pid(100) })), []);
    assert_eq!(cluster.after(SECOND), [kill(pid(100))]);
}

#[test]
fn phased_restart_replaces_one_worker_at_a_time() {
    let mut cluster = Cluster::booted(options(2));
    let effects = cluster.handle(operator(Command::PhasedRestart));
    assert_eq!(
        log(&effects),
        [
            "- Starting phased worker restart, phase: 1",
            "- Stopping 100 for phased upgrade...",
            "- TERM sent to 100..."
        ]
    );
    let begun = Effect::Fire(LifecycleEvent::PhaseBegun);
    assert_eq!(deeds(effects), [begun, Effect::ChangeDirectory, term(pid(100))]);
    assert_eq!(cluster.handle(Event::Tick), [], "the second old worker waits");
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0), spawn(0, 1)]);
    assert_eq!(cluster.handle(spawned(0, pid(200))), [], "and waits for the new one");
    assert_eq!(cluster.do_(boot(0, pid(200))), [], "until that one has shown that it serves");
    assert_eq!(cluster.do_(ping(pid(200))), [term(pid(101))]);
    assert_eq!(cluster.do_(exit(pid(101))), [shut_down(1, pid(101), 0), spawn(1, 1)]);
    cluster.handle(spawned(1, pid(201)));
    assert_eq!(cluster.do_(boot(1, pid(201))), [Effect::Fire(LifecycleEvent::PhaseBooted)]);
    assert_eq!(cluster.handle(ping(pid(201))), []);
}

#[test]
fn phased_restart_with_a_new_app_that_cannot_boot_keeps_the_other_old_workers() {
    let mut cluster = Cluster::booted(options(3));
    cluster.handle(operator(Command::PhasedRestart));
    cluster.handle(exit(pid(100)));
    for attempt in 0..4 {
        let crashed = pid(200 + attempt);
        cluster.handle(spawned(0, crashed));
        let effects = cluster.do_(exit(crashed));
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Signal { .. })), "{effects:?}");
        cluster.now += 40 * SECOND;
        cluster.handle(ping(pid(101)));
        cluster.handle(ping(pid(102)));
    }
    assert_eq!(cluster.pids()[..], [101, 102]);
}

#[test]
fn worker_that_cannot_boot_is_retried_at_growing_intervals() {
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(exit(pid(100)));
    let mut waits = Vec::new();
    for attempt in 0..8 {
        let crashed = pid(200 + attempt);
        cluster.handle(spawned(0, crashed));
        let effects = cluster.handle(exit(crashed));
        assert_eq!(log(&effects).len(), 1, "{effects:?}");
        let start = cluster.now;
        let mut retried = effects.contains(&spawn(0, 0));
        while !retried {
            cluster.now = cluster.supervisor.next_deadline(cluster.now);
            retried = cluster.handle(Event::Tick).contains(&spawn(0, 0));
        }
        waits.push((cluster.now - start).as_secs());
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30]);
    cluster.handle(spawned(0, pid(300)));
    cluster.handle(boot(0, pid(300)));
    cluster.now += 5 * SECOND;
    assert!(cluster.handle(exit(pid(300))).contains(&spawn(0, 0)), "it had served: at once");
}

#[test]
fn worker_that_dies_as_soon_as_it_has_booted_is_retried_like_one_that_cannot_boot() {
    let mut cluster = Cluster::booted(options(2));
    let die = |cluster: &mut Cluster, raw| {
        cluster.handle(spawned(0, pid(raw)));
        cluster.handle(boot(0, pid(raw)));
        cluster.handle(Event::Worker(WorkerMessage::Terminating { pid: pid(raw) }));
        cluster.handle(exit(pid(raw)))
    };
    assert!(cluster.handle(exit(pid(100))).contains(&spawn(0, 0)));
    assert!(die(&mut cluster, 200).contains(&spawn(0, 0)), "an accident");
    let effects = die(&mut cluster, 201);
    let line = "! Worker 0 (PID: 201) died as soon as it had booted, next attempt in 1s: exit 0, up 0.0s";
    assert_eq!(log(&effects), [line]);
    assert!(!effects.contains(&spawn(0, 0)));
    assert_eq!(cluster.after(SECOND), [spawn(0, 0)]);
    cluster.replace(0, pid(202));
    cluster.handle(Event::Worker(WorkerMessage::GotTerm { pid: pid(202) }));
    assert!(cluster.handle(exit(pid(202))).contains(&spawn(0, 0)), "somebody told it to go");
    cluster.replace(0, pid(203));
    cluster.handle(operator(Command::PhasedRestart));
    assert!(cluster.handle(exit(pid(203))).contains(&spawn(0, 1)), "it was told to go");
}

#[test]
fn failed_fork_is_retried() {
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(exit(pid(100)));
    let failed = || Event::SpawnFailed { index: Index(0), reason: "EAGAIN".into() };
    let effects = cluster.handle(failed());
    assert_eq!(log(&effects), ["! Unable to start worker: EAGAIN, next attempt in 0s"]);
    assert_eq!(deeds(effects), [spawn(0, 0)]);
    assert_eq!(cluster.do_(failed()), []);
    assert_eq!(cluster.after(SECOND), [spawn(0, 0)]);
}

#[test]
fn ttin_and_ttou_change_the_number_of_workers() {
    let mut cluster = Cluster::booted(options(2));
    assert_eq!(cluster.handle(operator(Command::AddWorker)), [spawn(2, 0)]);
    cluster.now += SECOND;
    cluster.replace(2, pid(102));
    let effects = cluster.handle(operator(Command::RemoveWorker));
    assert_eq!(log(&effects), ["- Worker 2 (PID: 102) terminating"]);
    assert_eq!(deeds(effects), [term(pid(102))]);
    assert_eq!(cluster.handle(Event::Tick), [], "it is culled once");
    assert_eq!(cluster.handle(exit(pid(102))), [shut_down(2, pid(102), 0)]);
    for _ in 0..3 {
        cluster.handle(operator(Command::RemoveWorker));
    }
    assert_eq!(cluster.supervisor.asked(), 1);
}

#[test]
fn culling_takes_the_end_that_was_asked_for_but_never_the_mold() {
    for (options, want) in [
        (options(2), 102),
        (Options { worker_culling_strategy: CullingStrategy::Oldest, ..options(2) }, 100),
        (Options { worker_culling_strategy: CullingStrategy::Oldest, ..molded(2) }, 101),
        (molded(2), 102),
    ] {
        let mut cluster = Cluster::booted(options.clone());
        cluster.now += SECOND;
        cluster.handle(operator(Command::AddWorker));
        let process = if options.fork_worker.is_some() { fork } else { spawned };
        cluster.handle(process(2, pid(102)));
        cluster.handle(boot(2, pid(102)));
        assert_eq!(cluster.do_(operator(Command::RemoveWorker)), [term(pid(want))], "{options:?}");
    }
}

#[test]
fn cluster_stops_when_all_workers_are_idle() {
    let mut cluster = Cluster::booted(options(2));
    let idle = |pid, idle| Event::Worker(WorkerMessage::Idle { pid, idle });
    assert_eq!(cluster.handle(idle(pid(100), true)), []);
    assert_eq!(cluster.handle(idle(pid(100), false)), []);
    assert_eq!(cluster.handle(idle(pid(101), true)), []);
    let effects = cluster.handle(idle(pid(100), true));
    assert_eq!(log(&effects), ["- All workers reached idle timeout"]);
    assert_eq!(
        deeds(effects),
        [Effect::CloseListeners, Effect::AnnounceWorkersStop, term(pid(100)), term(pid(101))]
    );
}

#[test]
fn stop_waits_for_the_workers_and_forks_none() {
    let mut cluster = Cluster::booted(options(2));
    assert_eq!(
        cluster.do_(operator(Command::Stop)),
        [Effect::CloseListeners, Effect::AnnounceWorkersStop, term(pid(100)), term(pid(101))]
    );
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0)]);
    assert_eq!(
        cluster.handle(exit(pid(101))),
        [
            shut_down(1, pid(101), 0),
            Effect::Fire(LifecycleEvent::Stopped),
            Effect::AnnounceShutdown,
            Effect::Exit(ExitReason::Stop)
        ]
    );
    assert_eq!(cluster.handle(operator(Command::AddWorker)), []);
}

#[test]
fn second_stop_does_not_wait() {
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(operator(Command::Stop));
    let effects = cluster.handle(operator(Command::Stop));
    assert_eq!(log(&effects), ["! Cancelled waiting for workers"]);
    assert_eq!(effects.last(), Some(&Effect::Exit(ExitReason::Stop)));
}

#[test]
fn term_says_goodbye_when_the_workers_are_gone() {
    let mut cluster = Cluster::booted(options(1));
    assert_eq!(
        cluster.handle(operator(Command::Terminate)),
        [Effect::CloseListeners, Effect::AnnounceWorkersStop, term(pid(100))]
    );
    assert_eq!(
        cluster.do_(exit(pid(100)))[1..],
        [
            Effect::AnnounceShutdown,
            Effect::Fire(LifecycleEvent::Stopped),
            Effect::Exit(ExitReason::Terminate)
        ]
    );
}

#[test]
fn death_is_told_unless_the_worker_went_as_it_was_told() {
    use ExitStatus::{Code, Signal};
    let told = |command: Command| operator(command);
    let by_hand = || Event::Worker(WorkerMessage::GotTerm { pid: pid(100) });
    for (before, status, want) in [
        (None, Some(Code(0)), "died: exit 0, up 5.0s"),
        (None, Some(Signal(9)), "died: SIGKILL (signal 9), up 5.0s, perhaps out of memory"),
        (None, Some(Signal(11)), "died: SIGSEGV (signal 11), up 5.0s"),
        (None, None, "died: how is not known (another worker forked it), up 5.0s"),
        (Some(by_hand()), Some(Code(0)), ""),
        (Some(told(Command::Stop)), Some(Code(0)), ""),
        (Some(told(Command::Stop)), Some(Signal(15)), ""),
        (Some(told(Command::Stop)), None, ""),
        (Some(told(Command::Stop)), Some(Code(1)), "died: exit 1, up 5.0s"),
        (
            Some(told(Command::Stop)),
            Some(Signal(9)),
            "died: SIGKILL (signal 9), up 5.0s, perhaps out of memory",
        ),
    ] {
        let mut cluster = Cluster::booted(options(1));
        let case = format!("{before:?} {status:?}");
        if let Some(before) = before {
            cluster.handle(before);
        }
        let ended = match status {
            Some(status) => Event::Exited { pid: pid(100), status },
            None => Event::Vanished { pid: pid(100) },
        };
        let lines = log(&cluster.handle(ended));
        let want = (!want.is_empty()).then(|| format!("! Worker 0 (PID: 100) {want}"));
        assert_eq!(lines, Vec::from_iter(want), "{case}");
    }
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(operator(Command::Stop));
    cluster.after(30 * SECOND);
    let lines = log(&cluster.handle(Event::Exited { pid: pid(100), status: Signal(9) }));
    assert_eq!(lines, ["! Worker 0 (PID: 100) died: SIGKILL (signal 9), up 35.0s, killed by the master"]);
}

#[test]
fn worker_that_does_not_stop_with_the_cluster_is_killed() {
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(operator(Command::Stop));
    assert!(cluster.supervisor.next_deadline(cluster.now) <= cluster.now + LOOK_FOR_EXITS);
    assert_eq!(cluster.after(30 * SECOND), [kill(pid(100))]);
}

#[test]
fn restart_keeps_the_listeners_and_executes_when_the_workers_are_gone() {
    let mut cluster = Cluster::booted(options(1));
    assert_eq!(cluster.do_(operator(Command::Restart)), [Effect::AnnounceWorkersStop, term(pid(100))]);
    assert_eq!(cluster.handle(operator(Command::Restart)), [], "a second one changes nothing");
    assert_eq!(cluster.handle(exit(pid(100))), [shut_down(0, pid(100), 0), Effect::Exec]);
}

#[test]
fn stop_during_a_restart_stops() {
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(operator(Command::Restart));
    assert_eq!(cluster.handle(operator(Command::Stop)), [Effect::CloseListeners]);
    assert_eq!(cluster.handle(exit(pid(100))).last(), Some(&Effect::Exit(ExitReason::Stop)));
}

#[test]
fn halt_leaves_at_once() {
    let mut cluster = Cluster::booted(options(1));
    let effects = cluster.handle(operator(Command::Halt));
    assert_eq!(log(&effects), ["* Stopping immediately!"]);
    assert_eq!(effects.last(), Some(&Effect::Exit(ExitReason::Halt)));
}

#[test]
fn hup_reopens_logs_everywhere_or_stops() {
    let hup = |pid| Effect::Signal { pid, signal: Signal::Hup };
    let mut cluster = Cluster::booted(Options { redirects_io: true, ..options(2) });
    let effects = cluster.handle(operator(Command::ReopenLogs));
    assert_eq!(effects, [Effect::ReopenLogs, hup(pid(100)), hup(pid(101))]);
    let mut cluster = Cluster::booted(options(1));
    assert_eq!(
        cluster.do_(operator(Command::ReopenLogs)),
        [Effect::CloseListeners, Effect::AnnounceWorkersStop, term(pid(100))]
    );
}
