//! The octet classes of RFC 9110 and of Puma's request grammar, as tables and predicates.
//!
//! Every question about a single octet is answered here, so that what is read and what is written follow one
//! definition: a field value that we would refuse from a peer is never sent to one.

/// `tchar` of RFC 9110 §5.6.2: what a field name, and the name in a chunk extension, is made of.
pub(crate) const TOKEN: u8 = 1;
/// `_`, which becomes indistinguishable from `-` in a CGI name.
pub(crate) const UNDERSCORE: u8 = 2;
/// Puma's method octets: `A-Z 0-9 $ - _ .`.
pub(crate) const METHOD: u8 = 4;
/// Puma's path octets: all but controls, space, `"`, `#`, `<`, `>` and `?`. Raw `|`, `^`, `{`, `}` and octets
/// from 0x80 are what browsers and old clients send, and stay legal.
pub(crate) const PATH: u8 = 8;
/// Puma's query and fragment octets: those of the path, and `?`.
pub(crate) const QUERY: u8 = 16;
/// `reg-name` of RFC 3986 §3.2.2 without percent encoding: unreserved and sub-delims.
pub(crate) const HOST: u8 = 32;
/// `pchar` of RFC 3986 §3.3 without percent encoding, `/` and `?`: what a path and a query are made of.
pub(crate) const PCHAR: u8 = 64;

/// The classes each octet belongs to.
pub(crate) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = class(octet as u8);
        octet += 1;
    }
    table
}

const fn class(octet: u8) -> u8 {
    let mut class = 0;
    if octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
    {
        class |= TOKEN;
    }
    if octet == b'_' {
        class |= UNDERSCORE;
    }
    if octet.is_ascii_uppercase() || octet.is_ascii_digit() || matches!(octet, b'$' | b'-' | b'_' | b'.') {
        class |= METHOD;
    }
    if octet > b' ' && octet != 0x7f && !matches!(octet, b'"' | b'#' | b'<' | b'>') {
        class |= QUERY;
        if octet != b'?' {
            class |= PATH;
        }
    }
    if octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
    {
        class |= HOST | PCHAR;
    }
    if matches!(octet, b':' | b'@' | b'/' | b'?') {
        class |= PCHAR;
    }
    class
}

/// Whether `octet` belongs to `class`, one of the constants above.
pub(crate) fn is(octet: u8, class: u8) -> bool {
    CLASS[usize::from(octet)] & class != 0
}

/// How many octets at the start of `octets` belong to `class`.
pub(crate) fn run(octets: &[u8], class: u8) -> usize {
    octets.iter().position(|&octet| !is(octet, class)).unwrap_or(octets.len())
}

/// Whether `octets` is a `token`: one `tchar` or more.
pub(crate) fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|&octet| is(octet, TOKEN))
}

/// Whether no octet is a control other than HTAB. Octets from 0x80 pass (`obs-text`).
///
/// Written without an early exit so that the compiler checks many octets at a time.
pub(crate) fn is_field_value(octets: &[u8]) -> bool {
    !octets.iter().fold(false, |bad, &octet| bad | ((octet < b' ') & (octet != b'\t')) | (octet == 0x7f))
}

/// `octets` without the SP and HTAB around it, as an offset and a length within it.
pub(crate) fn trim(octets: &[u8]) -> &[u8] {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let start = octets.iter().position(|octet| !blank(octet)).unwrap_or(octets.len());
    let end = octets.iter().rposition(|octet| !blank(octet)).map_or(start, |last| last + 1);
    &octets[start..end]
}

/// The members of a comma-separated list (RFC 9110 §5.6.1), trimmed; empty members are left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&octet| octet == b',').map(trim).filter(|member| !member.is_empty())
}

/// `1*DIGIT` that fits an `u64`; no sign, no space, no list.
pub(crate) fn decimal(octets: &[u8]) -> Option<u64> {
    if octets.is_empty() {
        return None;
    }
    octets.iter().try_fold(0u64, |sum, &octet| {
        let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether `octets` is `uri-host [ ":" port ]` (RFC 9110 §7.2) with a host that is not empty and, when it has
/// digits, a port up to 65535. No user information: RFC 9110 §4.2.4 asks to treat it as an error.
pub(crate) fn is_authority(octets: &[u8]) -> bool {
    let host_end = match octets.first() {
        Some(b'[') => match octets.iter().position(|&octet| octet == b']') {
            Some(close) if is_ip_literal(&octets[1..close]) => close + 1,
            _ => return false,
        },
        _ => octets.iter().position(|&octet| octet == b':').unwrap_or(octets.len()),
    };
    let (host, port) = octets.split_at(host_end);
    let host_is_valid = host.first() == Some(&b'[') || is_reg_name(host);
    let port_is_valid = match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => decimal(digits).is_some_and(|port| port <= u64::from(u16::MAX)),
        _ => false,
    };
    host_is_valid && port_is_valid
}

/// `IPv6address` or `IPvFuture` without its brackets. A zone identifier has no meaning to a peer and is refused.
fn is_ip_literal(octets: &[u8]) -> bool {
    let text = str::from_utf8(octets).unwrap_or("");
    match text.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.')) {
        Some((version, address)) => {
            !version.is_empty()
                && version.bytes().all(|octet| octet.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(|octet| is(octet, HOST) || octet == b':')
        }
        None => text.parse::<std::net::Ipv6Addr>().is_ok(),
    }
}

/// `reg-name` of RFC 3986 §3.2.2 that is not empty; every IPv4 address is one.
fn is_reg_name(octets: &[u8]) -> bool {
    let mut rest = octets;
    loop {
        rest = &rest[run(rest, HOST)..];
        match rest {
            [] => return !octets.is_empty(),
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_a_host_and_perhaps_a_port() {
        for (octets, want) in [
            ("example.com", true),
            ("example.com:", true),
            ("example.com:80", true),
            ("example.com:65535", true),
            ("example.com:65536", false),
            ("example.com:8a", false),
            ("example.com:+80", false),
            ("my_host.internal", true),
            ("a%20b", true),
            ("a%2", false),
            ("127.0.0.1:9292", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:9292", true),
            ("[::1", false),
            ("[::1]x", false),
            ("[::1%25eth0]", false),
            ("[v1.a:b]", true),
            ("[]", false),
            ("", false),
            (":80", false),
            ("user@example.com", false),
            ("a b", false),
            ("a/b", false),
            ("a, b", false),
            ("exa\u{e9}mple", false),
            ("::1", false),
        ] {
            assert_eq!(is_authority(octets.as_bytes()), want, "{octets:?}");
        }
    }

    #[test]
    fn decimals_have_digits_only_and_fit() {
        for (octets, want) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+5", None),
            ("-5", None),
            ("5 ", None),
            ("5,5", None),
            ("0x5", None),
            ("5.0", None),
        ] {
            assert_eq!(decimal(octets.as_bytes()), want, "{octets:?}");
        }
    }

    #[test]
    fn trim_takes_spaces_and_tabs_only() {
        for (octets, want) in [(" \t a b\t ", "a b"), ("", ""), (" \t ", ""), ("\u{b}a", "\u{b}a")] {
            assert_eq!(trim(octets.as_bytes()), want.as_bytes(), "{octets:?}");
        }
    }

    #[test]
    fn browsers_raw_path_octets_are_legal() {
        for octet in *b"|^{}`\\%[]!\x80\xff" {
            assert!(is(octet, PATH), "{octet:#x}");
        }
        for octet in *b" \"<>#?\x00\x1f\x7f\r\n\t" {
            assert!(!is(octet, PATH), "{octet:#x}");
        }
    }
}
