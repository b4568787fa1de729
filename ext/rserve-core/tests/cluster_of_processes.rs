//! A whole cluster of real processes without Ruby: the supervisor, the inbox and the worker pipe, with shell scripts
//! for workers. The loop is the one that every master has to have.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid as RawPid;
use rserve_core::cluster::link::pipes::{MessageReader, MessageWriter, worker_pipe};
use rserve_core::cluster::master::{
    Command, Effect, Event, ExitReason, ExitStatus, Inbox, LifecycleEvent, Options, SpawnVia, Supervisor,
};
use rserve_core::cluster::{Index, Pid};
use rserve_core::server::ServerStats;

/// Boots, pings ten times a second, obeys TERM.
const GOOD: &str = r#"
    trap 'echo "e$$"; echo "t$$"; exit 0' TERM
    echo "b$$:$0"
    while :; do echo "p$$:$FIGURES"; sleep 0.1 & wait $!; done
"#;

/// As [`GOOD`], but deaf.
const DEAF: &str = r#"
    trap '' TERM
    echo "b$$:$0"
    while :; do echo "p$$:$FIGURES"; sleep 0.1; done
"#;

/// Ends before it has booted.
const BROKEN: &str = "exit 1";

/// How long anything here may take.
const LONG: Duration = Duration::from_secs(20);

struct Master {
    supervisor: Supervisor,
    inbox: Inbox,
    reader: MessageReader,
    writer: MessageWriter,
    script: &'static str,
    children: Vec<Child>,
    log: Vec<String>,
    fired: Vec<LifecycleEvent>,
    exit: Option<ExitReason>,
}

impl Master {
    fn start(options: Options, script: &'static str) -> Self {
        let (reader, writer) = worker_pipe().unwrap();
        let mut master = Self {
            supervisor: Supervisor::new(options),
            inbox: Inbox::new().unwrap(),
            reader,
            writer,
            script,
            children: Vec::new(),
            log: Vec::new(),
            fired: Vec::new(),
            exit: None,
        };
        master.tell(Event::Start);
        master
    }

    /// One round of the loop: wait; then messages, commands, exits, and at last the time.
    fn turn(&mut self) {
        // No SIGCHLD here: look for exits often.
        let soon = Instant::now() + Duration::from_millis(20);
        let deadline = self.supervisor.next_deadline(Instant::now()).min(soon);
        self.inbox.wait(&[self.reader.as_fd()], deadline).unwrap();
        for message in self.reader.read().unwrap() {
            self.tell(Event::Worker(message.unwrap()));
        }
        for command in self.inbox.take() {
            self.tell(Event::Operator(command));
        }
        for event in self.reap() {
            self.tell(event);
        }
        self.tell(Event::Tick);
    }

    fn tell(&mut self, event: Event) {
        for effect in self.supervisor.handle(event, Instant::now()) {
            match effect {
                Effect::Spawn { index, via: SpawnVia::Master, .. } => {
                    let spawned = self.fork(index);
                    self.tell(spawned);
                }
                Effect::Signal { pid, signal } => {
                    let _ = kill(RawPid::from_raw(pid.as_raw()), Signal::from(signal));
                }
                Effect::Log(line) => self.log.push(line.to_string()),
                Effect::Fire(event) => self.fired.push(event),
                Effect::Exit(reason) => self.exit = Some(reason),
                _ => {}
            }
        }
    }

    fn fork(&mut self, index: Index) -> Event {
        let pipe = self.writer.as_fd().try_clone_to_owned().unwrap();
        let mut program = Program::new("sh");
        program.env("FIGURES", ["0"; ServerStats::COUNT].join(","));
        program.arg("-c").arg(self.script).arg(index.to_string()).stdin(Stdio::null()).stdout(pipe);
        match program.spawn() {
            Ok(child) => {
                let pid = pid_of(&child);
                self.children.push(child);
                Event::Spawned { index, pid }
            }
            Err(error) => Event::SpawnFailed { index, reason: error.to_string() },
        }
    }

    fn reap(&mut self) -> Vec<Event> {
        let mut exits = Vec::new();
        self.children.retain_mut(|child| {
            let Some(status) = child.try_wait().unwrap() else {
                return true;
            };
            let status = match status.code() {
                Some(code) => ExitStatus::Code(code),
                None => ExitStatus::Signal(status.signal().unwrap_or_default()),
            };
            exits.push(Event::Exited { pid: pid_of(child), status });
            false
        });
        exits
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "waited for {what}; the log:\n{}", self.log.join("\n"));
            self.turn();
        }
    }

    fn booted(&self) -> Vec<Pid> {
        self.supervisor
            .workers()
            .filter(|worker| worker.is_booted())
            .filter_map(|worker| worker.pid())
            .collect()
    }

    fn logged(&self, part: &str) -> usize {
        self.log.iter().filter(|line| line.contains(part)).count()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::new(i32::try_from(child.id()).unwrap()).unwrap()
}

fn two_workers() -> Options {
    Options { workers: 2, worker_shutdown_timeout: Duration::from_secs(1), ..Options::default() }
}

#[test]
fn workers_boot_are_replaced_phase_by_phase_and_stop() {
    let mut master = Master::start(two_workers(), GOOD);
    master.until("the first boot", |master| master.fired == [LifecycleEvent::Booted]);
    let old = master.booted();
    assert_eq!(old.len(), 2);

    master.inbox.push(Command::PhasedRestart);
    master.until("the phased restart", |master| master.fired.contains(&LifecycleEvent::PhaseBooted));
    assert!(master.booted().iter().all(|pid| !old.contains(pid)), "{:?} after {old:?}", master.booted());
    assert_eq!(master.logged("phase: 1"), 3, "{:?}", master.log);

    master.inbox.push(Command::Stop);
    master.until("the stop", |master| master.exit == Some(ExitReason::Stop));
    assert!(master.children.is_empty());
}

#[test]
fn killed_worker_is_replaced_without_waiting_for_the_check_interval() {
    let mut master = Master::start(two_workers(), GOOD);
    master.until("the first boot", |master| master.booted().len() == 2);
    let victim = master.booted()[1];
    kill(RawPid::from_raw(victim.as_raw()), Signal::SIGKILL).unwrap();
    let start = Instant::now();
    master.until("the replacement", |master| master.logged("Worker 1 (PID: ") == 2);
    assert!(start.elapsed() < Options::default().worker_check_interval / 2, "{:?}", start.elapsed());
}

#[test]
fn deaf_workers_are_killed_when_the_cluster_stops() {
    let mut master = Master::start(two_workers(), DEAF);
    master.until("the first boot", |master| master.booted().len() == 2);
    master.inbox.push(Command::Terminate);
    master.until("the stop", |master| master.exit == Some(ExitReason::Terminate));
    assert!(master.children.is_empty());
}

#[test]
fn app_that_cannot_boot_is_not_forked_all_the_time() {
    let mut master = Master::start(two_workers(), BROKEN);
    master.until("three attempts of each", |master| master.logged("died before it had booted") >= 6);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        master.turn();
    }
    assert_eq!(master.logged("died before it had booted"), 6, "{:?}", master.log);
}
