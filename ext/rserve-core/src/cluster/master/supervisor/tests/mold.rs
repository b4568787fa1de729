//! Worker 0 as the mold of the others (`fork_worker`).

use super::*;

#[test]
fn under_fork_worker_the_others_wait_for_worker_0_and_it_serves_after_them() {
    let mut supervisor = Supervisor::new(molded(3));
    let now = Instant::now();
    assert_eq!(supervisor.handle(Event::Start, now), [spawn(0, 0)]);
    assert_eq!(supervisor.handle(spawned(0, pid(100)), now), []);
    assert_eq!(
        deeds(supervisor.handle(boot(0, pid(100)), now)),
        [spawn_via_mold(1, 0), spawn_via_mold(2, 0), Effect::ResumeMold { after_refork: false }]
    );
    assert_eq!(log(&supervisor.handle(boot(2, pid(102)), now)).len(), 1, "boots before worker 0 says so");
    assert_eq!(supervisor.handle(fork(2, pid(102)), now), []);
}

#[test]
fn refork_pauses_worker_0_from_the_first_fork_to_the_last() {
    let mut cluster = Cluster::booted(molded(3));
    let effects = cluster.handle(operator(Command::Refork));
    assert_eq!(
        log(&effects),
        ["- Starting worker refork, phase: 1", "- Stopping 101 for refork...", "- TERM sent to 101..."]
    );
    assert_eq!(deeds(effects).last(), Some(&term(pid(101))), "worker 0 stays");
    assert_eq!(cluster.do_(Event::Vanished { pid: pid(101) }), [Effect::PauseMold, spawn_via_mold(1, 1)]);
    assert_eq!(cluster.do_(fork(1, pid(201))), []);
    assert_eq!(cluster.do_(boot(1, pid(201))), []);
    assert_eq!(cluster.do_(ping(pid(201))), [term(pid(102))]);
    assert_eq!(
        cluster.do_(Event::Vanished { pid: pid(102) }),
        [spawn_via_mold(2, 1), Effect::ResumeMold { after_refork: true }]
    );
    cluster.handle(fork(2, pid(202)));
    assert_eq!(cluster.do_(boot(2, pid(202))), [Effect::Fire(LifecycleEvent::PhaseBooted)]);
    assert_eq!(cluster.pids(), [100, 201, 202]);
}

#[test]
fn worker_0_serves_while_a_new_worker_cannot_boot() {
    let mut cluster = Cluster::booted(molded(3));
    cluster.handle(operator(Command::Refork));
    cluster.handle(Event::Vanished { pid: pid(101) });
    cluster.handle(fork(1, pid(201)));
    assert_eq!(cluster.do_(Event::Vanished { pid: pid(201) }), [spawn_via_mold(1, 1)]);
    cluster.handle(fork(1, pid(202)));
    let effects = cluster.do_(Event::Vanished { pid: pid(202) });
    assert_eq!(
        effects,
        [Effect::ResumeMold { after_refork: true }],
        "it waits a second for the next attempt"
    );
    assert_eq!(cluster.after(SECOND), [Effect::PauseMold, spawn_via_mold(1, 1)]);
}

#[test]
fn refork_starts_by_itself_once_after_enough_requests_of_worker_0() {
    let mut cluster = Cluster::booted(Options { fork_worker: Some(20), ..molded(2) });
    assert_eq!(cluster.handle(ping_after(pid(101), 500)), []);
    assert_eq!(cluster.handle(ping_after(pid(100), 19)), []);
    assert_eq!(log(&cluster.handle(ping_after(pid(100), 20)))[0], "- Starting worker refork, phase: 1");
    assert_eq!(cluster.handle(ping_after(pid(100), 21)), []);
    let mut cluster = Cluster::booted(Options { fork_worker: Some(0), ..molded(2) });
    assert_eq!(cluster.handle(ping_after(pid(100), 1_000_000)), []);
}

#[test]
fn refork_without_fork_worker_is_refused() {
    let mut cluster = Cluster::booted(options(2));
    let effects = cluster.handle(operator(Command::Refork));
    assert_eq!(log(&effects), ["* refork called but not available."]);
    assert_eq!(deeds(effects), []);
}

