//! Random clusters: the promises of [`Supervisor::handle`] under any order of events.
//!
//! A little world of processes carries the effects out with delays, crashes and
//! deafness drawn from a seeded generator, while operators push buttons. Every
//! step checks what may never happen; then the world behaves, and the cluster
//! has to come to rest as asked.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::cluster::master::{CullingStrategy, MemoryLimit, RetirementOptions, SpawnVia};
use crate::cluster::{PlaceId, RetireReason};

const STEP: Duration = Duration::from_millis(100);

/// xorshift64*: repeatable without a dependency.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

struct Process {
    index: Index,
    /// The worker that it is to replace, if that still served when it was asked for.
    predecessor: Option<Pid>,
    grandchild: bool,
    /// Steps until it has finished its requests, to be the mold.
    molds_in: Option<u64>,
    boots_in: Option<u64>,
    booted: bool,
    /// Steps until it obeys TERM; `None` never does.
    obeys_in: Option<u64>,
    stopping: bool,
    pings: bool,
    /// It serves, or a mold has been told to.
    serves: bool,
    requests: u64,
    memory: u64,
}

struct World {
    random: Random,
    behaves: bool,
    /// No worker asks to be replaced any more, and new ones have no limit to reach.
    calm: bool,
    /// Nothing ever goes wrong and nobody presses a button: workers retire, and that is all.
    quiet: bool,
    now: Instant,
    supervisor: Supervisor,
    next_pid: i32,
    processes: BTreeMap<Pid, Process>,
    /// What worker 0 was asked to fork and has not.
    fork_pipe: VecDeque<(Index, Option<Pid>)>,
    mold_works: bool,
    /// The mold of `refork_after`.
    mold: Option<Pid>,
    events: VecDeque<Event>,
    stopped: bool,
    /// How many workers there were after the last event.
    count: usize,
    /// What happened, when it is wanted: it takes longer to write down than to do.
    history: Option<Vec<String>>,
}

