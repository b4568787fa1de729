//! Where a request was sent to and where it comes from, as its fields say: scheme, host, port, and the client's address.

/// `host` as name and port; an IPv6 literal keeps its brackets. A request without one was sent to `localhost`.
#[inline]
pub fn host_and_port(host: Option<&[u8]>) -> (&[u8], Option<&[u8]>) {
    let Some(host) = host else { return (b"localhost", None) };
    let name_end = match host.first() {
        Some(b'[') => host.iter().position(|&octet| octet == b']').map_or(host.len(), |end| end + 1),
        _ => host.iter().position(|&octet| octet == b':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(name_end);
    (name, rest.strip_prefix(b":").filter(|port| !port.is_empty()))
}

/// Whether a proxy says by this field that its client came by https (Puma, `default_server_port`).
#[inline]
pub fn says_https(name: &[u8], value: &[u8]) -> bool {
    if name.len() < 15 || !name[..11].eq_ignore_ascii_case(b"x-forwarded") {
        return false;
    }
    let starts = |value: &[u8]| value.len() >= 5 && value[..5].eq_ignore_ascii_case(b"https");
    (name.eq_ignore_ascii_case(b"x-forwarded-proto") && starts(value))
        || (name.eq_ignore_ascii_case(b"x-forwarded-scheme") && value.eq_ignore_ascii_case(b"https"))
        || (name.eq_ignore_ascii_case(b"x-forwarded-ssl") && value.eq_ignore_ascii_case(b"on"))
}

/// Where the first token of a list of addresses is, and how long: the client that the first proxy saw.
pub fn first_token(list: &[u8]) -> Option<(usize, usize)> {
    let separates = |octet: &u8| octet.is_ascii_whitespace() || *octet == b',';
    let start = list.iter().position(|octet| !separates(octet))?;
    let length = list[start..].iter().position(separates);
    Some((start, length.unwrap_or(list.len() - start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
        for (host, name, port) in [
            (None, "localhost", None),
            (Some("a.example"), "a.example", None),
            (Some("a.example:8080"), "a.example", Some("8080")),
            (Some("a.example:"), "a.example", None),
            (Some("127.0.0.1:80"), "127.0.0.1", Some("80")),
            (Some("[::1]"), "[::1]", None),
            (Some("[::1]:443"), "[::1]", Some("443")),
        ] {
            let got = host_and_port(host.map(str::as_bytes));
            assert_eq!(got, (name.as_bytes(), port.map(str::as_bytes)), "{host:?}");
        }
    }

    #[test]
    fn a_proxy_says_https_in_three_ways() {
        for (name, value, want) in [
            ("X-Forwarded-Proto", "https", true),
            ("x-forwarded-proto", "HTTPS, http", true),
            ("X-Forwarded-Proto", "http", false),
            ("X-Forwarded-Proto", "http, https", false),
            ("X-Forwarded-Scheme", "https", true),
            ("X-Forwarded-Scheme", "https, http", false),
            ("X-Forwarded-Ssl", "on", true),
            ("X-Forwarded-Ssl", "off", false),
            ("X-Forwarded-For", "https", false),
            ("X-Forwarded", "https", false),
            ("X-Scheme", "https", false),
        ] {
            assert_eq!(says_https(name.as_bytes(), value.as_bytes()), want, "{name}: {value}");
        }
    }

    #[test]
    fn the_first_of_several_addresses_counts() {
        for (list, want) in [
            ("1.2.3.4", Some("1.2.3.4")),
            (" 1.2.3.4, 5.6.7.8", Some("1.2.3.4")),
            (",\t::1 5.6.7.8", Some("::1")),
            ("", None),
            (" , ", None),
        ] {
            let token = first_token(list.as_bytes()).map(|(start, length)| &list[start..start + length]);
            assert_eq!(token, want, "{list:?}");
        }
    }
}
