//! Which file a path stands for, by its octets.

/// The only name with a dot in front that is served (RFC 8615), at the beginning of a path.
const WELL_KNOWN: &[u8] = b".well-known";

/// The name of a file, from a folder whose files are found at `at` (without a slash at its end), that `path` stands for, as
/// a client has sent it. Empty for the folder itself, and without the slash that it may end with.
///
/// `None` where it cannot be one: what is encoded wrongly, `.` and `..` however they are spelled, names that begin with a
/// dot, NUL, backslashes, encoded slashes, and slashes that follow each other. Nothing is put right: whoever looks at the path elsewhere, as a
/// proxy does that guards some of the paths, must not see another one.
pub fn below(path: &[u8], at: &[u8]) -> Option<Vec<u8>> {
    let name = decode(path.strip_prefix(b"/")?)?;
    let name = match at.strip_prefix(b"/") {
        None => name,
        Some(at) => match name.strip_prefix(at)? {
            [] => Vec::new(),
            [b'/', rest @ ..] => rest.to_vec(),
            _ => return None,
        },
    };
    let names = name.strip_suffix(b"/").unwrap_or(&name);
    let is_plain = |(at, part): (usize, &[u8])| match part.first() {
        None => false,
        Some(b'.') => at == 0 && part == WELL_KNOWN,
        Some(_) => true,
    };
    let fit = name.is_empty() || names.split(|&octet| octet == b'/').enumerate().all(is_plain);
    fit.then(|| names.to_vec())
}

/// Takes percent encoding apart, once.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&octet) = rest.next() {
        let octet = match octet {
            b'%' => match hex(*rest.next()?)? << 4 | hex(*rest.next()?)? {
                b'/' => return None,
                octet => octet,
            },
            octet => octet,
        };
        if matches!(octet, 0 | b'\\') {
            return None;
        }
        name.push(octet);
    }
    Some(name)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// What the name of a file ends with, from its last dot on; empty without one (Ruby's `File.extname`).
pub fn extension(name: &[u8]) -> &[u8] {
    let last = name.rsplit(|&octet| octet == b'/').next().unwrap_or(name);
    match last.iter().rposition(|&octet| octet == b'.') {
        Some(at) if at > 0 => &last[at..],
        _ => &[],
    }
}

/// Lengths of digests in hexadecimal, or of what build tools leave of them: Propshaft and esbuild's 8, 16 and 20 of webpack, MD5, SHA-1,
/// SHA-256.
const DIGESTS: [usize; 6] = [8, 16, 20, 32, 40, 64];

/// Whether the name of a file has a digest of its content in it, as in `application-1a2b3c4d.css` and
/// `1.1a2b3c4d5e6f7a8b9c0d.chunk.js`: what it names never changes.
pub fn is_digested(name: &[u8]) -> bool {
    let last = name.rsplit(|&octet| octet == b'/').next().unwrap_or(name);
    last.split(|&octet| octet == b'.').enumerate().any(|(at, part)| {
        match part.iter().rposition(|&octet| octet == b'-') {
            Some(dash) => dash > 0 && is_digest(&part[dash + 1..]),
            None => at > 0 && is_digest(part),
        }
    })
}

