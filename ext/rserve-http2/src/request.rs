//! From a list of fields to the head of a request (RFC 9113 §§8.2, 8.3).
//!
//! It becomes the head that a gateway would send on by HTTP/1.1, so that nothing that is a request there and is none
//! here comes in between: an octet that would end a line, or a target with a space in it, is refused before.

use crate::fields::FieldList;

/// The head of a request, as HTTP/1.1 would have it, with its last empty line.
#[derive(Debug, Eq, PartialEq)]
pub struct RequestHead {
    /// Its octets. A body whose length the client does not tell is said to be chunked, which it is not.
    pub octets: Vec<u8>,
    /// The method is HEAD: a response has no body.
    pub is_head: bool,
    /// There were more fields than are taken: it is to be answered 431, and is not whole.
    pub too_large: bool,
    /// Octets of the body, if the client tells.
    pub content_length: Option<u64>,
}

/// A list of fields that is no request (RFC 9113 §8.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// Not a token in lower case.
    #[error("a field's name")]
    Name,
    /// An octet that ends a line, or white space around it.
    #[error("a field's value")]
    Value,
    /// Missing, twice, unknown, or after a field.
    #[error("a pseudo-header field")]
    Pseudo,
    /// One that is about a connection of HTTP/1.1.
    #[error("a field about the connection")]
    Connection,
    /// A method that is no token.
    #[error("the method")]
    Method,
    /// A path that does not begin with a slash, or with an octet that it cannot have.
    #[error("the path")]
    Path,
    /// An authority with an octet that it cannot have, or another one than Host's.
    #[error("the authority")]
    Authority,
    /// Not a number, or two different ones.
    #[error("the content's length")]
    ContentLength,
}

fn is_token(octet: u8) -> bool {
    matches!(octet, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'z' | b'|' | b'~')
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&octet| is_token(octet) && !octet.is_ascii_uppercase())
}

/// RFC 9113 §8.2.1.
fn is_value(value: &[u8]) -> bool {
    let is_space = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    let whole = !value.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'));
    whole && !is_space(value.first()) && !is_space(value.last())
}

/// Nothing that would end the target, or the line.
fn is_visible(octets: &[u8]) -> bool {
    octets.iter().all(|&octet| octet > b' ' && octet != 0x7f)
}

#[derive(Default)]
struct Pseudo<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
}

impl<'a> Pseudo<'a> {
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Malformed> {
        let place = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            // `:protocol` too: no setting says that it is taken (RFC 8441 §3).
            _ => return Err(Malformed::Pseudo),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(Malformed::Pseudo),
        }
    }
}

/// Checks a field that is no pseudo-header field.
fn check(name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    if !is_name(name) {
        return Err(Malformed::Name);
    }
    if !is_value(value) {
        return Err(Malformed::Value);
    }
    match name {
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
            Err(Malformed::Connection)
        }
        b"te" if !value.eq_ignore_ascii_case(b"trailers") => Err(Malformed::Connection),
        _ => Ok(()),
    }
}

/// Checks the fields that follow a body, which nobody is told of: as in HTTP/1.1.
pub(crate) fn check_trailers(fields: &FieldList) -> Result<(), Malformed> {
    fields.iter().try_for_each(|(name, value)| match name.first() {
        Some(b':') => Err(Malformed::Pseudo),
        _ => check(name, value),
    })
}

fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(value).ok().filter(|_| digits).and_then(|digits| digits.parse().ok());
    number.ok_or(Malformed::ContentLength)
}

