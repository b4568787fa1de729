//! A second reading of the same grammar, written for plainness: the whole input at once, line by line, with no
//! state and no limits. Where it and the receiver disagree, one of them is wrong.

use super::latin1;

/// A request in the only respects that matter for staying in step: what is asked for, and which octets are its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

/// What follows the complete requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing, or the beginning of something that may or may not become a request.
    Unfinished,
    /// Something complete that is no acceptable request.
    Refused,
}

enum Part<T> {
    Unfinished,
    Refused,
    Complete(T),
}

/// Reads all of `octets`.
pub(crate) fn read(octets: &[u8]) -> (Vec<Reading>, Rest) {
    let (mut readings, mut rest) = (Vec::new(), octets);
    loop {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
        match read_one(rest) {
            Part::Complete((reading, after)) => {
                readings.push(reading);
                rest = after;
            }
            Part::Unfinished => return (readings, Rest::Unfinished),
            Part::Refused => return (readings, Rest::Refused),
        }
    }
}

fn read_one(octets: &[u8]) -> Part<(Reading, &[u8])> {
    let Some((head, after)) = split(octets, b"\r\n\r\n") else { return Part::Unfinished };
    let head = latin1(head);
    let mut lines = head.split("\r\n");
    let Some((method, target, version)) = lines.next().and_then(request_line) else { return Part::Refused };
    let Some(fields) = lines.map(field).collect::<Option<Vec<_>>>() else { return Part::Refused };
    let values = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    };

    match values("host")[..] {
        [] | [""] => {}
        [host] if is_authority(host) => {}
        _ => return Part::Refused,
    }
    let length = match values("content-length")[..] {
        [] => None,
        [value] if !value.is_empty() && value.chars().all(|digit| digit.is_ascii_digit()) => {
            let Ok(length) = value.parse::<u64>() else { return Part::Refused };
            Some(length)
        }
        _ => return Part::Refused,
    };
    let codings = values("transfer-encoding").join(",").to_lowercase();
    let body = if values("transfer-encoding").is_empty() {
        let length = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX);
        if after.len() < length {
            return Part::Unfinished;
        }
        Part::Complete((after[..length].to_vec(), &after[length..]))
    } else {
        let codings: Vec<&str> = codings
            .split(',')
            .map(|coding| coding.trim_matches([' ', '\t']))
            .filter(|coding| !coding.is_empty())
            .collect();
        let known = |coding: &&str| ["gzip", "deflate", "compress"].contains(coding);
        match codings.split_last() {
            Some((&"chunked", before)) if before.iter().all(known) && version == "1.1" => chunks(after),
            _ => return Part::Refused,
        }
    };
    match body {
        Part::Complete((body, rest)) => Part::Complete((Reading { method, target, body }, rest)),
        Part::Unfinished => Part::Unfinished,
        Part::Refused => Part::Refused,
    }
}

fn request_line(line: &str) -> Option<(String, String, String)> {
    let [method, target, protocol] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let method_is_legal = (1..=20).contains(&method.len())
        && method.chars().all(|char| matches!(char, 'A'..='Z' | '0'..='9' | '$' | '-' | '_' | '.'));
    let (major, minor) = protocol.strip_prefix("HTTP/")?.split_once('.')?;
    let is_number = |digits: &str| !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    let protocol_is_legal = is_number(major) && is_number(minor) && protocol.len() < 16;

    let (target, fragment) = target.split_once('#').unwrap_or((target, ""));
    let legal = |char: char| char > ' ' && char != '\x7f' && !['"', '<', '>', '#'].contains(&char);
    let octets_are_legal = target.chars().chain(fragment.chars()).all(legal);
    let (before_query, query) =
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let form_is_legal = before_query.starts_with('/')
        || before_query == "*"
        || (query.is_none()
            && before_query.rsplit_once(':').is_some_and(|(_, port)| is_number(port))
            && is_authority(before_query))
        || before_query.split_once("://").is_some_and(|(scheme, rest)| {
            scheme.starts_with(|char: char| char.is_ascii_alphabetic())
                && scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
                && is_authority(rest.split('/').next().unwrap_or(""))
        });
    (method_is_legal && protocol_is_legal && octets_are_legal && form_is_legal)
        .then(|| (method.to_owned(), target.to_owned(), format!("{major}.{minor}")))
}

