//! What the fields of a head say to the server: framing, persistence, host, and which of them the app may see.

use crate::cgi;
use crate::framing::{Coding, Framing};
use crate::grammar;
use crate::head::{Field, FieldLine, Head, Span, Version};
use crate::{Error, Excerpt, Limits};

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
    has_underscore: bool,
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
        self.has_underscore |= has_underscore;
        field.repeated = self.seen(name)
            && head.fields.iter().any(|earlier| {
                earlier.visible
                    && earlier.name.len() == name.len()
                    && earlier.name.of(octets).eq_ignore_ascii_case(name)
            });
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
        if self.host.is_none() && limits.strict_host && head.version == Version::Http11 {
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
            Version::Http11 => !self.connection_close,
            Version::Http10 => {
                self.connection_keep_alive
                    && !self.connection_close
                    && head.protocol.of(octets) == b"HTTP/1.0"
            }
        };
        if head.framing == Framing::Chunked {
            // Whoever sent both may stand behind a proxy that read the other one (RFC 9112 §6.3).
            head.keep_alive &= self.content_length.is_none();
            hide_framing_fields(octets, head);
        }
        if self.has_underscore {
            match limits.hide_underscores {
                true => hide_underscores(octets, head),
                false => hide_underscore_twins(octets, head),
            }
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

fn hide_underscores(octets: &[u8], head: &mut Head) {
    for field in &mut head.fields {
        field.visible &= !field.name.of(octets).contains(&b'_');
    }
}

/// `X_Real-IP` and `X-Real-IP` have the same CGI name. A proxy that sets the second one knows nothing of the first,
/// which a client may have sent: the dashed name wins, wherever it stands.
fn hide_underscore_twins(octets: &[u8], head: &mut Head) {
    for index in 0..head.fields.len() {
        let name = head.fields[index].name.of(octets);
        if !name.contains(&b'_') {
            continue;
        }
        let reserved: [&[u8]; 3] = [b"content-length", b"content-type", b"transfer-encoding"];
        let is_twin = |other: &Field| {
            let other = other.name.of(octets);
            !other.contains(&b'_') && cgi::same_name(other, name)
        };
        let visible = !reserved.iter().any(|reserved| cgi::same_name(reserved, name))
            && !head.fields.iter().any(is_twin);
        let repeated = head.fields[..index]
            .iter()
            .any(|earlier| earlier.visible && cgi::same_name(earlier.name.of(octets), name));
        let field = &mut head.fields[index];
        (field.visible, field.repeated) = (visible, visible && repeated);
    }
}
