//! Workers that retire: their successors boot first.

use super::*;
use crate::cluster::RetireReason;
use crate::cluster::master::{MemoryLimit, Retirement, RetirementOptions};

const MB: u64 = 1 << 20;

fn asks(raw: i32) -> Event {
    Event::Worker(WorkerMessage::Retire { pid: pid(raw), reason: RetireReason::HungRequest })
}

fn successor(index: u32, place: u32, phase: u32, via: SpawnVia) -> Effect {
    let (index, place, phase) = (Index(index), PlaceId(place), Phase(phase));
    Effect::Spawn { index, place, phase, via, successor: true }
}

fn measured(raw: i32, octets: u64) -> Event {
    Event::Measured { pid: pid(raw), octets: Some(octets) }
}

fn with(workers: u32, retirement: RetirementOptions) -> Options {
    Options { retirement, ..options(workers) }
}

fn memory(hard: Option<u64>) -> RetirementOptions {
    let limit = MemoryLimit { limit: 100 * MB, samples: 2, every: 10 * SECOND, hard };
    RetirementOptions { memory: Some(limit), ..RetirementOptions::default() }
}

#[test]
fn successor_boots_and_serves_before_the_worker_is_told_to_stop() {
    let mut cluster = Cluster::booted(options(2));
    let effects = cluster.handle(asks(101));
    assert_eq!(log(&effects), ["- Worker 1 (PID: 101) is replaced: it has a request that hangs"]);
    assert_eq!(deeds(effects), [successor(1, 2, 0, SpawnVia::Master)]);
    assert_eq!(cluster.handle(asks(101)), [], "once is enough");
    assert_eq!(cluster.handle(spawned(1, pid(200))), []);
    assert_eq!(log(&cluster.handle(boot(1, pid(200)))), ["- Worker 1 (PID: 200) booted in 0.0s, phase: 0"]);
    assert_eq!(cluster.pids(), [100, 101]);
    let effects = cluster.handle(ping(pid(200)));
    assert_eq!(log(&effects), ["- Stopping 101, its replacement serves...", "- TERM sent to 101..."]);
    assert_eq!(deeds(effects), [term(pid(101))]);
    assert_eq!(cluster.pids(), [100, 200]);
    assert_eq!(cluster.supervisor.all_workers().count(), 3);
    assert_eq!(cluster.handle(ping(pid(101))), [], "it finishes its requests");
    assert_eq!(cluster.handle(exit(pid(101))), [shut_down(1, pid(101), 0)]);
    assert_eq!(cluster.handle(asks(200)), cluster_effects_of_next_in_place_1());
}

/// The place that was left is taken by the next successor.
fn cluster_effects_of_next_in_place_1() -> Vec<Effect> {
    let why = Retirement::HungRequest;
    vec![
        Effect::Log(LogLine::Retires { index: Index(1), pid: pid(200), why }),
        successor(1, 1, 0, SpawnVia::Master),
    ]
}

#[test]
fn worker_that_was_replaced_and_does_not_stop_is_killed() {
    let mut cluster = Cluster::booted(Options { worker_shutdown_timeout: 2 * SECOND, ..options(1) });
    cluster.handle(asks(100));
    cluster.replace(0, pid(200));
    assert_eq!(cluster.after(SECOND), [term(pid(100))], "again");
    cluster.handle(ping(pid(200)));
    assert_eq!(cluster.after(SECOND), [kill(pid(100))]);
    let died = Event::Exited { pid: pid(100), status: ExitStatus::Signal(9) };
    assert_eq!(
        log(&cluster.handle(died)),
        ["! Worker 0 (PID: 100) died: SIGKILL (signal 9), up 7.0s, killed by the master"]
    );
    assert_eq!(cluster.handle(Event::Tick), [], "nobody is missing");
}

#[test]
fn worker_serves_on_while_its_successor_cannot_boot() {
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(asks(100));
    let mut waits = Vec::new();
    for attempt in 0..4 {
        cluster.handle(spawned(0, pid(200 + attempt)));
        let mut effects = cluster.do_(Event::Exited { pid: pid(200 + attempt), status: ExitStatus::Code(1) });
        effects.retain(|effect| !matches!(effect, Effect::RunAfterWorkerShutdown { .. }));
        let start = cluster.now;
        while effects.is_empty() {
            cluster.now = cluster.supervisor.next_deadline(cluster.now);
            effects = cluster.handle(ping(pid(100)));
            effects.extend(cluster.handle(Event::Tick));
        }
        assert_eq!(effects, [successor(0, 1, 0, SpawnVia::Master)]);
        waits.push((cluster.now - start).as_secs());
    }
    assert_eq!(waits, [0, 1, 2, 4]);
    assert_eq!(cluster.pids(), [100]);
}