/// A date and a word of the letters a to f are none.
fn is_digest(part: &[u8]) -> bool {
    DIGESTS.contains(&part.len())
        && part.iter().all(|octet| octet.is_ascii_digit() || matches!(octet, b'a'..=b'f'))
        && part.iter().any(u8::is_ascii_digit)
        && part.iter().any(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_name_of_a_file_or_nothing() {
        for (path, at, want) in [
            ("/", "", Some("")),
            ("/a", "", Some("a")),
            ("/a/b.css", "", Some("a/b.css")),
            ("/a/", "", Some("a")),
            ("/a%20b", "", Some("a b")),
            ("/%c3%A4", "", Some("ä")),
            ("/a%3fb", "", Some("a?b")),
            ("/a%252fb", "", Some("a%2fb")),
            ("/%252e%252e/a", "", Some("%2e%2e/a")),
            ("/a..b", "", Some("a..b")),
            ("/a...", "", Some("a...")),
            ("/.well-known/acme", "", Some(".well-known/acme")),
            ("/%2ewell-known/acme", "", Some(".well-known/acme")),
            ("/.well-known", "", Some(".well-known")),
            ("/assets/a", "/assets", Some("a")),
            ("/assets", "/assets", Some("")),
            ("/assets/", "/assets", Some("")),
            ("/%61ssets/a", "/assets", Some("a")),
            ("/a/b/c", "/a/b", Some("c")),
            ("/assetsa", "/assets", None),
            ("/other/a", "/assets", None),
            ("/", "/assets", None),
            ("/assets/.well-known/a", "/assets", Some(".well-known/a")),
            ("/assets/../a", "/assets", None),
            ("/assets//a", "/assets", None),
            ("", "", None),
            ("a", "", None),
            ("*", "", None),
            ("//", "", None),
            ("//a", "", None),
            ("/a//b", "", None),
            ("/a//", "", None),
            ("/.", "", None),
            ("/..", "", None),
            ("/../a", "", None),
            ("/a/..", "", None),
            ("/a/../b", "", None),
            ("/a/./b", "", None),
            ("/%2e%2e/a", "", None),
            ("/%2E./a", "", None),
            ("/.%2e/a", "", None),
            ("/a%2f..%2fb", "", None),
            ("/a%2Fb", "", None),
            ("/a%5cb", "", None),
            ("/a\\b", "", None),
            ("/..\\a", "", None),
            ("/a%00b", "", None),
            ("/a%", "", None),
            ("/a%2", "", None),
            ("/a%zz", "", None),
            ("/a%+1", "", None),
            ("/.git/config", "", None),
            ("/a/.htaccess", "", None),
            ("/%2egit/config", "", None),
            ("/a/.well-known/b", "", None),
            ("/.well-known/.git", "", None),
            ("/.well-known-not/a", "", None),
        ] {
            let name = below(path.as_bytes(), at.as_bytes());
            assert_eq!(name.as_deref(), want.map(str::as_bytes), "{path:?} below {at:?}");
        }
    }

    #[test]
    fn an_extension_is_rubys() {
        for (name, want) in [
            ("a.css", ".css"),
            ("a.b/c", ""),
            ("a.tar.gz", ".gz"),
            ("b/.css", ""),
            ("a.", "."),
            ("", ""),
            ("a", ""),
        ] {
            assert_eq!(extension(name.as_bytes()), want.as_bytes(), "{name}");
        }
    }

    #[test]
    fn a_digest_is_a_part_of_its_own_and_looks_like_one() {
        let (sha256, md5) = ("1a".repeat(32), "1a".repeat(16));
        for (name, want) in [
            ("assets/application-1a2b3c4d.css", true),
            ("application-1a2b3c4d.css.map", true),
            ("application-1a2b3c4d.digested.js", true),
            (&format!("assets/a-{sha256}.js"), true),
            (&format!("a.{md5}.js"), true),
            (&format!("js/{md5}.js"), false),
            ("runtime.1a2b3c4d5e6f7a8b9c0d.chunk.js", true),
            ("photo-20240101.jpg", false),
            ("the-defaced.txt", false),
            ("word-deadbeef.txt", false),
            ("550e8400-e29b-41d4-a716-4466a5440000.png", false),
            ("application-1A2B3C4D.css", false),
            ("application-1a2b3c4.css", false),
            ("-1a2b3c4d.css", false),
            ("1a2b3c4d-folder/a.css", false),
            ("application.css", false),
            ("1a2b3c4d", false),
            ("", false),
        ] {
            assert_eq!(is_digested(name.as_bytes()), want, "{name}");
        }
    }
}
