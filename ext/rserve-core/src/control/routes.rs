//! Which request means what, and who may send it.

use super::{Reply, Request};

/// Who may do what through the control server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// The token every request has to carry; `None` lets anybody in (`--control-token none`).
    pub token: Option<String>,
    /// Whether only questions are answered and nothing can be changed. The default is `false`.
    pub data_only: bool,
}

/// What a request leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    /// Answer, nothing else.
    Reply(Reply),
    /// Carry it out, and answer with [`Action::reply`].
    Perform(Action),
}

/// What a control client can ask for, named as in its paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "each is the pumactl command of its name")]
pub enum Action {
    Gc,
    GcStats,
    Halt,
    PhasedRestart,
    Refork,
    ReloadWorkerDirectory,
    Restart,
    Stats,
    Stop,
    ThreadBacktraces,
}

/// How an action went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is done, or will be after the reply.
    Done,
    /// The answer to a question, as JSON.
    Json(String),
    /// It does not apply to this server: a single process, `preload_app`, no `fork_worker`.
    Unavailable,
}

impl Access {
    /// Decides what `request` leads to.
    ///
    /// The last segment of the path names the action, so that the control
    /// server may be mounted anywhere; the token is compared as sent.
    pub fn route(&self, request: &Request) -> Route {
        if !self.admits(&request.query) {
            return Route::Reply(Reply::text(403, "Invalid auth token"));
        }
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let action = Action::named(name);
        match action {
            Some(action) if self.data_only && !action.only_asks() => {
                Route::Reply(Reply::text(404, format!("Command \"{name}\" unavailable")))
            }
            Some(action) => Route::Perform(action),
            None => Route::Reply(Reply::text(404, "Unsupported action")),
        }
    }

    fn admits(&self, query: &str) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let parameters = query.split(['&', ';']);
        parameters.filter_map(|parameter| parameter.strip_prefix("token=")).any(|sent| equal(sent, token))
    }
}

/// Takes the same time wherever the strings differ, so that a token cannot be guessed octet by octet.
fn equal(sent: &str, token: &str) -> bool {
    let differences = sent.bytes().zip(token.bytes()).fold(0, |seen, (one, other)| seen | (one ^ other));
    differences == 0 && sent.len() == token.len()
}

impl Action {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gc" => Self::Gc,
            "gc-stats" => Self::GcStats,
            "halt" => Self::Halt,
            "phased-restart" => Self::PhasedRestart,
            "refork" => Self::Refork,
            "reload-worker-directory" => Self::ReloadWorkerDirectory,
            "restart" => Self::Restart,
            "stats" => Self::Stats,
            "stop" => Self::Stop,
            "thread-backtraces" => Self::ThreadBacktraces,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gc => "gc",
            Self::GcStats => "gc_stats",
            Self::Halt => "halt",
            Self::PhasedRestart => "phased_restart",
            Self::Refork => "refork",
            Self::ReloadWorkerDirectory => "reload_worker_directory",
            Self::Restart => "restart",
            Self::Stats => "stats",
            Self::Stop => "stop",
            Self::ThreadBacktraces => "thread_backtraces",
        }
    }

    /// Whether it changes nothing, and so is allowed under `data_only`.
    pub fn only_asks(self) -> bool {
        matches!(self, Self::GcStats | Self::Stats | Self::ThreadBacktraces)
    }

    /// What the client hears about it.
    pub fn reply(self, outcome: Outcome) -> Reply {
        match outcome {
            Outcome::Done => Reply::json(200, r#"{ "status": "ok" }"#),
            Outcome::Json(json) => Reply::json(200, json),
            Outcome::Unavailable => {
                Reply::json(404, format!(r#"{{ "error": "{} not available" }}"#, self.name()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rserve_http1::Version;

    use super::*;

    fn request(target: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request { path: path.into(), query: query.into(), version: Version::Http10 }
    }

    #[test]
    fn token_is_asked_for_before_anything_else() {
        let access = Access { token: Some("abc".into()), data_only: false };
        let refused = Route::Reply(Reply::text(403, "Invalid auth token"));
        for target in [
            "/stats",
            "/nothing",
            "/stats?token=",
            "/stats?token=ab",
            "/stats?token=abcd",
            "/stats?xtoken=abc",
        ] {
            assert_eq!(access.route(&request(target)), refused, "{target}");
        }
        for target in ["/stats?token=abc", "/stats?x=y&token=abc", "/stats?x;token=abc"] {
            assert_eq!(access.route(&request(target)), Route::Perform(Action::Stats), "{target}");
        }
    }

    #[test]
    fn last_segment_names_the_action() {
        let unsupported = Route::Reply(Reply::text(404, "Unsupported action"));
        for (target, want) in [
            ("/phased-restart", Route::Perform(Action::PhasedRestart)),
            ("/somewhere/else/gc", Route::Perform(Action::Gc)),
            ("/gc/", unsupported.clone()),
            ("/", unsupported.clone()),
            ("/phased_restart", unsupported),
        ] {
            assert_eq!(Access::default().route(&request(target)), want, "{target}");
        }
    }

    #[test]
    fn data_only_changes_nothing() {
        let access = Access { token: None, data_only: true };
        for name in ["stats", "gc-stats", "thread-backtraces"] {
            assert!(matches!(access.route(&request(&format!("/{name}"))), Route::Perform(_)), "{name}");
        }
        for name in ["stop", "halt", "restart", "phased-restart", "refork", "reload-worker-directory", "gc"] {
            let want = Reply::text(404, format!("Command \"{name}\" unavailable"));
            assert_eq!(access.route(&request(&format!("/{name}"))), Route::Reply(want));
        }
    }

    #[test]
    fn replies_are_pumas() {
        for (outcome, status, body) in [
            (Outcome::Done, 200, r#"{ "status": "ok" }"#),
            (Outcome::Json("{}".into()), 200, "{}"),
            (Outcome::Unavailable, 404, r#"{ "error": "phased_restart not available" }"#),
        ] {
            assert_eq!(Action::PhasedRestart.reply(outcome), Reply::json(status, body));
        }
    }
}
