//! Random servers: the promises of [`Takeover::handle`] under any order of events.
//!
//! A little world of generations carries the effects out with delays, crashes and deafness drawn from a seeded generator,
//! while operators push buttons. Every step checks what may never happen; then the world behaves, and the server has to come
//! to rest as asked.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::succession::Ready;

const STEP: Duration = Duration::from_millis(200);

/// xorshift64*: repeatable without a dependency.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A generation as it really is.
struct Real {
    pid: Pid,
    alone: bool,
    serves: bool,
    leads: bool,
    draining: bool,
    /// Steps until it has booted; `None` never does.
    boots_in: Option<u64>,
    booted: bool,
    asked: u32,
    workers: u32,
    /// Steps until it obeys; `None` never does.
    obeys_in: Option<u64>,
    ends_with: Option<ExitStatus>,
    settings: Settings,
    said_settings: bool,
}

struct World {
    random: Random,
    behaves: bool,
    now: Instant,
    takeover: Takeover,
    next_pid: i32,
    real: BTreeMap<Number, Real>,
    events: VecDeque<Event>,
    stop_asked: bool,
    ended: bool,
    /// The first generation has opened its listeners.
    opened: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            behaves: false,
            now: Instant::now(),
            takeover: Takeover::new(),
            next_pid: 1,
            real: BTreeMap::new(),
            events: VecDeque::new(),
            stop_asked: false,
            ended: false,
            opened: false,
        };
        let pid = world.create(Number::FIRST, true);
        // The first one boots, or there is nothing to see.
        world.real.get_mut(&Number::FIRST).unwrap().boots_in = Some(3);
        world.events.push_back(Event::Begun(pid));
        world
    }

    fn create(&mut self, number: Number, alone: bool) -> Pid {
        let pid = Pid::new(self.next_pid).unwrap();
        self.next_pid += 1;
        let bad = !self.behaves;
        let ready =
            Ready { path: "/up".into(), timeout: Duration::from_secs(3), interval: Duration::from_secs(1) };
        let settings = Settings {
            workers: 1 + u32::try_from(self.random.below(4)).unwrap(),
            step: if self.random.one_in(4) {
                u32::MAX
            } else {
                1 + u32::try_from(self.random.below(2)).unwrap()
            },
            boot_timeout: Duration::from_secs(4),
            ready: self.random.one_in(2).then_some(ready),
            settle: Duration::from_secs(1),
            drain: Duration::from_secs(3),
            pidfile: None,
        };
        let real = Real {
            pid,
            alone,
            serves: alone,
            leads: alone,
            draining: false,
            boots_in: (!bad || !self.random.one_in(6)).then(|| self.random.below(15)),
            booted: false,
            asked: if alone { settings.workers } else { settings.first_step() },
            workers: 0,
            obeys_in: (!bad || !self.random.one_in(5)).then(|| self.random.below(12)),
            ends_with: None,
            settings,
            said_settings: false,
        };
        self.real.insert(number, real);
        pid
    }

    fn run(&mut self) {
        while let Some(event) = self.events.pop_front() {
            self.stop_asked |= matches!(event, Event::Operator(Request::Terminate));
            let effects = self.takeover.handle(event, self.now);
            let mut news = VecDeque::new();
            for effect in effects {
                assert!(!self.ended, "{effect:?} after the end");
                self.carry_out(effect, &mut news);
            }
            // What a start brings is told before anything else.
            while let Some(event) = news.pop_back() {
                self.events.push_front(event);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect, news: &mut VecDeque<Event>) {
        match effect {
            Effect::Spawn { number, alone } => {
                assert!(!self.stop_asked, "started after a stop");
                assert!(self.real.len() < 2, "more than two generations");
                let serving =
                    self.real.values().any(|real| real.leads && !real.draining && real.ends_with.is_none());
                assert!(!alone || !serving, "alone beside one that serves");
                if !self.behaves && self.random.one_in(12) {
                    news.push_back(Event::SpawnFailed { number, reason: "no memory".into() });
                } else {
                    let pid = self.create(number, alone);
                    news.push_back(Event::Spawned { number, pid });
                }
            }
            Effect::Tell(number, order) => self.order(number, order),
            Effect::Probe(number) => {
                let fine = self.behaves || !self.random.one_in(3);
                let answer = if fine { Ok(()) } else { Err("status 503".into()) };
                if self.behaves || !self.random.one_in(10) {
                    self.events.push_back(Event::Probed(number, answer));
                }
            }
            Effect::Kill(pid) => self.end_of(pid, ExitStatus::Signal(9)),
            Effect::Exit(_) => {
                assert!(self.real.is_empty(), "ends before its generations");
                self.ended = true;
            }
            _ => {}
        }
    }

    fn end_of(&mut self, pid: Pid, status: ExitStatus) {
        if let Some(real) = self.real.values_mut().find(|real| real.pid == pid) {
            real.ends_with = Some(status);
            real.obeys_in = Some(0);
        }
    }

    fn order(&mut self, number: Number, order: Order) {
        let others_serve = self.real.iter().any(|(it, real)| *it != number && real.serves && real.booted)
            // It has died just now, and nobody knows.
            || self.events.iter().any(|event| matches!(event, Event::Exited { .. }));
        let Some(real) = self.real.get_mut(&number) else { return };
        match order {
            Order::Serve => real.serves = true,
            Order::Lead => {
                assert!(real.booted, "leads before it has booted");
                real.leads = true;
            }
            Order::Drain => {
                if real.leads {
                    assert!(others_serve, "the one that serves is told to go, and there is no other");
                }
                real.draining = true;
                real.ends_with.get_or_insert(ExitStatus::Code(0));
                if self.behaves || !self.random.one_in(4) {
                    self.events.push_back(Event::Heard(number, Report::Resigned));
                }
            }
            Order::Grow(count) => real.asked += count,
            Order::Shrink(count) => real.asked = real.asked.saturating_sub(count).max(1),
            Order::Interrupt | Order::Terminate | Order::Halt => {
                real.ends_with = Some(ExitStatus::Code(0));
                real.obeys_in.get_or_insert(20);
            }
            Order::GiveUp => real.ends_with = Some(ExitStatus::Code(1)),
            Order::Signal(Forwarded::Ttin) => real.asked += 1,
            Order::Signal(Forwarded::Ttou) => real.asked = real.asked.saturating_sub(1).max(1),
            _ => {}
        }
    }

    /// What a generation does by itself in a step.
    fn live(&mut self, number: Number) {
        let bad = !self.behaves;
        let crash = bad && self.random.one_in(60);
        let worker_dies = bad && self.random.one_in(40);
        let Some(real) = self.real.get_mut(&number) else { return };
        let mut say = |report| self.events.push_back(Event::Heard(number, report));
        if !real.said_settings {
            real.said_settings = true;
            say(Report::Settings(real.settings.clone()));
        }
        if let Some(status) = real.ends_with
            && real.obeys_in == Some(0)
        {
            self.events.push_back(Event::Exited { pid: real.pid, status });
            self.real.remove(&number);
            return;
        }
        if real.ends_with.is_some() {
            real.obeys_in = real.obeys_in.map(|steps| steps - 1);
        }
        if crash && self.opened {
            self.events.push_back(Event::Exited { pid: real.pid, status: ExitStatus::Signal(11) });
            self.real.remove(&number);
            return;
        }
        if !real.booted {
            real.boots_in = real.boots_in.map(|steps| steps.saturating_sub(1));
            if real.boots_in != Some(0) {
                return;
            }
            real.booted = true;
            real.workers = real.asked;
            say(Report::Listening(vec![]));
            say(Report::Staff { workers: real.workers, booted: real.workers });
            say(Report::Booted);
            self.opened = true;
            return;
        }
        if worker_dies {
            say(Report::WorkerDied("Worker 0 died: exit 1".into()));
        }
        if real.workers != real.asked {
            real.workers = if real.workers < real.asked { real.workers + 1 } else { real.workers - 1 };
            say(Report::Staff { workers: real.workers, booted: real.workers });
        }
    }

    fn push_a_button(&mut self) {
        let request = match self.random.below(40) {
            0..=11 => Request::Restart,
            12 => Request::Forward(Forwarded::Ttin),
            13 => Request::Forward(Forwarded::Ttou),
            14 => Request::Forward(Forwarded::Hup),
            15 if self.random.one_in(4) => Request::Terminate,
            _ => return,
        };
        self.events.push_back(Event::Operator(request));
    }

    fn step(&mut self) {
        self.now += STEP;
        let numbers: Vec<Number> = self.real.keys().copied().collect();
        for number in numbers {
            self.live(number);
        }
        if !self.behaves && self.opened && self.random.one_in(10) {
            self.push_a_button();
        }
        self.events.push_back(Event::Tick);
        self.run();
        assert!(self.real.len() <= 2);
        assert!(
            self.ended || self.takeover.next_deadline().is_none_or(|at| at > self.now),
            "a deadline that is past"
        );
    }
}

#[test]
fn whatever_happens_one_generation_serves_in_the_end() {
    for seed in 0..1000 {
        let mut world = World::new(seed);
        for _ in 0..150 {
            world.step();
        }
        world.behaves = true;
        for real in world.real.values_mut() {
            real.boots_in.get_or_insert(3);
            real.obeys_in.get_or_insert(3);
        }
        for _ in 0..600 {
            world.step();
        }
        if world.stop_asked {
            assert!(world.ended, "seed {seed}: it does not end");
            continue;
        }
        assert!(!world.ended, "seed {seed}: it ended by itself");
        let real: Vec<&Real> = world.real.values().collect();
        assert_eq!(real.len(), 1, "seed {seed}: {}", world.takeover.standing());
        let one = real[0];
        assert!(one.serves && one.leads && one.booted && !one.draining, "seed {seed}: it does not serve");
        assert!(
            one.alone || one.workers >= one.settings.workers.min(one.asked),
            "seed {seed}: {} workers",
            one.workers
        );
        assert!(world.takeover.next_deadline().is_none(), "seed {seed}: something is still to be done");
        assert!(
            world
                .takeover
                .standing()
                .contains(&format!(r#""generation":{}"#, world.real.keys().next().unwrap()))
        );
    }
}
