//! The PROXY protocol, versions 1 and 2: the address of the client behind a load balancer.
//!
//! It stands before the first request of a connection, and may be believed only from a trusted peer: whoever
//! sends it chooses the address. That decision is the caller's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest version 1 header, CRLF included.
pub const V1_LONGEST: usize = 107;
/// Longest version 2 header that is read: 16 octets and 520 of addresses and type-length-values.
pub const V2_LONGEST: usize = 536;

const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a connection starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// More octets are needed to tell. Not an error; the header is bounded by [`V1_LONGEST`] or [`V2_LONGEST`].
    Partial,
    /// No PROXY header: the first octets belong to the request. Puma serves such a connection.
    Absent,
    /// A header of this many octets, which come before the request.
    Found {
        /// Octets to drop.
        consumed: usize,
        /// The client's address; `None` for itself (`LOCAL`), and for `UNKNOWN` and other families.
        addresses: Option<Addresses>,
    },
}

/// The two ends of the connection that the balancer received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// A header that starts as one of the PROXY protocol and is none. Fatal to the connection, without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Longer than the version allows.
    #[error("PROXY protocol header longer than {0} octets")]
    TooLong(usize),
    /// Version 1 that does not follow its grammar.
    #[error("malformed PROXY protocol v1 header")]
    V1,
    /// Version 2 with another version number, an unknown command, or less than its addresses need.
    #[error("malformed PROXY protocol v2 header")]
    V2,
}

/// Reads `PROXY TCP4 source destination port port` and CRLF from the start of `octets`.
///
/// # Errors
///
/// [`ProxyError`] when `octets` start with `PROXY ` and the line is not of that form.
pub fn parse_v1(octets: &[u8]) -> Result<Preface, ProxyError> {
    const START: &[u8] = b"PROXY ";
    let common = octets.len().min(START.len());
    if octets[..common] != START[..common] {
        return Ok(Preface::Absent);
    }
    let window = &octets[..octets.len().min(V1_LONGEST)];
    let Some(line_feed) = window.iter().position(|&octet| octet == b'\n') else {
        return if window.len() == V1_LONGEST {
            Err(ProxyError::TooLong(V1_LONGEST))
        } else {
            Ok(Preface::Partial)
        };
    };
    let line = window[..line_feed].strip_suffix(b"\r").ok_or(ProxyError::V1)?;
    let text = line.get(START.len()..).and_then(|rest| str::from_utf8(rest).ok()).ok_or(ProxyError::V1)?;
    let addresses = v1_addresses(text)?;
    Ok(Preface::Found { consumed: line_feed + 1, addresses })
}

fn v1_addresses(text: &str) -> Result<Option<Addresses>, ProxyError> {
    let mut words = text.split(' ');
    let family = words.next().ok_or(ProxyError::V1)?;
    if family == "UNKNOWN" {
        // The rest of the line is to be ignored, whatever it says.
        return Ok(None);
    }
    let mut word = || words.next().ok_or(ProxyError::V1);
    let address = |word: &str| -> Result<IpAddr, ProxyError> {
        match family {
            "TCP4" => word.parse::<Ipv4Addr>().map(IpAddr::from).map_err(|_| ProxyError::V1),
            "TCP6" => word.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| ProxyError::V1),
            _ => Err(ProxyError::V1),
        }
    };
    let port = |word: &str| {
        let digits =
            word.bytes().all(|octet| octet.is_ascii_digit()) && !(word.len() > 1 && word.starts_with('0'));
        word.parse::<u16>().ok().filter(|_| digits).ok_or(ProxyError::V1)
    };
    let (source, destination) = (address(word()?)?, address(word()?)?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(ProxyError::V1);
    }
    Ok(Some(Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    }))
}

/// Reads the binary header of version 2 from the start of `octets`.
///
/// # Errors
///
/// [`ProxyError`] when `octets` start with its signature and what follows is not of its form.
pub fn parse_v2(octets: &[u8]) -> Result<Preface, ProxyError> {
    let common = octets.len().min(V2_SIGNATURE.len());
    if octets[..common] != V2_SIGNATURE[..common] {
        return Ok(Preface::Absent);
    }
    let Some(&[version_command, family_transport, high, low]) =
        octets.get(12..16).and_then(|four| four.first_chunk())
    else {
        return Ok(Preface::Partial);
    };
    let consumed = 16 + usize::from(u16::from_be_bytes([high, low]));
    if consumed > V2_LONGEST {
        return Err(ProxyError::TooLong(V2_LONGEST));
    }
    let command = version_command & 0x0f;
    if version_command >> 4 != 2 || command > 1 {
        return Err(ProxyError::V2);
    }
    let Some(body) = octets.get(16..consumed) else { return Ok(Preface::Partial) };
    let addresses = match (command, family_transport >> 4) {
        (0, _) => None,
        (_, 1) => Some(v2_addresses::<4>(body)?),
        (_, 2) => Some(v2_addresses::<16>(body)?),
        _ => None,
    };
    Ok(Preface::Found { consumed, addresses })
}