#[test]
fn successor_that_does_not_boot_in_time_is_killed_and_the_worker_serves_on() {
    let mut cluster = Cluster::booted(Options { worker_boot_timeout: 8 * SECOND, ..options(1) });
    cluster.handle(asks(100));
    cluster.handle(spawned(0, pid(200)));
    assert_eq!(cluster.after(4 * SECOND), []);
    cluster.handle(ping(pid(100)));
    let effects = cluster.after(4 * SECOND);
    assert_eq!(
        log(&effects),
        ["! Terminating timed out worker (Worker 0 failed to boot within 8 seconds): 200"]
    );
    assert_eq!(deeds(effects), [kill(pid(200))]);
    let ended = Event::Exited { pid: pid(200), status: ExitStatus::Signal(9) };
    assert_eq!(cluster.do_(ended)[1..], [successor(0, 1, 0, SpawnVia::Master)]);
    assert_eq!(cluster.pids(), [100]);
}

#[test]
fn successor_takes_over_at_once_when_the_worker_dies_meanwhile() {
    let mut cluster = Cluster::booted(options(2));
    cluster.handle(asks(100));
    cluster.handle(spawned(0, pid(200)));
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0)], "nobody else is forked");
    assert_eq!(cluster.pids(), [200, 101]);
    assert_eq!(cluster.do_(boot(0, pid(200))), []);
    assert_eq!(cluster.handle(ping(pid(200))), []);
}

#[test]
fn one_is_replaced_at_a_time_in_the_order_in_which_they_asked() {
    let mut cluster = Cluster::booted(options(3));
    assert_eq!(cluster.do_(asks(101)), [successor(1, 3, 0, SpawnVia::Master)]);
    cluster.now += SECOND / 2;
    assert_eq!(cluster.do_(asks(102)), []);
    cluster.now += SECOND / 2;
    assert_eq!(cluster.do_(asks(100)), []);
    cluster.replace(1, pid(201));
    assert_eq!(cluster.do_(Event::Tick), []);
    assert_eq!(
        cluster.do_(exit(pid(101))),
        [shut_down(1, pid(101), 0), successor(2, 1, 0, SpawnVia::Master)],
        "when the one before is gone"
    );
    cluster.replace(2, pid(202));
    let gone = Effect::RunAfterWorkerShutdown {
        index: Index(2),
        place: PlaceId(2),
        pid: pid(102),
        phase: Phase(0),
        status: ExitStatus::Code(0),
    };
    assert_eq!(cluster.do_(exit(pid(102))), [gone, successor(0, 2, 0, SpawnVia::Master)]);
}

#[test]
fn nobody_is_replaced_while_somebody_is_missing() {
    let mut cluster = Cluster::booted(options(2));
    assert_eq!(cluster.do_(exit(pid(101)))[1..], [spawn(1, 0)]);
    assert_eq!(cluster.do_(asks(100)), []);
    cluster.handle(spawned(1, pid(201)));
    assert_eq!(cluster.do_(boot(1, pid(201))), [successor(0, 2, 0, SpawnVia::Master)]);
}

#[test]
fn phased_restart_replaces_them_all_and_calls_it_off() {
    let mut cluster = Cluster::booted(options(2));
    cluster.handle(asks(101));
    cluster.handle(spawned(1, pid(201)));
    let begun = Effect::Fire(LifecycleEvent::PhaseBegun);
    assert_eq!(
        cluster.do_(operator(Command::PhasedRestart)),
        [term(pid(201)), begun, Effect::ChangeDirectory, term(pid(100))]
    );
    assert_eq!(log(&cluster.handle(exit(pid(201)))), [""; 0]);
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0), spawn(0, 1)]);
    cluster.replace(0, pid(300));
    assert_eq!(cluster.do_(exit(pid(101))), [shut_down(1, pid(101), 0), spawn(1, 1)]);
    cluster.handle(spawned(1, pid(301)));
    assert_eq!(cluster.do_(boot(1, pid(301))), [Effect::Fire(LifecycleEvent::PhaseBooted)]);
    assert_eq!(cluster.handle(ping(pid(301))), [], "the new ones have asked for nothing");
}