/// The name in lower case, and the value.
fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_matches([' ', '\t']);
    let is_control = |char: char| (char < ' ' && char != '\t') || char == '\x7f';
    (is_token(name) && !value.contains(is_control)).then(|| (name.to_lowercase(), value.to_owned()))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char))
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, ""),
    };
    let port_is_legal =
        port.is_empty() || (port.chars().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok());
    let host_is_legal = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) if address.starts_with(['v', 'V']) => {
            address[1..].split_once('.').is_some_and(|(version, rest)| {
                !version.is_empty()
                    && version.chars().all(|digit| digit.is_ascii_hexdigit())
                    && !rest.is_empty()
                    && rest.chars().all(|char| is_host_char(char) || char == ':')
            })
        }
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let mut pieces = host.split('%');
            let first = pieces.next().unwrap_or("");
            !host.is_empty()
                && first.chars().all(is_host_char)
                && pieces.all(|piece| {
                    piece.len() >= 2
                        && piece.is_char_boundary(2)
                        && piece[..2].chars().all(|digit| digit.is_ascii_hexdigit())
                        && piece[2..].chars().all(is_host_char)
                })
        }
    };
    host_is_legal && port_is_legal
}

fn is_host_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(char)
}

fn chunks(octets: &[u8]) -> Part<(Vec<u8>, &[u8])> {
    let (mut body, mut rest) = (Vec::new(), octets);
    loop {
        let Some((line, after)) = split(rest, b"\r\n") else { return Part::Unfinished };
        let line = latin1(line);
        let end = line.find(|char: char| !char.is_ascii_hexdigit()).unwrap_or(line.len());
        let size = if end <= 16 { u64::from_str_radix(&line[..end], 16).ok() } else { None };
        let Some(size) = size.filter(|_| are_extensions(&line[end..])) else { return Part::Refused };
        if size == 0 {
            return trailers(after).map_or(Part::Unfinished, |rest| match rest {
                Some(rest) => Part::Complete((body, rest)),
                None => Part::Refused,
            });
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if after.len().saturating_sub(2) < size {
            return Part::Unfinished;
        }
        body.extend_from_slice(&after[..size]);
        let Some(next) = after[size..].strip_prefix(b"\r\n") else { return Part::Refused };
        rest = next;
    }
}

/// What follows the trailers; `Some(None)` if they are malformed.
fn trailers(mut octets: &[u8]) -> Option<Option<&[u8]>> {
    loop {
        let (line, after) = split(octets, b"\r\n")?;
        if line.is_empty() {
            return Some(Some(after));
        }
        if field(&latin1(line)).is_none() {
            return Some(None);
        }
        octets = after;
    }
}

fn are_extensions(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let blank = [' ', '\t'];
    let Some(rest) = text.trim_start_matches(blank).strip_prefix(';') else { return false };
    let rest = rest.trim_start_matches(blank);
    let is_token_char = |char: char| is_token(char.encode_utf8(&mut [0; 4]));
    let (name, rest) = rest.split_at(rest.find(|char| !is_token_char(char)).unwrap_or(rest.len()));
    if name.is_empty() {
        return false;
    }
    let Some(value) = rest.trim_start_matches(blank).strip_prefix('=') else { return are_extensions(rest) };
    let value = value.trim_start_matches(blank);
    let Some(quoted) = value.strip_prefix('"') else {
        let (token, rest) = value.split_at(value.find(|char| !is_token_char(char)).unwrap_or(value.len()));
        return !token.is_empty() && are_extensions(rest);
    };
    let mut chars = quoted.char_indices();
    while let Some((index, char)) = chars.next() {
        let char = match char {
            '"' => return are_extensions(&quoted[index + 1..]),
            '\\' => match chars.next() {
                Some((_, escaped)) => escaped,
                None => return false,
            },
            other => other,
        };
        if (char < ' ' && char != '\t') || char == '\x7f' {
            return false;
        }
    }
    false
}

fn split<'a>(octets: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = octets.windows(separator.len()).position(|window| window == separator)?;
    Some((&octets[..at], &octets[at + separator.len()..]))
}
