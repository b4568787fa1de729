//! The mold of `refork_after`.

use super::*;

fn reforking(workers: u32) -> Options {
    Options { refork_after: vec![50, 100], ..options(workers) }
}

fn molded(pid: Pid) -> Event {
    Event::Worker(WorkerMessage::Molded { pid })
}

fn beside(index: u32, place: u32, phase: u32, via: SpawnVia) -> Effect {
    Effect::Spawn { index: Index(index), place: PlaceId(place), phase: Phase(phase), via, successor: true }
}

fn at(index: u32, place: u32, phase: u32) -> Effect {
    let (index, place, via) = (Index(index), PlaceId(place), SpawnVia::Mold);
    Effect::Spawn { index, place, phase: Phase(phase), via, successor: false }
}

impl Cluster {
    /// Worker 1 of two has served enough, and 201 serves in its place.
    fn choosing() -> Self {
        let mut cluster = Cluster::booted(reforking(2));
        assert_eq!(cluster.do_(ping_after(pid(101), 49)), []);
        assert_eq!(cluster.do_(ping_after(pid(101), 50)), [beside(1, 2, 0, SpawnVia::Master)]);
        assert_eq!(cluster.do_(ping_after(pid(100), 50)), [], "one at a time");
        cluster.handle(spawned(1, pid(201)));
        cluster.handle(boot(1, pid(201)));
        let effects = cluster.handle(ping(pid(201)));
        assert_eq!(log(&effects), ["- Worker 1 (PID: 101) finishes its requests, to be the mold"]);
        assert_eq!(deeds(effects), [Effect::Promote { pid: pid(101) }]);
        cluster
    }

    /// … and the former worker 1 is the mold; worker 0 is to be replaced.
    fn with_mold() -> Self {
        let mut cluster = Self::choosing();
        let effects = cluster.handle(molded(pid(101)));
        assert_eq!(
            log(&effects),
            ["- Starting worker refork, phase: 1", "- Stopping 100 for refork...", "- TERM sent to 100..."]
        );
        assert!(effects.contains(&Effect::Vacate { place: PlaceId(1) }), "it is in no figures");
        assert_eq!(deeds(effects), [Effect::UseMold { pid: pid(101) }, term(pid(100))]);
        cluster
    }

    /// … and both workers were.
    fn reforked() -> Self {
        let mut cluster = Self::with_mold();
        assert_eq!(
            cluster.do_(exit(pid(100)))[1..],
            [Effect::PauseMold, at(0, 0, 1)],
            "before_refork once, while others follow"
        );
        cluster.handle(fork(0, pid(300)));
        cluster.handle(boot(0, pid(300)));
        assert_eq!(cluster.do_(ping(pid(300))), [term(pid(201))]);
        assert_eq!(
            cluster.do_(exit(pid(201)))[1..],
            [at(1, 2, 1), Effect::ResumeMold { after_refork: true }],
            "the mold still has place 1"
        );
        cluster.handle(fork(1, pid(301)));
        assert_eq!(cluster.do_(boot(1, pid(301))), [], "no restart is over");
        assert_eq!(cluster.pids(), [300, 301]);
        cluster.handle(ping(pid(301)));
        cluster
    }
}

#[test]
fn a_worker_that_is_warm_is_replaced_and_then_forks_the_others() {
    let cluster = Cluster::reforked();
    assert_eq!(cluster.supervisor.phase(), Phase(1));
    assert!(cluster.supervisor.workers().all(|worker| worker.phase() == Phase(1)));
}

#[test]
fn the_next_mold_comes_after_the_next_number_and_is_forked_beside_from_the_last_one() {
    let mut cluster = Cluster::reforked();
    assert_eq!(cluster.do_(ping_after(pid(300), 99)), []);
    assert_eq!(
        cluster.do_(ping_after(pid(300), 100)),
        [Effect::PauseMold, beside(0, 3, 1, SpawnVia::Mold), Effect::ResumeMold { after_refork: true }]
    );
    cluster.handle(fork(0, pid(400)));
    cluster.handle(boot(0, pid(400)));
    assert_eq!(cluster.do_(ping(pid(400))), [Effect::Promote { pid: pid(300) }]);
    let effects = cluster.handle(molded(pid(300)));
    assert_eq!(log(&effects)[0], "- Stopping 101, another one is the mold...");
    assert_eq!(deeds(effects)[..2], [term(pid(101)), Effect::UseMold { pid: pid(300) }]);
    let effects = cluster.handle(exit(pid(101)));
    assert_eq!(log(&effects), [""; 0], "it was told to go");
    for _ in 0..3 {
        cluster.handle(ping(pid(400)));
        cluster.handle(ping(pid(300)));
        cluster.after(SECOND);
    }
    assert_eq!(cluster.supervisor.phase(), Phase(2));
}

#[test]
fn a_tenth_of_the_workers_is_missing_at_a_time() {
    for (workers, missing) in [(1, 1), (9, 1), (19, 1), (20, 2), (35, 3)] {
        let mut cluster = Cluster::booted(reforking(workers));
        cluster.handle(ping_after(pid(100), 50));
        cluster.handle(spawned(0, pid(500)));
        cluster.handle(boot(0, pid(500)));
        cluster.handle(ping(pid(500)));
        let told = |effects: Vec<Effect>| {
            effects
                .iter()
                .filter(|effect| matches!(effect, Effect::Signal { signal: Signal::Term, .. }))
                .count()
        };
        assert_eq!(told(cluster.handle(molded(pid(100)))), missing, "of {workers}");
        assert_eq!(
            told(cluster.handle(ping(pid(500)))),
            0,
            "of {workers}, and no more before they are there"
        );
    }
}