impl RequestHead {
    /// The head that `fields` are; `ended` when no body follows.
    ///
    /// # Errors
    ///
    /// See [`Malformed`].
    pub fn of(fields: &FieldList, ended: bool) -> Result<Self, Malformed> {
        let mut pseudo = Pseudo::default();
        let (mut host, mut length, mut in_fields, mut size) = (None, None, false, 0);
        for (name, value) in fields.iter() {
            size += name.len() + value.len() + 4;
            if name.first() == Some(&b':') {
                if in_fields || !is_value(value) {
                    return Err(Malformed::Pseudo);
                }
                pseudo.note(name, value)?;
                continue;
            }
            in_fields = true;
            check(name, value)?;
            match name {
                b"host" if host.replace(value).is_some() => return Err(Malformed::Authority),
                b"content-length" => {
                    let told = content_length(value)?;
                    if length.replace(told).is_some_and(|before| before != told) {
                        return Err(Malformed::ContentLength);
                    }
                }
                _ => {}
            }
        }
        let too_large = fields.is_too_large();
        let mut head = Self {
            octets: Vec::with_capacity(size + 64),
            is_head: fields.is_head(),
            too_large,
            content_length: length,
        };
        if too_large {
            // What is missing may be a pseudo-header field.
            return Ok(head);
        }
        if ended && length.is_some_and(|length| length > 0) {
            return Err(Malformed::ContentLength);
        }
        head.write_line(&pseudo)?;
        let authority = pseudo.authority.filter(|authority| !authority.is_empty());
        if !authority.is_none_or(is_visible) || !host.is_none_or(is_visible) {
            return Err(Malformed::Authority);
        }
        // RFC 9113 §8.3.1: both name the same.
        if let (Some(authority), Some(host)) = (authority, host)
            && !authority.eq_ignore_ascii_case(host)
        {
            return Err(Malformed::Authority);
        }
        if let Some(host) = authority.or(host) {
            head.write_field(b"host", host);
        }
        if length.is_none() && !ended {
            head.write_field(b"transfer-encoding", b"chunked");
        }
        head.write_fields(fields);
        head.octets.extend_from_slice(b"\r\n");
        Ok(head)
    }

    fn write_line(&mut self, pseudo: &Pseudo<'_>) -> Result<(), Malformed> {
        let method = pseudo.method.ok_or(Malformed::Pseudo)?;
        if method.is_empty() || !method.iter().all(|&octet| is_token(octet)) {
            return Err(Malformed::Method);
        }
        let target: &[u8] = match (method, pseudo.path, pseudo.scheme) {
            // RFC 9113 §8.5.
            (b"CONNECT", None, None) => pseudo.authority.ok_or(Malformed::Pseudo)?,
            (b"CONNECT", ..) | (_, None, _) | (_, _, None) => return Err(Malformed::Pseudo),
            (b"OPTIONS", Some(b"*"), Some(_)) => b"*",
            (_, Some(path), Some(_)) if path.first() == Some(&b'/') => path,
            _ => return Err(Malformed::Path),
        };
        if target.is_empty() || !is_visible(target) {
            return Err(Malformed::Path);
        }
        for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
            self.octets.extend_from_slice(part);
        }
        Ok(())
    }

    fn write_field(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, b": ", value, b"\r\n"] {
            self.octets.extend_from_slice(part);
        }
    }

    /// All but Host; the cookies, which may come one by one, together where the first one stands (RFC 9113 §8.2.3).
    fn write_fields(&mut self, fields: &FieldList) {
        let (mut cookies, mut lengths) = (false, false);
        for (name, value) in fields.iter() {
            match name {
                b"host" => {}
                b"content-length" if std::mem::replace(&mut lengths, true) => {}
                b"cookie" if cookies => {}
                b"cookie" => {
                    cookies = true;
                    self.octets.extend_from_slice(b"cookie: ");
                    let mut values = fields.iter().filter(|(name, _)| *name == b"cookie").map(|it| it.1);
                    self.octets.extend_from_slice(values.next().unwrap_or_default());
                    for value in values {
                        self.octets.extend_from_slice(b"; ");
                        self.octets.extend_from_slice(value);
                    }
                    self.octets.extend_from_slice(b"\r\n");
                }
                [b':', ..] => {}
                _ => self.write_field(name, value),
            }
        }
    }
}
