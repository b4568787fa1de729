//! What the fields of a head say to the server: framing, persistence, host, and which of them the app may see.

use crate::cgi;
use crate::grammar;
use crate::head::field_line::FieldLine;
use crate::head::framing::{Coding, Framing};
use crate::head::{Field, Head, Span};
use crate::version::Version;
use crate::{Error, Excerpt, Limits};

/// A name is looked for among as many others, but not among more: some hundred names that begin alike would be as much
/// work as a thousand heads.
const FEW: usize = 24;

/// Collects, field by field, what [`Meaning::settle`] then decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meaning {
    host: Option<Span>,
    /// Which field it is.
    host_index: usize,
    content_length: Option<u64>,
    coding: Coding,
    connection_close: bool,
    connection_keep_alive: bool,
    /// Names are to be put in order: one has an underscore, or there are too many to look for each among the others.
    to_be_sorted: bool,
    /// A field is named Version.
    has_version: bool,
    /// A bit for each name seen, so that a head without repeated names is not searched for them.
    names: u128,
}

impl Meaning {
    /// Takes note of a field whose line starts at `start` of `octets`, and adds it to the head.
    ///
    /// # Errors
    ///
    /// A field that may be there once and was already, or that has a malformed value, where that decides about
    /// the framing or the host of the request.
    pub(crate) fn note(
        &mut self,
        line: &FieldLine<'_>,
        start: usize,
        octets: &[u8],
        head: &mut Head,
    ) -> Result<(), Error> {
        let FieldLine { name, value, value_offset, has_underscore } = *line;
        let value_start = start + value_offset;
        let mut field = Field {
            name: Span::new(start, start + name.len()),
            value: Span::new(value_start, value_start + value.len()),
            visible: true,
            repeated: false,
        };
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host.is_some() || !(value.is_empty() || grammar::is_authority(value)) {
                    return Err(Error::Host(Excerpt::of(value)));
                }
                (self.host, self.host_index) = (Some(field.value), head.fields.len());
            }
            5 if name.eq_ignore_ascii_case(b"proxy") => field.visible = false,
            7 if name.eq_ignore_ascii_case(b"version") => {
                field.visible = false;
                self.to_be_sorted |= self.has_version;
                self.has_version = true;
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                head.expects_continue =
                    head.version == Version::Http11 && value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in grammar::list(value) {
                    self.connection_close |= option.eq_ignore_ascii_case(b"close");
                    self.connection_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = grammar::decimal(value).filter(|_| self.content_length.is_none());
                self.content_length = Some(length.ok_or_else(|| Error::ContentLength(Excerpt::of(value)))?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.coding.note(value)?,
            _ => {}
        }
        self.to_be_sorted |= has_underscore;
        head.has_underscores |= has_underscore;
        if self.seen(name) && !self.to_be_sorted {
            self.to_be_sorted = head.fields.len() > FEW;
            field.repeated = head
                .fields
                .iter()
                .take(FEW + 1)
                .any(|earlier| earlier.visible && cgi::same_name(earlier.name.of(octets), name));
        }
        head.fields.push(field);
        Ok(())
    }

    /// Whether a name like this one may have been noted before; notes it.
    fn seen(&mut self, name: &[u8]) -> bool {
        let lower = |octet: &u8| u32::from(octet | 0x20);
        let (first, last) = (name.first().map_or(0, lower), name.last().map_or(0, lower));
        let middle = name.get(name.len() / 2).map_or(0, lower);
        let bit = 1u128 << ((first * 31 + last * 7 + middle * 3 + name.len() as u32 * 5) & 127);
        let seen = self.names & bit != 0;
        self.names |= bit;
        seen
    }

    /// Decides about the request, whose fields have all been noted.
    ///
    /// # Errors
    ///
    /// Whenever two readers of the same octets could disagree about where the body ends (request smuggling,
    /// RFC 9112 §11.2); a missing Host if that is to be refused; more content than is allowed.
    pub(crate) fn settle(&mut self, octets: &[u8], head: &mut Head, limits: &Limits) -> Result<(), Error> {
        if self.has_version && limits.show_version {
            let named = |field: &&mut Field| field.name.of(octets).eq_ignore_ascii_case(b"version");
            head.fields.iter_mut().filter(named).for_each(|field| field.visible = true);
        }
        // An empty one names none, which only a URI without an authority has, and http's has one (RFC 9110 §4.2.1).
        let names_host = match head.host {
            Some(_) => self.host.is_some(),
            None => self.host.is_some_and(|host| !host.is_empty()),
        };
        if !names_host && limits.strict_host && head.version == Version::Http11 {
            return Err(Error::MissingHost);
        }
        // The target's own host comes first, and replaces the field (RFC 9112 §3.2.2): an app looks at the field.
        match (head.host, self.host) {
            (Some(target), Some(_)) => head.fields[self.host_index].value = target,
            (None, Some(host)) if !host.is_empty() => head.host = Some(host),
            _ => {}
        }
        head.framing = Framing::of_request(head.version, self.coding, self.content_length, limits)?;
        head.keep_alive = match head.version {
            Version::Http11 | Version::Http2 => !self.connection_close,
            Version::Http10 => {
                self.connection_keep_alive
                    && !self.connection_close
                    && head.protocol.of(octets) == b"HTTP/1.0"
            }
        };
        // Whether there is a tunnel or not: what follows was meant for one (RFC 9110 §9.3.6).
        head.keep_alive &= head.method.of(octets) != b"CONNECT";
        if head.framing == Framing::Chunked {
            // A proxy in front may have followed the other one (RFC 9112 §6.3).
            head.keep_alive &= self.content_length.is_none();
            hide_framing_fields(octets, head);
        }
        if self.to_be_sorted {
            settle_names(octets, head, limits.hide_underscores);
        }
        if limits.hide_sendfile {
            head.fields
                .iter_mut()
                .for_each(|field| field.visible &= !cgi::asks_for_sendfile(field.name.of(octets)));
        }
        if limits.strict && head.framing != Framing::None && head.method.of(octets) == b"TRACE" {
            return Err(Error::TraceContent);
        }
        // Last, so that the reply to the one well-formed head that is refused can tell how it wants to be answered.
        match (head.framing, limits.body) {
            (Framing::Length(length), Some(limit)) if length > limit => Err(Error::ContentTooLarge),
            _ => Ok(()),
        }
    }
}

/// The app gets the decoded body, and its decoded length from the caller.
fn hide_framing_fields(octets: &[u8], head: &mut Head) {
    for field in &mut head.fields {
        let name = field.name.of(octets);
        field.visible &= !(name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding"));
    }
}

/// Decides of each field whether the app may see it, and whether it is one more of the same name.
///
/// `X_Real-IP` and `X-Real-IP` have the same CGI name. A proxy that sets the second one knows nothing of the first,
/// which a client may have sent: the dashed name wins, wherever it stands.
///
/// Those of one CGI name are brought together by sorting, so that the work is that of reading each name a few times,
/// and not that of comparing it to each of the others.
fn settle_names(octets: &[u8], head: &mut Head, hide_underscores: bool) {
    const RESERVED: [&[u8]; 3] = [b"content-length", b"content-type", b"transfer-encoding"];
    let Head { fields, by_name, .. } = head;
    let name = |field: &Field| field.name.of(octets);
    by_name.clear();
    by_name.extend(0..fields.len());
    by_name.sort_unstable_by(|&one, &other| {
        cgi::compare(name(&fields[one]), name(&fields[other])).then(one.cmp(&other))
    });
    let has_underscore = |field: &Field| name(field).contains(&b'_');
    let mut rest = by_name.as_slice();
    while let [first, ..] = *rest {
        let same = |&&index: &&usize| cgi::compare(name(&fields[index]), name(&fields[first])).is_eq();
        let (group, after) = rest.split_at(rest.iter().take_while(same).count());
        rest = after;
        let hidden = hide_underscores
            || group.iter().any(|&index| !has_underscore(&fields[index]))
            || RESERVED.iter().any(|reserved| cgi::compare(reserved, name(&fields[first])).is_eq());
        let mut seen = false;
        for &index in group {
            let field = &mut fields[index];
            field.visible &= !(hidden && name(field).contains(&b'_'));
            field.repeated = field.visible && seen;
            seen |= field.visible;
        }
    }
    by_name.clear();
}

#[cfg(test)]
mod tests {
    use crate::{Head, Limits, Progress, Receiver, cgi};

    /// Octets of names that are compared while a head of these fields is read, for each octet of the head.
    fn steps(lines: impl Iterator<Item = String>) -> f64 {
        let octets = format!("GET / HTTP/1.1\r\n{}\r\n", lines.collect::<String>());
        cgi::STEPS.set(0);
        let mut head = Head::default();
        let read = Receiver::new(Limits::default()).advance(octets.as_bytes(), &mut head);
        assert_eq!(read, Ok(Progress::Head { consumed: octets.len() }));
        cgi::STEPS.get() as f64 / octets.len() as f64
    }

    #[test]
    fn the_work_of_a_head_is_linear_in_its_octets() {
        // Bits of the field's number, as `-` and `_`: they all have one CGI name.
        let dashes = |number: usize, length: usize| -> String {
            (0..length).map(|bit| if number >> (bit % 9) & 1 == 1 { '-' } else { '_' }).collect()
        };
        let long = "n".repeat(190);
        for (what, fields, spell) in [
            ("- and _", 510, &(|n| format!("a{}z: 1\r\n", dashes(n, 9))) as &dyn Fn(usize) -> String),
            ("- and _, long", 510, &|n| format!("a{}z: 1\r\n", dashes(n, 180))),
            ("a dash for each _", 510, &|n| format!("x{}{}z: 1\r\n", n / 2, ["-", "_"][n % 2])),
            ("one _ and names that begin alike", 510, &|n| format!("{long}{n}{}: 1\r\n", ["", "_"][n / 509])),
            ("names that begin alike", 510, &|n| format!("{long}{n:03}: 1\r\n")),
            ("names of one letter's case", 510, &|n| {
                format!("{}: 1\r\n", if n % 2 == 0 { "a" } else { "A" })
            }),
            ("a usual head", 15, &|n| format!("X-Field-{n}: some value\r\n")),
        ] {
            let steps = steps((0..fields).map(spell));
            assert!(steps < 50.0, "{what}: {steps} steps for each octet");
        }
    }
}