/// Two addresses of `N` octets and two ports, in network order.
fn v2_addresses<const N: usize>(body: &[u8]) -> Result<Addresses, ProxyError>
where
    IpAddr: From<[u8; N]>,
{
    let address = |at: usize| -> Option<IpAddr> {
        let octets: &[u8; N] = body.get(at..)?.first_chunk()?;
        Some(IpAddr::from(*octets))
    };
    let port = |at: usize| -> Option<u16> { Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?)) };
    let addresses = || {
        Some(Addresses {
            source: SocketAddr::new(address(0)?, port(2 * N)?),
            destination: SocketAddr::new(address(N)?, port(2 * N + 2)?),
        })
    };
    addresses().ok_or(ProxyError::V2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(consumed: usize, source: &str, destination: &str) -> Result<Preface, ProxyError> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Ok(Preface::Found { consumed, addresses: Some(Addresses { source, destination }) })
    }

    /// `parse` must answer `Partial` for every beginning of a header, and the same for it with more behind it.
    fn assert_every_split(parse: fn(&[u8]) -> Result<Preface, ProxyError>, octets: &[u8]) {
        let whole = parse(octets);
        let Ok(Preface::Found { consumed, .. }) = whole else { panic!("{whole:?}") };
        for length in 0..consumed {
            assert_eq!(parse(&octets[..length]), Ok(Preface::Partial), "{length}");
        }
        assert_eq!(parse(&[octets, b"GET / HTTP/1.1\r\n\r\n"].concat()), whole);
    }

    #[test]
    fn v1_names_both_ends() {
        for (line, source, destination) in [
            ("PROXY TCP4 1.2.3.4 127.0.0.1 10000 80\r\n", "1.2.3.4:10000", "127.0.0.1:80"),
            ("PROXY TCP6 fd00::1 ::1 10000 80\r\n", "[fd00::1]:10000", "[::1]:80"),
        ] {
            assert_eq!(parse_v1(line.as_bytes()), found(line.len(), source, destination));
            assert_every_split(parse_v1, line.as_bytes());
        }
    }

    #[test]
    fn v1_unknown_is_the_balancer_itself() {
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 what ever\r\n"] {
            let want = Preface::Found { consumed: line.len(), addresses: None };
            assert_eq!(parse_v1(line.as_bytes()), Ok(want));
            assert_every_split(parse_v1, line.as_bytes());
        }
    }

    #[test]
    fn v1_that_is_wrong_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 1.2.3.4 127.0.0.1 10000\r\n",
            "PROXY TCP4 1.2.3.4 127.0.0.1 10000 80 \r\n",
            "PROXY TCP4  1.2.3.4 127.0.0.1 10000 80\r\n",
            "PROXY TCP4 fd00::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 127.0.0.1 65536 80\r\n",
            "PROXY TCP4 1.2.3.4 127.0.0.1 +1 80\r\n",
            "PROXY TCP4 1.2.3.4 127.0.0.1 01 80\r\n",
            "PROXY TCP4 1.2.3.4 127.0.0.1 1 80\n",
            "PROXY UDP4 1.2.3.4 127.0.0.1 1 80\r\n",
            "PROXY tcp4 1.2.3.4 127.0.0.1 1 80\r\n",
        ] {
            assert_eq!(parse_v1(line.as_bytes()), Err(ProxyError::V1), "{line:?}");
        }
        assert_eq!(parse_v1(&[b"PROXY ".as_slice(), &[b'a'; 200]].concat()), Err(ProxyError::TooLong(107)));
    }

    #[test]
    fn without_a_header_the_octets_are_the_request() {
        for octets in [b"GET / HTTP/1.1\r\n".as_slice(), b"PROPFIND / HTTP/1.1\r\n", b"PROXYX", b"\r\nG"] {
            assert_eq!(parse_v1(octets), Ok(Preface::Absent), "{octets:?}");
            assert_eq!(parse_v2(octets), Ok(Preface::Absent), "{octets:?}");
        }
    }

    fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[version_command, family], &length, body].concat()
    }

    #[test]
    fn v2_names_both_ends() {
        let ipv4 = v2(0x21, 0x11, &[1, 2, 3, 4, 127, 0, 0, 1, 0x27, 0x10, 0, 80]);
        assert_eq!(parse_v2(&ipv4), found(28, "1.2.3.4:10000", "127.0.0.1:80"));
        assert_every_split(parse_v2, &ipv4);

        let mut body = [0; 36 + 7];
        (body[0], body[15], body[31], body[33], body[35]) = (0xfd, 1, 1, 9, 80);
        let with_type_length_value = v2(0x21, 0x21, &body);
        assert_eq!(parse_v2(&with_type_length_value), found(16 + 43, "[fd00::1]:9", "[::1]:80"));
        assert_every_split(parse_v2, &with_type_length_value);
    }

    #[test]
    fn v2_local_and_other_families_have_no_addresses() {
        for (command, family, length) in
            [(0x20, 0x00, 0), (0x20, 0x11, 12), (0x21, 0x00, 5), (0x21, 0x31, 216)]
        {
            let octets = v2(command, family, &vec![0; length]);
            assert_eq!(parse_v2(&octets), Ok(Preface::Found { consumed: 16 + length, addresses: None }));
            assert_every_split(parse_v2, &octets);
        }
    }

    #[test]
    fn v2_that_is_wrong_is_refused() {
        for octets in [
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
        ] {
            assert_eq!(parse_v2(&octets), Err(ProxyError::V2), "{octets:?}");
        }
        assert_eq!(parse_v2(&v2(0x21, 0x11, &[0; 521])), Err(ProxyError::TooLong(536)));
        assert!(parse_v2(&v2(0x21, 0x11, &[0; 520])).is_ok());
    }
}
