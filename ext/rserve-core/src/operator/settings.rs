//! What the port is told when it is opened: a list of `name=value`, which an argument vector can carry.

use std::os::fd::RawFd;
use std::time::Duration;

use crate::config::options::seconds;

/// See the module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// The listening sockets (`listener`, once for each).
    pub listeners: Vec<RawFd>,
    /// The memory of the server's telemetry.
    pub telemetry: Option<RawFd>,
    /// By which processes are asked where their threads are, and answer
    /// ([`Backtraces::descriptors`](crate::backtraces::Backtraces::descriptors)).
    pub bell: Option<RawFd>,
    /// See [`Settings::bell`].
    pub answers: Option<RawFd>,
    /// What whoever asks for backtraces has to know; `None` where nobody gets them.
    pub token: Option<String>,
    /// What ends the port when it is readable.
    pub end: Option<RawFd>,
    /// What an earlier process of the same port waits for to end.
    pub former: Option<RawFd>,
    /// For how long the server may be saturated before it should be sent no more requests; `None` for ever.
    pub ready_saturation: Option<Duration>,
    /// What the server calls itself, e.g. `rserve 1.0.0.rc1 as Puma 6.6.0`.
    pub identity: String,
    /// Names and versions of programs (`version`, as `name version`).
    pub versions: Vec<(String, String)>,
}

impl Settings {
    /// What `arguments` say.
    ///
    /// # Errors
    ///
    /// The one that makes no sense.
    pub fn parse<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut settings = Self::default();
        for argument in arguments {
            let (name, value) = argument.split_once('=').ok_or(argument)?;
            let fd = || value.parse::<RawFd>().map_err(|_| argument);
            match name {
                "listener" => settings.listeners.push(fd()?),
                "telemetry" => settings.telemetry = Some(fd()?),
                "bell" => settings.bell = Some(fd()?),
                "answers" => settings.answers = Some(fd()?),
                "token" => settings.token = Some(value.into()),
                "end" => settings.end = Some(fd()?),
                "former" => settings.former = Some(fd()?),
                "ready_saturation" => {
                    settings.ready_saturation = Some(seconds(value.parse().map_err(|_| argument)?));
                }
                "identity" => settings.identity = value.into(),
                "version" => {
                    let (program, version) = value.split_once(' ').ok_or(argument)?;
                    settings.versions.push((program.into(), version.into()));
                }
                _ => return Err(argument),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let all = [
            "listener=5",
            "listener=6",
            "telemetry=7",
            "end=8",
            "bell=10",
            "answers=11",
            "token=a=b",
            "former=9",
            "ready_saturation=1.5",
            "identity=rserve 1.0.0.rc1 as Puma 6.6.0",
            "version=ruby 3.1.2 (x=y)",
        ];
        let want = Settings {
            listeners: vec![5, 6],
            telemetry: Some(7),
            end: Some(8),
            bell: Some(10),
            answers: Some(11),
            token: Some("a=b".into()),
            former: Some(9),
            ready_saturation: Some(Duration::from_millis(1500)),
            identity: "rserve 1.0.0.rc1 as Puma 6.6.0".into(),
            versions: vec![("ruby".into(), "3.1.2 (x=y)".into())],
        };
        assert_eq!(Settings::parse(all), Ok(want));
        for wrong in ["listener", "listener=x", "ready_saturation=soon", "version=ruby", "other=1"] {
            assert_eq!(Settings::parse([wrong]), Err(wrong));
        }
    }
}
