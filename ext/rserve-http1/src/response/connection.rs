//! The Connection field of a response (RFC 9110 §7.6.1): what the application says in it, and what is true.

use crate::grammar;
use crate::response::encode;
use crate::response::plan::{Connection, ResponsePlan};

/// The options of all of an application's Connection fields, each once, in its own spelling.
#[derive(Debug, Default)]
pub struct ConnectionOptions {
    /// Joined by commas, which no option has in it.
    list: Vec<u8>,
}

impl ConnectionOptions {
    /// Reads one field's value. What is no token is dropped, as is a line with a control octet in it.
    pub fn read(&mut self, value: &[u8]) {
        let lines = value.split(|&octet| octet == b'\n').filter(|line| encode::is_legal_value(line));
        for option in lines.flat_map(grammar::list).filter(|option| grammar::is_token(option)) {
            if !self.has(option) {
                if !self.list.is_empty() {
                    self.list.push(b',');
                }
                self.list.extend_from_slice(option);
            }
        }
    }

    /// It says `upgrade`.
    pub fn upgrade(&self) -> bool {
        self.has(b"upgrade")
    }

    fn has(&self, option: &[u8]) -> bool {
        grammar::list(&self.list).any(|other| other.eq_ignore_ascii_case(option))
    }

    /// The application wants the connection to end.
    pub fn close(&self) -> bool {
        self.has(b"close")
    }

    /// It says something else than whether the connection is kept: `upgrade`, or names of fields.
    pub fn has_others(&self) -> bool {
        grammar::list(&self.list)
            .any(|it| !it.eq_ignore_ascii_case(b"close") && !it.eq_ignore_ascii_case(b"keep-alive"))
    }

    /// Appends the value of the response's one Connection field, and says whether there is one: what the application
    /// said, without what is not true, and with what `plan` has to say. `false` when that is all: then the plan writes it.
    pub fn write(&self, plan: &ResponsePlan, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let mut add = |option: &[u8]| {
            if out.len() > start {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(option);
        };
        let mut said = None;
        for option in grammar::list(&self.list) {
            let about = match option {
                close if close.eq_ignore_ascii_case(b"close") => Some(false),
                keep if keep.eq_ignore_ascii_case(b"keep-alive") => Some(true),
                _ => None,
            };
            if about.is_none_or(|kept| kept == plan.keep_alive) {
                said = said.or(about);
                add(option);
            }
        }
        if said == Some(false) && !self.has_others() {
            out.truncate(start);
            return false;
        }
        if said.is_none() && self.has_others() {
            match plan.connection {
                Some(Connection::Close) => add(b"close"),
                Some(Connection::KeepAlive) => add(b"keep-alive"),
                None => {}
            }
        }
        out.len() > start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::plan::{ResponseFacts, TransferEncoding};
    use crate::version::Version;

    #[test]
    fn what_is_said_is_what_happens() {
        for (version, keep_alive, values, want) in [
            (Version::Http11, true, &["keep-alive"][..], "keep-alive"),
            (Version::Http11, true, &["keep-alive", "Keep-Alive"], "keep-alive"),
            (Version::Http11, true, &["x"], "x"),
            (Version::Http11, true, &["Upgrade, x", "upgrade,, y"], "Upgrade, x, y"),
            (Version::Http11, true, &[""], ""),
            (Version::Http11, true, &["a b, \"", "x\0"], ""),
            (Version::Http11, true, &["x\ny\r\nz"], "x, z"),
            (Version::Http11, false, &["close"], ""),
            (Version::Http11, false, &["keep-alive"], ""),
            (Version::Http11, false, &["keep-alive, close"], ""),
            (Version::Http11, false, &["close, x"], "close, x"),
            (Version::Http11, false, &["x", "Close"], "x, Close"),
            (Version::Http11, false, &["x"], "x, close"),
            (Version::Http11, false, &["keep-alive, x"], "x, close"),
            (Version::Http10, true, &["keep-alive"], "keep-alive"),
            (Version::Http10, true, &["x"], "x, keep-alive"),
            (Version::Http10, false, &["x, keep-alive"], "x"),
        ] {
            let mut options = ConnectionOptions::default();
            values.iter().for_each(|value| options.read(value.as_bytes()));
            let plan = ResponsePlan::of(ResponseFacts {
                version,
                head_request: false,
                status: 200,
                content_length: Some(1),
                transfer_encoding: TransferEncoding::Absent,
                keep_alive,
            });
            let mut out = Vec::new();
            assert_eq!(options.write(&plan, &mut out), !want.is_empty(), "{values:?}");
            assert_eq!(String::from_utf8(out).unwrap(), want, "{values:?} {version:?} {keep_alive}");
        }
    }

    #[test]
    fn close_is_found_anywhere() {
        for (values, want) in [
            (&["close"][..], true),
            (&["x, Close"], true),
            (&["x", "y\nclose"], true),
            (&["closed", "x-close"], false),
            (&[], false),
        ] {
            let mut options = ConnectionOptions::default();
            values.iter().for_each(|value| options.read(value.as_bytes()));
            assert_eq!(options.close(), want, "{values:?}");
        }
    }
}