#[test]
fn phased_restart_under_fork_worker_begins_with_worker_0_and_forks_the_rest_from_it() {
    let mut cluster = Cluster::booted(molded(2));
    assert_eq!(cluster.do_(operator(Command::PhasedRestart)).last(), Some(&term(pid(100))));
    assert_eq!(cluster.do_(exit(pid(100)))[1..], [spawn(0, 1)]);
    cluster.handle(spawned(0, pid(200)));
    assert_eq!(
        cluster.do_(boot(0, pid(200))),
        [term(pid(101)), Effect::ResumeMold { after_refork: false }],
        "it serves while the old worker finishes"
    );
    assert_eq!(
        cluster.do_(Event::Vanished { pid: pid(101) }),
        [Effect::PauseMold, spawn_via_mold(1, 1), Effect::ResumeMold { after_refork: true }]
    );
    cluster.handle(fork(1, pid(201)));
    assert_eq!(cluster.do_(boot(1, pid(201))), [Effect::Fire(LifecycleEvent::PhaseBooted)]);
}

#[test]
fn worker_0_need_not_ping_while_it_forks() {
    let mut cluster = Cluster::booted(Options { worker_timeout: 2 * SECOND, ..molded(3) });
    cluster.handle(operator(Command::Refork));
    cluster.handle(Event::Vanished { pid: pid(101) });
    for _ in 0..5 {
        assert_eq!(cluster.after(SECOND), []);
        assert_eq!(cluster.handle(ping(pid(102))), []);
    }
}

#[test]
fn worker_0_that_never_forks_what_it_was_asked_for_is_killed() {
    let mut cluster = Cluster::booted(molded(3));
    cluster.handle(Event::Vanished { pid: pid(101) });
    let mut effects = Vec::new();
    while effects.is_empty() {
        cluster.handle(ping(pid(102)));
        effects = cluster.after(SECOND);
    }
    assert_eq!(
        log(&effects),
        ["! Terminating timed out worker (Worker 1 failed to boot within 60 seconds): 100"]
    );
    assert_eq!(deeds(effects), [kill(pid(100))]);
    assert_eq!(cluster.do_(exit(pid(100)))[1..], [spawn(0, 0)], "the request is forgotten");
    cluster.handle(spawned(0, pid(200)));
    assert_eq!(cluster.do_(boot(0, pid(200)))[0], spawn_via_mold(1, 0), "and made anew");
}

#[test]
fn worker_0_comes_back_when_there_are_to_be_fewer_workers_meanwhile() {
    let mut cluster = Cluster::booted(molded(3));
    assert_eq!(cluster.do_(exit(pid(100))), [shut_down(0, pid(100), 0), spawn(0, 0)]);
    let failed = Event::SpawnFailed { index: Index(0), reason: "EAGAIN".into() };
    cluster.handle(failed.clone());
    cluster.handle(failed);
    assert_eq!(cluster.do_(operator(Command::RemoveWorker)), [], "there are two");
    assert_eq!(deeds(cluster.after(SECOND)), [term(pid(102))], "of which one has to be worker 0");
    assert_eq!(cluster.do_(Event::Vanished { pid: pid(102) }), [spawn(0, 0)]);
}

#[test]
fn child_of_a_dead_worker_0_whose_place_is_taken_is_killed() {
    let mut cluster = Cluster::booted(molded(2));
    cluster.handle(Event::Vanished { pid: pid(101) });
    cluster.handle(exit(pid(100)));
    cluster.replace(0, pid(200));
    cluster.handle(fork(1, pid(201)));
    assert_eq!(cluster.do_(fork(1, pid(199))), [kill(pid(199))]);
    assert_eq!(cluster.pids(), [200, 201]);
}

#[test]
fn worker_forked_after_the_stop_is_killed() {
    let mut cluster = Cluster::booted(molded(2));
    cluster.handle(Event::Vanished { pid: pid(101) });
    assert_eq!(
        cluster.do_(operator(Command::Stop)),
        [Effect::CloseListeners, Effect::AnnounceWorkersStop, term(pid(100))]
    );
    assert_eq!(cluster.handle(fork(1, pid(201))), [kill(pid(201))]);
}