#[test]
fn a_mold_that_is_killed_leaves_the_others_as_they_are_and_the_master_forks() {
    let mut cluster = Cluster::with_mold();
    cluster.handle(exit(pid(100)));
    let killed = Event::Exited { pid: pid(101), status: ExitStatus::Signal(9) };
    let effects = cluster.handle(killed);
    assert_eq!(
        log(&effects),
        ["! The mold (PID: 101) died: SIGKILL (signal 9), up 5.0s, perhaps out of memory"]
    );
    assert_eq!(deeds(effects)[1..], [spawn(0, 1)], "asked of it, and now of the master; worker 1 stays");
    cluster.handle(spawned(0, pid(300)));
    assert_eq!(cluster.do_(boot(0, pid(300))), []);
    cluster.handle(ping(pid(300)));
    let effects = cluster.handle(ping_after(pid(201), 100));
    assert!(log(&effects)[0].ends_with("it has served 100 requests, and is to be the mold"), "{effects:?}");
}

#[test]
fn a_child_of_a_dead_mold_whose_place_is_taken_finishes_what_it_has_begun() {
    let mut cluster = Cluster::with_mold();
    cluster.handle(exit(pid(100)));
    cluster.handle(Event::Exited { pid: pid(101), status: ExitStatus::Signal(9) });
    cluster.handle(spawned(0, pid(300)));
    assert_eq!(cluster.do_(boot(0, pid(299))), [term(pid(299))]);
    assert_eq!(cluster.handle(Event::Worker(WorkerMessage::GotTerm { pid: pid(299) })), []);
    assert_eq!(cluster.pids(), [300, 201]);
}

#[test]
fn one_that_does_not_finish_its_requests_is_killed() {
    let mut cluster = Cluster::choosing();
    let mut effects = Vec::new();
    for _ in 0..31 {
        for worker in [100, 201, 101] {
            cluster.handle(ping(pid(worker)));
        }
        effects = cluster.after(SECOND);
        if !effects.is_empty() {
            break;
        }
    }
    let line = "! Terminating worker 1, which was to be the mold and has not finished its requests within 30 seconds: 101";
    assert_eq!(log(&effects), [line]);
    assert_eq!(deeds(effects), [kill(pid(101))]);
    cluster.handle(Event::Exited { pid: pid(101), status: ExitStatus::Signal(9) });
    assert_eq!(cluster.do_(molded(pid(101))), [], "too late");
    assert_eq!(cluster.pids(), [100, 201]);
    assert_eq!(cluster.do_(ping_after(pid(100), 50)), [beside(0, 1, 0, SpawnVia::Master)], "the next one");
}

#[test]
fn operators_ask_for_a_refork_of_the_worker_that_has_served_most() {
    let mut cluster = Cluster::booted(reforking(3));
    cluster.handle(ping_after(pid(102), 7));
    let effects = cluster.handle(operator(Command::Refork));
    assert_eq!(
        log(&effects),
        ["- Worker 2 (PID: 102) is replaced: it has served 7 requests, and is to be the mold"]
    );
    assert_eq!(deeds(cluster.handle(operator(Command::Refork))), [], "it is under way");
}

#[test]
fn a_phased_restart_ends_the_mold_whose_code_is_old() {
    let mut cluster = Cluster::reforked();
    let effects = cluster.do_(operator(Command::PhasedRestart));
    assert!(effects.contains(&term(pid(101))) && effects.contains(&term(pid(300))), "{effects:?}");
    assert_eq!(cluster.do_(Event::Vanished { pid: pid(300) }), [spawn(0, 2)], "by the master, from new code");
    let mut cluster = Cluster::choosing();
    assert!(cluster.do_(operator(Command::PhasedRestart)).contains(&term(pid(101))));
    assert_eq!(cluster.do_(molded(pid(101))), [], "it is none any more");
}

#[test]
fn the_end_takes_the_mold_along() {
    for mut cluster in [Cluster::choosing(), Cluster::reforked()] {
        let effects = cluster.do_(operator(Command::Terminate));
        assert!(effects.contains(&term(pid(101))), "{effects:?}");
        for worker in cluster.pids() {
            cluster.handle(exit(pid(worker)));
        }
        let effects = cluster.do_(exit(pid(101)));
        assert_eq!(effects.last(), Some(&Effect::Exit(ExitReason::Terminate)), "{effects:?}");
    }
}

#[test]
fn nothing_of_it_begins_while_workers_are_replaced_or_the_end_is_near() {
    let mut cluster = Cluster::booted(Options { shutdown_delay: SECOND, ..reforking(2) });
    cluster.handle(operator(Command::PhasedRestart));
    assert_eq!(cluster.do_(ping_after(pid(101), 50)), []);
    let mut cluster = Cluster::booted(Options { shutdown_delay: 60 * SECOND, ..reforking(2) });
    cluster.handle(operator(Command::Terminate));
    assert_eq!(cluster.do_(ping_after(pid(101), 50)), []);
    assert_eq!(cluster.do_(operator(Command::Refork)), []);
}

#[test]
fn a_mold_that_says_nothing_is_killed() {
    let mut cluster = Cluster::reforked();
    let mut effects = Vec::new();
    for _ in 0..70 {
        for worker in [300, 301] {
            cluster.handle(ping(pid(worker)));
        }
        effects = cluster.after(SECOND);
        if !effects.is_empty() {
            break;
        }
    }
    assert_eq!(deeds(effects), [kill(pid(101))]);
}
