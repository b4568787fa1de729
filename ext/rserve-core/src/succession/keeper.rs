//! The keeper's loop: what happens is told to [`Takeover`], and what that decides is carried out here.
//!
//! One thread, no application, no lock. Everything waits in one poll(2): signals, what generations say, answers to probes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, id};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid as RawPid;

use super::inheritance::{Inheritance, share};
use super::message::{Forwarded, Order, PROTOCOL, Report};
use super::notify::Systemd;
use super::probe::Probe;
use super::{Channel, Effect, Event, Number, Request, Takeover};
use crate::cluster::Pid;
use crate::cluster::master::ExitStatus;
use crate::sys::{Signals, die_by, ignore_signal, write_log};

/// How long a line of the keeper's own waits for who reads the log.
const PATIENCE: Duration = Duration::from_secs(1);

const SIGNALS: [Signal; 11] = [
    Signal::SIGCHLD,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGPWR,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGURG,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What a keeper begins with.
#[derive(Debug)]
pub struct Begin {
    /// The first generation, a child.
    pub first: Pid,
    /// The end of its channel.
    pub channel: OwnedFd,
    /// What starts another generation: program and arguments.
    pub command: Vec<OsString>,
    /// In which folder; a symbolic link is followed anew each time.
    pub dir: PathBuf,
    /// USR2 is somebody else's.
    pub skips_usr2: bool,
}

struct Keeper {
    takeover: Takeover,
    signals: Signals,
    command: Vec<OsString>,
    dir: PathBuf,
    skips_usr2: bool,
    lines: BTreeMap<Number, Line>,
    inheritance: Inheritance,
    probes: Vec<Probe>,
    systemd: Systemd,
    pidfile: Option<PathBuf>,
    quit: bool,
    exit: Option<ExitStatus>,
}

/// What connects the keeper with a generation.
struct Line {
    channel: Channel,
    /// Where probes go in.
    door: Option<Channel>,
}

/// Keeps the server until its end, and says how this process is to end.
///
/// # Errors
///
/// The system refuses what a process is always given: pipes, handlers of signals.
pub fn run(begin: Begin) -> io::Result<ExitStatus> {
    let signals = Signals::take(&SIGNALS)?;
    share(&begin.channel, false)?;
    if begin.skips_usr2 {
        ignore_signal(Signal::SIGUSR2);
    }
    // What a generation leaves behind becomes a child of the keeper's, which sees to its end.
    set_child_subreaper(true)?;
    // A release that is deleted is not to be held up.
    let _ = std::env::set_current_dir("/");
    let mut keeper = Keeper {
        takeover: Takeover::new(),
        signals,
        command: begin.command,
        dir: begin.dir,
        skips_usr2: begin.skips_usr2,
        lines: BTreeMap::new(),
        inheritance: Inheritance::default(),
        probes: Vec::new(),
        systemd: Systemd::of_environment(),
        pidfile: None,
        quit: false,
        exit: None,
    };
    keeper.lines.insert(Number::FIRST, Line { channel: Channel::of(begin.channel), door: None });
    keeper.tell(Event::Begun(begin.first));
    // The first generation waits for this: from here on signals are taken.
    keeper.carry_out(Effect::Publish);
    keeper.reap();
    loop {
        if let Some(status) = keeper.exit {
            return Ok(keeper.leave(status));
        }
        keeper.turn()?;
    }
}

/// Ends this process with `status`, by the signal if it is one.
pub fn end(status: ExitStatus) -> ! {
    let code = match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(number) => {
            if let Ok(signal) = Signal::try_from(number) {
                die_by(signal);
            }
            128 + number // process 1 does not die by a signal
        }
    };
    std::process::exit(code)
}

