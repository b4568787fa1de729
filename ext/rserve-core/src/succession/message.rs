//! What a keeper and its generations say to each other.
//!
//! Each message is a packet of its own on a socket between the two: a word, and perhaps lines of text. A keeper outlives the
//! gem that it was started from, so what one of them does not know is passed over, and [`PROTOCOL`] is counted up when that
//! would not do.

use std::path::PathBuf;
use std::time::Duration;

use super::{Ready, Settings};

/// Which language a keeper speaks; a generation of another one ends.
pub const PROTOCOL: u32 = 1;

/// The most octets of a packet.
pub const LONGEST: usize = 32 * 1024;

/// What the keeper tells a generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// Take connections.
    Serve,
    /// You are the one that serves: control server, pid file, `after_booted`.
    Lead,
    /// Another one takes over: `before_restart`, finish what was begun, end.
    Drain,
    /// So many workers more.
    Grow(u32),
    /// So many workers fewer.
    Shrink(u32),
    /// Stop, as INT has it.
    Interrupt,
    /// Stop, as TERM has it.
    Terminate,
    /// End at once.
    Halt,
    /// You have not booted in time: say where you are, and end.
    GiveUp,
    /// A signal.
    Signal(Forwarded),
    /// Write this to the log.
    Log(String),
    /// How the keeper's restarts go, as JSON.
    Standing(String),
}

impl Order {
    /// The packet.
    pub fn encode(&self) -> String {
        match self {
            Self::Serve => "serve".into(),
            Self::Lead => "lead".into(),
            Self::Drain => "drain".into(),
            Self::Grow(count) => format!("grow\n{count}"),
            Self::Shrink(count) => format!("shrink\n{count}"),
            Self::Interrupt => "interrupt".into(),
            Self::Terminate => "terminate".into(),
            Self::Halt => "halt".into(),
            Self::GiveUp => "give_up".into(),
            Self::Signal(signal) => format!("signal\n{}", signal.name()),
            Self::Log(line) => format!("log\n{line}"),
            Self::Standing(json) => format!("standing\n{json}"),
        }
    }
}

/// Signals that are passed on to the generation that serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the signals' names")]
pub enum Forwarded {
    Hup,
    Pwr,
    Ttin,
    Ttou,
    Urg,
}

impl Forwarded {
    /// The name without `SIG`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::Pwr => "PWR",
            Self::Ttin => "TTIN",
            Self::Ttou => "TTOU",
            Self::Urg => "URG",
        }
    }
}

/// What a generation tells its keeper.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Report {
    /// Its configuration is read.
    Settings(Settings),
    /// It listens; the sockets come with it.
    Listening(Vec<Listening>),
    /// All workers that it was to begin with have booted.
    Booted,
    /// How many workers it has, and how many of them have booted.
    Staff {
        /// All of them.
        workers: u32,
        /// Of these.
        booted: u32,
    },
    /// It cannot boot.
    Failed {
        /// What it was doing.
        phase: String,
        /// The application's file and line, and what went wrong there.
        message: String,
    },
    /// A worker ended that was not told to.
    WorkerDied(String),
    /// Its `before_restart` hooks have run, after [`Order::Drain`].
    Resigned,
    /// It ends of its own accord, and the server with it.
    Leaving,
    /// Somebody asks it for what is the keeper's affair.
    Asks(Asked),
    /// For systemd, as sd_notify(3) has it.
    Notify(String),
}

/// See [`Report::Asks`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "as the control server's commands")]
pub enum Asked {
    Restart,
    Stop,
    Terminate,
    Halt,
}

/// A socket that a generation listens on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listening {
    /// As its configuration has it.
    pub url: String,
    /// Whose it is.
    pub kind: Kind,
    /// Of a unix socket that is removed when the server ends.
    pub path: Option<String>,
}

/// Whose a listener is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The application's.
    Own,
    /// Somebody else's as well, who goes on listening: systemd's.
    Borrowed,
    /// The control server's.
    Control,
    /// No socket, but what the clients' TLS sessions are resumed with.
    Tickets,
}

impl Report {
    /// `None` for what is no report, or not known here.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let packet = String::from_utf8_lossy(packet);
        let (word, text) = packet.split_once('\n').unwrap_or((&packet, ""));
        Some(match word {
            "settings" => Self::Settings(settings(text)),
            "listening" => Self::Listening(text.lines().filter_map(listening).collect()),
            "booted" => Self::Booted,
            "staff" => {
                let (workers, booted) = text.split_once(' ')?;
                Self::Staff { workers: workers.parse().ok()?, booted: booted.parse().ok()? }
            }
            "failed" => {
                let (phase, message) = text.split_once('\n').unwrap_or((text, ""));
                Self::Failed { phase: phase.into(), message: message.trim().replace('\n', " ") }
            }
            "worker_died" => Self::WorkerDied(text.trim().replace('\n', " ")),
            "resigned" => Self::Resigned,
            "leaving" => Self::Leaving,
            "asks" => Self::Asks(match text {
                "restart" => Asked::Restart,
                "stop" => Asked::Stop,
                "terminate" => Asked::Terminate,
                "halt" => Asked::Halt,
                _ => return None,
            }),
            "notify" => Self::Notify(text.into()),
            _ => return None,
        })
    }
}

