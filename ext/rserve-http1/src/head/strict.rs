//! What a server may refuse of a request line that Puma's grammar accepts ([`crate::Limits::strict`]).

use crate::grammar::{self, PCHAR};
use crate::head::Head;
use crate::{Error, Excerpt};

/// Checks a request line whose parts have been read.
///
/// # Errors
///
/// - A version that is not `HTTP/` DIGIT `.` DIGIT (RFC 9112 §2.3), or whose major number is not 1.
/// - A fragment, which no form of a target has (RFC 9112 §3.2).
/// - Octets that no URI has, such as those of UTF-8 (RFC 3986 §2), and `%` without two hexadecimal digits.
/// - asterisk-form for another method than OPTIONS, authority-form for another one than CONNECT, and CONNECT with any
///   other (RFC 9112 §3.2.3, §3.2.4); absolute-form with another scheme than http and https.
pub(crate) fn check_request_line(octets: &[u8], head: &Head) -> Result<(), Error> {
    let protocol = head.protocol.of(octets);
    match protocol.strip_prefix(b"HTTP/").unwrap_or_default() {
        [b'1', b'.', _] => {}
        [_, b'.', _] => return Err(Error::Version(Excerpt::of(protocol))),
        _ => return Err(Error::Protocol(Excerpt::of(protocol))),
    }
    if let Some(fragment) = head.fragment {
        return Err(Error::Fragment(Excerpt::of(fragment.of(octets))));
    }
    if let Some(query) = head.query.map(|query| query.of(octets))
        && !is_uri_part(query)
    {
        return Err(Error::Query(Excerpt::of(query)));
    }
    let (method, target) = (head.method.of(octets), head.path.of(octets));
    let has_scheme = |scheme: &[u8]| {
        target.split_at_checked(scheme.len()).is_some_and(|(first, _)| first.eq_ignore_ascii_case(scheme))
    };
    let form_is_legal = match target {
        b"*" => method == b"OPTIONS" && head.query.is_none(),
        _ if target.starts_with(b"/") || has_scheme(b"http://") || has_scheme(b"https://") => {
            method != b"CONNECT"
        }
        _ => method == b"CONNECT",
    };
    // Of authority-form, which may have brackets, everything is checked later.
    if form_is_legal && (method == b"CONNECT" || is_uri_part(after_authority(target))) {
        return Ok(());
    }
    Err(Error::Path(Excerpt::of(target)))
}

/// The path of a target in origin-form or absolute-form, whose authority is checked later.
fn after_authority(target: &[u8]) -> &[u8] {
    let authority = target.windows(3).position(|octets| octets == b"://").filter(|_| target[0] != b'/');
    let rest = &target[authority.map_or(0, |colon| colon + 3)..];
    &rest[rest.iter().position(|&octet| octet == b'/').unwrap_or(if authority.is_some() {
        rest.len()
    } else {
        0
    })..]
}

/// `*( pchar / "/" / "?" )` of RFC 3986 §3.3 and §3.4.
fn is_uri_part(octets: &[u8]) -> bool {
    let mut rest = octets;
    loop {
        rest = &rest[grammar::run(rest, PCHAR)..];
        match rest {
            [] => return true,
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after
            }
            _ => return false,
        }
    }
}