impl Keeper {
    /// One round: wait; then reports, signals and exits, answers, and at last the time. In this order a generation's last
    /// words count before its end.
    fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        let come = self.signals.come();
        self.hear();
        for signal in come {
            self.signalled(signal);
        }
        self.look_at_probes();
        self.tell(Event::Tick);
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let deadlines = self.probes.iter().map(|probe| probe.deadline).chain(self.takeover.next_deadline());
        let timeout = deadlines.min().map_or(PollTimeout::NONE, |at| {
            // Rounded up: a turn before the deadline would be for nothing.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let lines = self.lines.values().map(|line| line.channel.as_fd());
        let probes = self.probes.iter().map(AsFd::as_fd);
        let fds = std::iter::once(self.signals.as_fd()).chain(lines).chain(probes);
        let mut fds: Vec<PollFd<'_>> =
            fds.map(|fd: BorrowedFd<'_>| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whatever generations have said.
    fn hear(&mut self) {
        let numbers: Vec<Number> = self.lines.keys().copied().collect();
        for number in numbers {
            while let Some(line) = self.lines.get(&number) {
                match line.channel.receive() {
                    Ok(Some(packet)) => self.heard(number, &packet.octets, packet.files),
                    // It is gone, or has closed what it should not: its exit will tell.
                    Ok(None) => drop(self.lines.remove(&number)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => drop(self.lines.remove(&number)),
                }
            }
        }
    }

    fn heard(&mut self, number: Number, packet: &[u8], files: Vec<OwnedFd>) {
        let Some(report) = Report::decode(packet) else {
            tracing::debug!(%number, "a report of another version");
            return;
        };
        match &report {
            Report::Listening(listening) => self.inheritance.take(number, listening.clone(), files),
            Report::Notify(text) => self.pass_on(number, text),
            _ => {}
        }
        self.tell(Event::Heard(number, report));
    }

    /// What a generation has for systemd: whether the server is ready is not for it to say.
    fn pass_on(&self, number: Number, text: &str) {
        let own = ["READY=", "RELOADING=", "STOPPING=", "MAINPID="];
        if self.takeover.spokesman() != Some(number) || own.iter().any(|name| text.starts_with(name)) {
            return;
        }
        match self.takeover.last_failure() {
            Some(failure) if text.starts_with("STATUS=") => self.systemd.tell(&format!("{text} {failure}")),
            _ => self.systemd.tell(text),
        }
    }

    fn signalled(&mut self, signal: Signal) {
        let request = match signal {
            Signal::SIGCHLD => return self.reap(),
            Signal::SIGINT => Request::Interrupt,
            Signal::SIGTERM => Request::Terminate,
            Signal::SIGQUIT => {
                self.quit = true;
                Request::Halt
            }
            Signal::SIGUSR2 if self.skips_usr2 => return,
            Signal::SIGUSR1 | Signal::SIGUSR2 => Request::Restart,
            Signal::SIGHUP => Request::Forward(Forwarded::Hup),
            Signal::SIGPWR => Request::Forward(Forwarded::Pwr),
            Signal::SIGTTIN => Request::Forward(Forwarded::Ttin),
            Signal::SIGTTOU => Request::Forward(Forwarded::Ttou),
            Signal::SIGURG => Request::Forward(Forwarded::Urg),
            _ => return,
        };
        self.tell(Event::Operator(request));
    }

    fn reap(&mut self) {
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, ExitStatus::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ExitStatus::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            self.hear();
            if let Some(pid) = Pid::new(pid.as_raw()) {
                self.tell(Event::Exited { pid, status });
            }
        }
    }

    fn look_at_probes(&mut self) {
        let now = Instant::now();
        let mut answers = Vec::new();
        self.probes.retain_mut(|probe| match probe.look(now) {
            Some(answer) => {
                answers.push((probe.number, answer));
                false
            }
            None => true,
        });
        for (number, answer) in answers {
            self.tell(Event::Probed(number, answer));
        }
    }

    fn tell(&mut self, event: Event) {
        let effects = self.takeover.handle(event, Instant::now());
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        tracing::debug!(?effect, "carries out");
        match effect {
            Effect::Spawn { number, alone } => {
                let event = match self.spawn(number, alone) {
                    Ok(pid) => Event::Spawned { number, pid },
                    Err(failure) => Event::SpawnFailed { number, reason: failure.to_string() },
                };
                self.tell(event);
            }
            Effect::Tell(number, order) => self.order(number, &order),
            Effect::Probe(number) => self.probe(number),
            Effect::Kill(pid) => signal(pid.as_raw()),
            Effect::KillGroup(pid) => kill_orphans(pid),
            Effect::KeepListeners(number) => {
                self.inheritance.keep(number);
                self.lines.values_mut().for_each(|line| drop(line.door.take()));
                self.follow_pidfile();
            }
            Effect::DropListeners(number) => self.inheritance.drop_of(number),
            Effect::CloseListeners => self.inheritance.close(),
            Effect::Log(line) => self.log(&line.to_string()),
            Effect::Notify(notification) => self.systemd.tell(&notification.text()),
            Effect::Publish => {
                let order = Order::Standing(self.takeover.standing());
                let numbers: Vec<Number> = self.lines.keys().copied().collect();
                numbers.into_iter().for_each(|number| self.order(number, &order));
            }
            Effect::Exit(status) => self.exit = Some(status),
        }
    }

    fn spawn(&mut self, number: Number, alone: bool) -> io::Result<Pid> {
        let (channel, end) = Channel::pair()?;
        let door = if alone { None } else { Some(Channel::pair()?) };
        let (mode, fd) = match &door {
            Some((_, inside)) => ("prove", inside.as_raw_fd()),
            None => ("serve", -1),
        };
        let mut words = self.command.iter();
        let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.dir).process_group(0);
        command.env("PWD", &self.dir).envs(self.inheritance.variables());
        command.env("RSERVE_KEEPER", format!("{PROTOCOL} {} {number} {mode} {fd}", end.as_raw_fd()));
        let inside = door.as_ref().map(|(_, inside)| inside);
        self.inheritance.share(true)?;
        share(&end, true)?;
        inside.map_or(Ok(()), |inside| share(inside, true))?;
        // The ends that are the generation's go with this function.
        let child = command.spawn();
        self.inheritance.share(false)?;
        let pid = i32::try_from(child?.id()).ok().and_then(Pid::new);
        self.lines.insert(number, Line { channel, door: door.map(|(outside, _)| outside) });
        pid.ok_or_else(|| io::ErrorKind::Other.into())
    }

    fn order(&mut self, number: Number, order: &Order) {
        if let Some(line) = self.lines.get(&number)
            && let Err(failure) = line.channel.send(order.encode().as_bytes())
        {
            tracing::debug!(%number, ?order, %failure, "a generation does not hear");
        }
    }

    fn probe(&mut self, number: Number) {
        let Some(ready) = self.takeover.settings_of(number).and_then(|settings| settings.ready.clone())
        else {
            return;
        };
        let door = self.lines.get(&number).and_then(|line| line.door.as_ref());
        let sent = match door {
            Some(door) => Probe::send(number, door, &ready.path, Instant::now() + ready.timeout),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match sent {
            Ok(probe) => self.probes.push(probe),
            Err(failure) => self.tell(Event::Probed(number, Err(failure.to_string()))),
        }
    }

    /// By the generation that serves, which knows where the log is; without one, to the standard output.
    fn log(&mut self, line: &str) {
        match self.takeover.spokesman() {
            Some(number) if self.lines.contains_key(&number) => self.order(number, &Order::Log(line.into())),
            _ => {
                let line = format!("[{}] {line}\n", id());
                let _ = write_log(1, line.as_bytes(), PATIENCE);
            }
        }
    }

    /// The generation that leads writes the pid file; one that it does not know any more is removed.
    fn follow_pidfile(&mut self) {
        let wanted = self.takeover.settings().pidfile.clone();
        if self.pidfile != wanted {
            self.remove_pidfile();
            self.pidfile = wanted;
        }
    }

    fn remove_pidfile(&self) {
        if let Some(path) = &self.pidfile
            && std::fs::read_to_string(path).is_ok_and(|text| text.trim() == id().to_string())
        {
            let _ = std::fs::remove_file(path);
        }
    }

    fn leave(&mut self, status: ExitStatus) -> ExitStatus {
        self.remove_pidfile();
        if !matches!(status, ExitStatus::Code(0) | ExitStatus::Signal(nix::libc::SIGTERM)) {
            self.inheritance.remove_paths();
        }
        if self.quit { ExitStatus::Signal(nix::libc::SIGQUIT) } else { status }
    }
}

fn signal(pid: i32) {
    if let Err(errno) = kill(RawPid::from_raw(pid), Signal::SIGKILL)
        && errno != Errno::ESRCH
    {
        tracing::warn!(pid, %errno, "cannot end a process");
    }
}

/// Ends the processes of this group that have become the keeper's own children: their numbers cannot be anybody else's.
fn kill_orphans(group: Pid) {
    let Ok(entries) = std::fs::read_dir("/proc") else { return };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(1);
        let parent = fields.next().and_then(|field| field.parse::<u32>().ok());
        let of_group = fields.next().and_then(|field| field.parse::<i32>().ok());
        if parent == Some(id()) && of_group == Some(group.as_raw()) && pid != group.as_raw() {
            signal(pid);
        }
    }
}