#[test]
fn successor_of_a_worker_that_is_culled_is_not_wanted() {
    let mut cluster = Cluster::booted(options(2));
    cluster.handle(asks(101));
    cluster.handle(spawned(1, pid(201)));
    assert_eq!(cluster.do_(operator(Command::RemoveWorker)), [term(pid(101)), term(pid(201))]);
    cluster.handle(exit(pid(101)));
    cluster.handle(exit(pid(201)));
    assert_eq!(cluster.pids(), [100]);
    assert_eq!(cluster.handle(Event::Tick), []);
}

#[test]
fn worker_that_is_added_meanwhile_has_an_index_of_its_own() {
    let mut cluster = Cluster::booted(options(2));
    cluster.handle(asks(101));
    cluster.handle(spawned(1, pid(201)));
    let added = Effect::Spawn {
        index: Index(2),
        place: PlaceId(3),
        phase: Phase(0),
        via: SpawnVia::Master,
        successor: false,
    };
    assert_eq!(cluster.do_(operator(Command::AddWorker)), [added]);
}

#[test]
fn stop_tells_the_successor_and_who_was_replaced_too() {
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(asks(100));
    cluster.handle(spawned(0, pid(200)));
    let effects = cluster.do_(operator(Command::Stop));
    assert_eq!(effects[2..], [term(pid(100)), term(pid(200))]);
    cluster.handle(exit(pid(100)));
    assert_eq!(cluster.do_(exit(pid(200))).last(), Some(&Effect::Exit(ExitReason::Stop)));
    let mut cluster = Cluster::booted(options(1));
    cluster.handle(asks(100));
    cluster.replace(0, pid(200));
    let effects = cluster.do_(operator(Command::Stop));
    assert_eq!(effects[2..], [term(pid(200))], "it knows");
    cluster.handle(exit(pid(200)));
    assert_eq!(cluster.do_(exit(pid(100))).last(), Some(&Effect::Exit(ExitReason::Stop)));
}

#[test]
fn worker_0_under_fork_worker_is_the_mold_until_its_successor_is() {
    let mut cluster = Cluster::booted(molded(2));
    assert_eq!(cluster.do_(asks(100)), [successor(0, 2, 0, SpawnVia::Master)]);
    cluster.handle(spawned(0, pid(200)));
    assert_eq!(
        cluster.do_(Event::Vanished { pid: pid(101) }),
        [Effect::PauseMold, spawn_via_mold(1, 0), Effect::ResumeMold { after_refork: true }],
        "the old one can still fork"
    );
    assert_eq!(
        cluster.do_(boot(0, pid(200))),
        [
            Effect::SwitchMold,
            term(pid(100)),
            spawn_via_mold(1, 0),
            Effect::ResumeMold { after_refork: false }
        ]
    );
    assert_eq!(cluster.do_(fork(1, pid(201))), [], "whoever forked it");
    assert_eq!(cluster.do_(fork(1, pid(202))), [kill(pid(202))]);
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0)]);
    assert_eq!(cluster.pids(), [200, 201]);
}

#[test]
fn successor_of_worker_0_is_the_mold_at_once_when_that_one_dies() {
    let mut cluster = Cluster::booted(molded(2));
    cluster.handle(asks(100));
    cluster.handle(spawned(0, pid(200)));
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0), Effect::SwitchMold]);
    cluster.handle(Event::Vanished { pid: pid(101) });
    assert_eq!(
        cluster.do_(boot(0, pid(200))),
        [spawn_via_mold(1, 0), Effect::ResumeMold { after_refork: false }]
    );
}

#[test]
fn successors_of_the_others_are_forked_from_worker_0() {
    let mut cluster = Cluster::booted(molded(2));
    assert_eq!(
        cluster.do_(asks(101)),
        [Effect::PauseMold, successor(1, 2, 0, SpawnVia::Mold), Effect::ResumeMold { after_refork: true }]
    );
    cluster.handle(fork(1, pid(201)));
    cluster.handle(boot(1, pid(201)));
    assert_eq!(cluster.do_(ping(pid(201))), [term(pid(101))]);
    assert_eq!(cluster.handle(Event::Vanished { pid: pid(101) }), [Effect::Vacate { place: PlaceId(1) }]);
    assert_eq!(cluster.pids(), [100, 201]);
}