/// Half of the worlds have limits, small enough to be reached again and again.
fn retirement(random: &mut Random, quiet: bool) -> RetirementOptions {
    let memory = MemoryLimit {
        limit: 60 + random.below(10),
        samples: 1 + u32::try_from(random.below(3)).unwrap(),
        every: Duration::from_millis(100 + random.below(500)),
        hard: (!quiet && random.one_in(3)).then_some(75),
    };
    RetirementOptions {
        memory: random.one_in(2).then_some(memory),
        requests: random.one_in(2).then_some((60, 0.5)),
        lifetime: random.one_in(2).then_some((Duration::from_secs(8), 0.5)),
        seed: random.next(),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let quiet = random.one_in(4);
        let fork_worker = random.one_in(2).then_some(if quiet { 0 } else { random.below(3) * 20 });
        let molds = !quiet && fork_worker.is_none() && random.one_in(2);
        let options = Options {
            workers: 1 + u32::try_from(random.below(5)).unwrap(),
            fork_worker,
            refork_after: if molds { vec![10, 30] } else { Vec::new() },
            worker_culling_strategy: if random.one_in(2) {
                CullingStrategy::Oldest
            } else {
                CullingStrategy::Youngest
            },
            worker_shutdown_timeout: Duration::from_secs(2),
            worker_boot_timeout: Duration::from_secs(4),
            worker_timeout: Duration::from_secs(3),
            retirement: retirement(&mut random, quiet),
            ..Options::default()
        };
        Self {
            random,
            behaves: quiet,
            calm: false,
            quiet,
            now: Instant::now(),
            supervisor: Supervisor::new(options),
            next_pid: 1,
            processes: BTreeMap::new(),
            fork_pipe: VecDeque::new(),
            mold_works: true,
            mold: None,
            events: VecDeque::new(),
            stopped: false,
            count: 0,
            history: None,
        }
    }

    fn create(&mut self, index: Index, predecessor: Option<Pid>, grandchild: bool) -> Pid {
        let pid = Pid::new(self.next_pid).unwrap();
        self.next_pid += 1;
        let bad = !self.behaves;
        let process = Process {
            index,
            predecessor,
            grandchild,
            molds_in: None,
            boots_in: (!bad || !self.random.one_in(10)).then(|| self.random.below(12)),
            booted: false,
            obeys_in: (!bad || !self.random.one_in(6)).then(|| self.random.below(10)),
            stopping: false,
            pings: !bad || !self.random.one_in(10),
            serves: index != Index::MOLD || !self.supervisor.can_refork(),
            requests: 0,
            memory: 50,
        };
        self.processes.insert(pid, process);
        pid
    }

    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            if let Some(history) = &mut self.history {
                history.push(format!("{event:?}"));
            }
            let effects = self.supervisor.handle(event, self.now);
            // Spawned comes before any other event, as the loop promises.
            let mut outcome = VecDeque::new();
            for effect in effects {
                if let Some(history) = &mut self.history {
                    history.push(format!("    {effect:?}"));
                }
                self.carry_out(effect, &mut outcome);
            }
            outcome.append(&mut self.events);
            self.events = outcome;
            self.check();
        }
    }

    fn carry_out(&mut self, effect: Effect, outcome: &mut VecDeque<Event>) {
        match effect {
            Effect::Spawn { index, via: SpawnVia::Master, successor, .. } => {
                assert!(!self.stopped, "a worker was forked after the stop");
                let predecessor = self.predecessor(index, successor);
                if !self.behaves && self.random.one_in(20) {
                    let reason = "no more processes".to_owned();
                    return outcome.push_back(Event::SpawnFailed { index, reason });
                }
                if index == Index::MOLD && !successor {
                    self.fork_pipe.clear();
                    self.mold_works = self.behaves || !self.random.one_in(10);
                }
                let pid = self.create(index, predecessor, false);
                outcome.push_back(Event::Spawned { index, pid });
            }
            Effect::SwitchMold => {
                self.fork_pipe.clear();
                self.mold_works = self.behaves || !self.random.one_in(10);
            }
            Effect::Promote { pid } => {
                let deaf = !self.behaves && self.random.one_in(6);
                let steps = self.random.below(10);
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.molds_in = (!deaf).then_some(steps);
                    process.serves = false;
                }
            }
            Effect::UseMold { pid } => {
                self.fork_pipe.clear();
                self.mold_works = self.behaves || !self.random.one_in(10);
                self.mold = Some(pid);
            }
            Effect::ResumeMold { .. } => {
                let mold = self.mold().and_then(|pid| self.processes.get_mut(&pid));
                if let Some(mold) = mold {
                    mold.serves = !self.supervisor.has_molds();
                }
            }
            Effect::Measure { pid } => {
                let octets = self.processes.get(&pid).map(|process| process.memory);
                outcome.push_back(Event::Measured { pid, octets });
            }
            Effect::Spawn { index, via: SpawnVia::Mold, successor, .. } => {
                assert!(!self.stopped, "a worker was forked after the stop");
                let mold = self.supervisor.mold_pid().and_then(|pid| self.supervisor.workers.by_pid_mut(pid));
                let can_fork = mold.is_some_and(|mold| matches!(mold.stage, Stage::Booted { .. }));
                assert!(can_fork, "nobody can fork worker {index}");
                let predecessor = self.predecessor(index, successor);
                self.fork_pipe.push_back((index, predecessor));
            }
            Effect::Signal { pid, signal: Signal::Kill } => self.end(pid, ExitStatus::Signal(9), outcome),
            Effect::Signal { pid, signal: Signal::Term } => {
                if self.quiet && !self.stopped && self.supervisor.course == Course::Running {
                    let serves = |process: &Process| {
                        let is_mold = process.index == Index::MOLD && self.supervisor.can_refork();
                        process.predecessor == Some(pid)
                            && process.booted
                            && (is_mold || process.requests > 0)
                    };
                    assert!(self.processes.values().any(serves), "nobody has replaced it yet");
                }
                // Nobody repeats it to one that is not known; the end of the master is its own.
                let is_known = self.supervisor.all_workers().any(|worker| worker.pid() == Some(pid));
                if !is_known {
                    return self.end(pid, ExitStatus::Code(0), outcome);
                }
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.stopping = true;
                }
            }
            Effect::Log(LogLine::StoppingForPhase { .. } | LogLine::StoppingForRefork { .. }) => {
                let (stopping, rest): (Vec<_>, Vec<_>) =
                    self.supervisor.workers().partition(|worker| worker.is_stopping());
                assert_eq!(stopping.len(), 1, "one worker at a time is replaced");
                assert!(rest.iter().all(|worker| worker.is_serving()), "and only while all others serve");
            }
            Effect::Exec | Effect::Exit(_) => self.stopped = true,
            _ => {}
        }
    }

    fn predecessor(&self, index: Index, successor: bool) -> Option<Pid> {
        let predecessor = self.supervisor.workers.at(index).and_then(WorkerHandle::pid);
        assert_eq!(successor, predecessor.is_some(), "a successor has a predecessor");
        assert!(!successor || self.supervisor.rolling.is_none(), "a restart replaces them all");
        predecessor
    }

    /// Who reads the fork pipe: worker 0, not its successor, which has another one.
    fn mold(&self) -> Option<Pid> {
        if self.supervisor.has_molds() {
            return self.mold.filter(|mold| self.processes.contains_key(mold));
        }
        let mold = self.supervisor.workers.at(Index::MOLD)?.pid()?;
        self.processes.get(&mold).filter(|process| process.booted).map(|_| mold)
    }

    fn end(&mut self, pid: Pid, status: ExitStatus, outcome: &mut VecDeque<Event>) {
        if let Some(process) = self.processes.remove(&pid) {
            outcome.push_back(if process.grandchild {
                Event::Vanished { pid }
            } else {
                Event::Exited { pid, status }
            });
        }
    }

    /// What may never happen.
    fn check(&mut self) {
        let workers: Vec<_> = self.supervisor.workers().map(WorkerHandle::index).collect();
        let mut unique = workers.clone();
        unique.dedup();
        assert_eq!(workers, unique, "an index occurs twice");
        let asked = self.supervisor.asked() as usize;
        let count = workers.len();
        assert!(
            count <= asked.max(self.count),
            "{count} workers instead of {}, asked for {asked}",
            self.count
        );
        // One more than there are workers, and one that worker 0 has forked and not told of.
        let aside = self.supervisor.workers.aside().len();
        assert!(self.processes.len() <= count.max(self.count) + 2 + aside, "more processes than are known");
        let all: Vec<&WorkerHandle> = self.supervisor.all_workers().collect();
        assert!(all.len() <= count + 1 + aside, "more than one extra");
        assert!(aside == 0 || self.supervisor.has_molds(), "a worker that has lost its index");
        let mut places: Vec<PlaceId> = all.iter().map(|worker| worker.place()).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), all.len(), "two show their figures in one place");
        if self.quiet && self.supervisor.course == Course::Running && self.supervisor.announced {
            let serving = self.supervisor.workers().filter(|worker| worker.is_serving()).count();
            assert_eq!(serving, asked, "a retirement takes nobody out of service");
            let known = |pid: &Pid| all.iter().any(|worker| worker.pid() == Some(*pid));
            let being_forked = all.iter().any(|worker| worker.is_requested());
            assert!(
                being_forked || self.processes.keys().all(known),
                "a process that the supervisor has forgotten"
            );
        }
        self.count = count;
    }

    fn step(&mut self) {
        self.now += STEP;
        let mut events = VecDeque::new();
        if self.mold_works
            && let Some(mold) = self.mold()
            && let Some((index, predecessor)) = self.fork_pipe.pop_front()
            && self.processes.contains_key(&mold)
        {
            let pid = self.create(index, predecessor, true);
            events.push_back(Event::Worker(WorkerMessage::Forked { pid, index }));
        }
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        for pid in pids {
            self.live(pid, &mut events);
        }
        for event in events {
            self.tell(event);
        }
        self.tell(Event::Tick);
        if self.supervisor.course == Course::Running {
            assert!(self.supervisor.next_deadline(self.now) > self.now, "the loop would spin");
        }
    }

    /// One step in the life of one process.
    fn live(&mut self, pid: Pid, events: &mut VecDeque<Event>) {
        let bad = !self.behaves;
        let crashes = bad && self.random.one_in(150);
        let outside_term = bad && self.random.one_in(200);
        let leaks = !self.calm && self.random.one_in(3);
        let asks = !self.calm && self.random.one_in(100);
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        let index = process.index;
        if outside_term && !process.stopping {
            process.stopping = true;
            if process.booted {
                events.push_back(Event::Worker(WorkerMessage::GotTerm { pid }));
            }
        }
        let exits = match process.obeys_in.as_mut() {
            Some(0) if process.stopping => true,
            Some(left) if process.stopping => {
                *left -= 1;
                false
            }
            _ => false,
        };
        match process.boots_in.as_mut() {
            _ if process.booted => {}
            Some(0) => {
                process.booted = true;
                events.push_back(Event::Worker(WorkerMessage::Booted { pid, index }));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if process.booted && leaks {
            process.memory += 1;
        }
        if process.booted && asks {
            events.push_back(Event::Worker(WorkerMessage::Retire { pid, reason: RetireReason::HungRequest }));
        }
        match process.molds_in.as_mut() {
            Some(0) => {
                process.molds_in = None;
                events.push_back(Event::Worker(WorkerMessage::Molded { pid }));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let is_aside = self.supervisor.workers.aside().iter().any(|worker| worker.pid() == Some(pid));
        if process.booted && (process.serves || is_aside) && process.pings {
            process.requests += u64::from(process.serves);
            let stats = ServerStats { requests_count: process.requests, ..ServerStats::default() };
            events.push_back(Event::Worker(WorkerMessage::Ping { pid, stats }));
        }
        if exits || crashes {
            self.end(pid, ExitStatus::Code(0), events);
        }
    }

    fn press_a_button(&mut self) {
        if self.quiet {
            return;
        }
        let command = match self.random.below(5) {
            0 => Command::AddWorker,
            1 => Command::RemoveWorker,
            2 => Command::PhasedRestart,
            3 => Command::Refork,
            _ => Command::ReopenLogs,
        };
        if command == Command::AddWorker && self.supervisor.asked() > 8 {
            return;
        }
        if command != Command::ReopenLogs || self.supervisor.options.redirects_io {
            self.tell(Event::Operator(command));
        }
    }

    fn is_at_rest(&self) -> bool {
        let workers: Vec<_> = self.supervisor.workers().collect();
        workers.len() == self.supervisor.asked() as usize
            && workers.iter().all(|worker| worker.is_serving() && worker.phase == self.supervisor.phase)
            && self.processes.len() == workers.len() + self.supervisor.workers.aside().len()
            && self.supervisor.workers.aside().len() <= 1
            && workers.iter().all(|worker| worker.retiring.is_none())
            && !self.supervisor.workers.has_extra()
            && self.supervisor.rolling.is_none()
            && self.supervisor.announced
            && self.supervisor.mold != Mold::Paused { reforking: true }
    }
}

fn run(world: &mut World, seed: u64) {
    world.tell(Event::Start);
    for _ in 0..150 {
        if world.random.one_in(30) {
            world.press_a_button();
        }
        world.step();
    }
    if seed.is_multiple_of(4) {
        stop(world);
    } else {
        come_to_rest(world);
    }
}

fn stop(world: &mut World) {
    let command = match world.random.below(3) {
        0 => Command::Stop,
        1 => Command::Terminate,
        _ => Command::Restart,
    };
    world.tell(Event::Operator(command));
    for _ in 0..60 {
        world.step();
    }
    assert!(world.stopped, "the cluster did not stop");
    assert!(world.processes.is_empty(), "a worker outlived the cluster");
}

fn come_to_rest(world: &mut World) {
    world.behaves = true;
    world.calm = true;
    world.supervisor.options.refork_after.iter_mut().for_each(|count| *count = u64::MAX);
    let memory = world.supervisor.options.retirement.memory;
    world.supervisor.options.retirement = RetirementOptions { memory, ..RetirementOptions::default() };
    for _ in 0..3_000 {
        if world.is_at_rest() {
            return;
        }
        world.step();
    }
    panic!("the cluster did not come to rest: {:?}", world.supervisor);
}

/// Whether the promises hold, and if not, what had happened as far as it was to be written down.
fn outcome(seed: u64, history: Option<Vec<String>>) -> Result<(), Vec<String>> {
    let mut world = World { history, ..World::new(seed) };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut world, seed)));
    outcome.map_err(|_| world.history.unwrap_or_default())
}

#[test]
fn promises_hold_for_thousands_of_random_clusters() {
    for seed in 0..2_000 {
        if outcome(seed, None).is_err()
            && let Err(history) = outcome(seed, Some(Vec::new()))
        {
            let last = history.len().saturating_sub(60);
            panic!("seed {seed}; the last events:\n{}", history[last..].join("\n"));
        }
    }
}
