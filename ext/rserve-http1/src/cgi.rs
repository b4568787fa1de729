//! CGI names of header fields and values of variables (RFC 3875 §4.1), as Rack's environment spells them.

use std::cmp::Ordering;
use std::io::Write;
use std::net::IpAddr;

/// Appends the environment key of the field `name`: `HTTP_` and the name in upper case with `-` as `_`;
/// `CONTENT_TYPE` and `CONTENT_LENGTH` have no prefix.
///
/// Which fields belong into the environment at all is in [`crate::Field::visible`], and which are appended to an
/// earlier one with `", "` in [`crate::Field::repeated`].
pub fn env_name(name: &[u8], out: &mut Vec<u8>) {
    let unprefixed =
        name.eq_ignore_ascii_case(b"content-type") || name.eq_ignore_ascii_case(b"content-length");
    if !unprefixed {
        out.extend_from_slice(b"HTTP_");
    }
    out.extend(name.iter().map(env_octet));
}

/// Orders field names by their environment keys: those that have the same one are equal.
pub(crate) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| {
        let octets = one.iter().zip(other).inspect(|_| step());
        octets
            .map(|(one, other)| env_octet(one).cmp(&env_octet(other)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    })
}

/// Whether an application takes the field `name` for the word of a proxy that sends files for it.
pub(crate) fn asks_for_sendfile(name: &[u8]) -> bool {
    let is = |name: &[u8], other: &[u8]| compare(name, other).is_eq();
    is(name, b"x-sendfile-type") || name.get(..8).is_some_and(|start| is(start, b"x-accel-"))
}

/// Whether two field names are one but for their letters' case.
pub(crate) fn same_name(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).inspect(|_| step()).all(|(one, other)| one.eq_ignore_ascii_case(other))
}

#[cfg(test)]
thread_local! {
    /// Octets of names that were compared.
    pub(crate) static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[inline]
fn step() {
    #[cfg(test)]
    STEPS.set(STEPS.get() + 1);
}

/// `REMOTE_ADDR` (RFC 3875 §4.1.8), somewhere in `buffer`.
pub fn address(ip: IpAddr, buffer: &mut [u8; 48]) -> &[u8] {
    let mut len = 0;
    match ip {
        IpAddr::V4(ip) => {
            let mut put = |octet| {
                buffer[len] = octet;
                len += 1;
            };
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    put(b'.');
                }
                if octet >= 100 {
                    put(b'0' + octet / 100);
                }
                if octet >= 10 {
                    put(b'0' + octet / 10 % 10);
                }
                put(b'0' + octet % 10);
            }
        }
        IpAddr::V6(_) => {
            let mut rest = &mut buffer[..];
            let _ = write!(rest, "{ip}");
            len = 48 - rest.len();
        }
    }
    &buffer[..len]
}

fn env_octet(octet: &u8) -> u8 {
    match octet {
        b'-' => b'_',
        octet => octet.to_ascii_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_fmt() {
        for text in [
            "127.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "9.10.99.100",
            "200.109.19.1",
            "::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
        ] {
            let ip: IpAddr = text.parse().expect("an address");
            assert_eq!(address(ip, &mut [0; 48]), text.as_bytes());
        }
    }

    #[test]
    fn fields_of_proxies_that_send_files_are_known() {
        for (name, want) in [
            ("X-Sendfile-Type", true),
            ("x_sendfile_type", true),
            ("X-Accel-Mapping", true),
            ("X_ACCEL-redirect", true),
            ("X-Sendfile", false),
            ("X-Sendfile-Types", false),
            ("X-Accel", false),
            ("X-Accelerate", false),
            ("", false),
        ] {
            assert_eq!(asks_for_sendfile(name.as_bytes()), want, "{name}");
        }
    }

    #[test]
    fn names_are_rack_keys() {
        for (name, want) in [
            ("Host", "HTTP_HOST"),
            ("x-forwarded-For", "HTTP_X_FORWARDED_FOR"),
            ("x_a-b", "HTTP_X_A_B"),
            ("content-type", "CONTENT_TYPE"),
            ("CONTENT-LENGTH", "CONTENT_LENGTH"),
            ("content-lengths", "HTTP_CONTENT_LENGTHS"),
            ("a.b~1", "HTTP_A.B~1"),
        ] {
            let mut out = Vec::new();
            env_name(name.as_bytes(), &mut out);
            assert_eq!(str::from_utf8(&out), Ok(want));
        }
    }
}