/// `name=value` in each line; what is missing or makes no sense has its default.
fn settings(text: &str) -> Settings {
    let mut settings = Settings::default();
    let mut ready =
        Ready { path: String::new(), timeout: Duration::from_secs(30), interval: Duration::from_secs(1) };
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let count = || value.parse::<u32>().ok().filter(|count| *count > 0);
        let seconds = |into: &mut Duration| {
            if let Some(seconds) = value.parse().ok().filter(|seconds: &f64| *seconds >= 0.0) {
                *into = crate::config::options::seconds(seconds);
            }
        };
        match name {
            "workers" => settings.workers = count().unwrap_or(settings.workers),
            "step" => {
                settings.step = if value == "all" { u32::MAX } else { count().unwrap_or(settings.step) }
            }
            "boot_timeout" => seconds(&mut settings.boot_timeout),
            "settle" => seconds(&mut settings.settle),
            "drain" => seconds(&mut settings.drain),
            "pidfile" => settings.pidfile = Some(PathBuf::from(value)),
            "ready_path" => ready.path = value.into(),
            "ready_timeout" => seconds(&mut ready.timeout),
            "ready_interval" => seconds(&mut ready.interval),
            _ => {}
        }
    }
    settings.ready = (!ready.path.is_empty()).then_some(ready);
    settings
}

/// `KIND URL` or `KIND URL PATH`, where neither has a tab: `own\tunix:///run/a.sock\t/run/a.sock`.
fn listening(line: &str) -> Option<Listening> {
    let mut fields = line.split('\t');
    let kind = match fields.next()? {
        "own" => Kind::Own,
        "borrowed" => Kind::Borrowed,
        "control" => Kind::Control,
        "tickets" => Kind::Tickets,
        _ => return None,
    };
    let url = fields.next()?.to_owned();
    Some(Listening { url, kind, path: fields.next().map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        let failed =
            |phase: &str, message: &str| Report::Failed { phase: phase.into(), message: message.into() };
        for (packet, want) in [
            ("booted", Some(Report::Booted)),
            ("staff\n3 2", Some(Report::Staff { workers: 3, booted: 2 })),
            ("staff\n3", None),
            (
                "failed\nat boot\nconfig.ru:3: no (X)\nmore",
                Some(failed("at boot", "config.ru:3: no (X) more")),
            ),
            ("failed\nat boot", Some(failed("at boot", ""))),
            ("worker_died\nWorker 0 died", Some(Report::WorkerDied("Worker 0 died".into()))),
            ("asks\nrestart", Some(Report::Asks(Asked::Restart))),
            ("asks\nwhat", None),
            ("notify\nSTATUS=a\nWATCHDOG=1", Some(Report::Notify("STATUS=a\nWATCHDOG=1".into()))),
            ("of a later version\nand more", None),
            ("", None),
        ] {
            assert_eq!(Report::decode(packet.as_bytes()), want, "{packet:?}");
        }
    }

    #[test]
    fn settings_have_defaults_for_what_is_not_said() {
        let text = "settings\nworkers=3\nstep=all\nready_path=/up\nready_timeout=2.5\nsettle=-1\nnew=1\npidfile=/a=b";
        let Some(Report::Settings(settings)) = Report::decode(text.as_bytes()) else { panic!("no settings") };
        let ready = Ready {
            path: "/up".into(),
            timeout: Duration::from_millis(2500),
            interval: Duration::from_secs(1),
        };
        let want = Settings {
            workers: 3,
            step: u32::MAX,
            ready: Some(ready),
            pidfile: Some("/a=b".into()),
            ..Settings::default()
        };
        assert_eq!(settings, want);
        assert_eq!(settings.first_step(), 3);
        assert_eq!(Report::decode(b"settings"), Some(Report::Settings(Settings::default())));
    }

    #[test]
    fn listeners_have_an_owner_and_perhaps_a_path() {
        let packet =
            b"listening\nown\ttcp://0.0.0.0:80\ncontrol\tunix:///a b\t/a b\nwhat\tx\nborrowed\ttcp://[::]:1";
        let Some(Report::Listening(listening)) = Report::decode(packet) else { panic!("no listeners") };
        let one = |kind, url: &str, path: Option<&str>| Listening {
            url: url.into(),
            kind,
            path: path.map(Into::into),
        };
        assert_eq!(
            listening,
            [
                one(Kind::Own, "tcp://0.0.0.0:80", None),
                one(Kind::Control, "unix:///a b", Some("/a b")),
                one(Kind::Borrowed, "tcp://[::]:1", None),
            ]
        );
    }
}