#[test]
fn worker_retires_after_so_many_requests_or_so_long() {
    let requests = RetirementOptions { requests: Some((1000, 0.0)), ..RetirementOptions::default() };
    let mut cluster = Cluster::booted(with(2, requests));
    assert_eq!(cluster.handle(ping_after(pid(100), 999)), []);
    let effects = cluster.handle(ping_after(pid(100), 1003));
    assert_eq!(log(&effects), ["- Worker 0 (PID: 100) is replaced: it has served 1003 requests"]);
    assert_eq!(deeds(effects), [successor(0, 2, 0, SpawnVia::Master)]);
    cluster.replace(0, pid(200));
    assert_eq!(cluster.do_(ping_after(pid(200), 3)), []);

    let lifetime = RetirementOptions { lifetime: Some((60 * SECOND, 0.0)), ..RetirementOptions::default() };
    let mut cluster = Cluster::booted(Options { worker_timeout: 3600 * SECOND, ..with(1, lifetime) });
    assert_eq!(cluster.after(54 * SECOND), []);
    let effects = cluster.after(SECOND);
    assert_eq!(log(&effects), ["- Worker 0 (PID: 100) is replaced: it is 60.0s old"]);
    assert_eq!(deeds(effects), [successor(0, 1, 0, SpawnVia::Master)]);
}

#[test]
fn memory_is_measured_as_often_as_asked_and_a_worker_with_too_much_retires() {
    let mut cluster = Cluster::booted(Options { worker_timeout: 3600 * SECOND, ..with(2, memory(None)) });
    let measure = |raw| Effect::Measure { pid: pid(raw) };
    assert_eq!(cluster.handle(Event::Tick), [measure(100), measure(101)], "when they have booted");
    assert_eq!(cluster.handle(measured(100, 50 * MB)), []);
    assert_eq!(cluster.handle(measured(101, 50 * MB)), []);
    assert_eq!(cluster.after(9 * SECOND), []);
    assert!(cluster.supervisor.next_deadline(cluster.now) <= cluster.now + SECOND);
    assert_eq!(cluster.after(SECOND), [measure(100), measure(101)]);
    assert_eq!(cluster.handle(measured(100, 101 * MB)), [], "it may be a moment's");
    assert_eq!(cluster.handle(measured(100, 99 * MB)), []);
    assert_eq!(cluster.handle(measured(100, 120 * MB)), []);
    let effects = cluster.handle(measured(100, 131 * MB));
    assert_eq!(
        log(&effects),
        ["- Worker 0 (PID: 100) is replaced: it has 131 MB of memory, more than 100 MB"]
    );
    assert_eq!(deeds(effects), [successor(0, 2, 0, SpawnVia::Master)]);
    let none = Event::Measured { pid: pid(101), octets: None };
    assert_eq!(
        log(&cluster.handle(none.clone())),
        ["! worker_max_memory is not used: the memory of worker 1 (PID: 101) cannot be read from \
             /proc/101/smaps_rollup"]
    );
    assert_eq!(cluster.handle(none), [], "told once");
}

#[test]
fn limit_that_leaves_a_booted_worker_no_room_is_refused_once_and_kills_nobody() {
    let mut cluster = Cluster::booted(with(2, memory(Some(200 * MB))));
    let effects = cluster.handle(measured(100, 90 * MB));
    assert_eq!(
        log(&effects),
        [
            "! worker_max_memory of 100 MB is not used: worker 0 (PID: 100) has 90 MB as soon as it has booted; at \
             least 108 MB would do"
        ]
    );
    assert_eq!(deeds(effects), []);
    for _ in 0..5 {
        assert_eq!(cluster.handle(measured(100, 900 * MB)), []);
        assert_eq!(cluster.handle(measured(101, 900 * MB)), [], "the same is not said of each");
    }
    cluster.handle(operator(Command::PhasedRestart));
    cluster.handle(exit(pid(100)));
    cluster.replace(0, pid(200));
    assert_eq!(log(&cluster.handle(measured(200, 95 * MB))).len(), 1, "another program");
}

#[test]
fn hard_limit_does_not_wait_for_the_successor_but_for_another_that_is_missing() {
    let mut cluster = Cluster::booted(with(2, memory(Some(150 * MB))));
    cluster.handle(measured(100, 50 * MB));
    cluster.handle(measured(101, 50 * MB));
    let effects = cluster.handle(measured(100, 151 * MB));
    assert_eq!(
        log(&effects),
        [
            "! Worker 0 (PID: 100) has 151 MB of memory, more than the hard limit of 150 MB: it ends before its \
             replacement boots"
        ]
    );
    assert_eq!(deeds(effects), [term(pid(100))]);
    assert_eq!(cluster.handle(measured(101, 151 * MB)), [], "one at a time");
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0), spawn(0, 0)]);
    assert_eq!(cluster.handle(measured(101, 152 * MB)), []);
    cluster.replace(0, pid(200));
    assert_eq!(cluster.do_(measured(101, 153 * MB)), [term(pid(101))]);
}
