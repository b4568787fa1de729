//! The field lines of a response that are written already: read, and changed where its content becomes another one.

use crate::content::codings::Coding;
use crate::grammar;
use crate::response::encode;
use crate::response::plan::Spelling;

/// Name and value of each of `lines`, as [`encode::field`] writes them.
pub fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    each(lines).filter_map(|line| {
        let colon = line.iter().position(|&octet| octet == b':')?;
        Some((&line[..colon], grammar::trim(line[colon + 1..].strip_suffix(b"\r\n")?)))
    })
}

fn each(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|&octet| octet == b'\n')
}

/// What becomes of a content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Another client would be given it in another coding.
    Varies,
    /// It is coded.
    Coded(Coding),
    /// It is not there, and nobody knows whether it would be coded.
    Perhaps,
}

/// `lines` of a response whose content changes: it says so, and nothing of it that is not true any more.
pub fn changed(lines: &[u8], change: Change, spelling: Spelling) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() + 64);
    let field = |out: &mut Vec<u8>, name: &[u8], value: &[u8]| {
        let _ = match spelling {
            Spelling::Title => encode::field(out, name, value),
            Spelling::Lower => encode::field_lower(out, name, value),
        };
    };
    let mut varies = false;
    for (line, (name, value)) in each(lines).zip(fields(lines)) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"vary") {
            varies |=
                grammar::list(value).any(|it| it == b"*" || it.eq_ignore_ascii_case(b"accept-encoding"));
        }
        match change {
            // A strong one would say that the octets are the same (RFC 9110 §8.8.1).
            Change::Coded(_) | Change::Perhaps if is(b"etag") && !value.starts_with(b"W/") => {
                field(&mut out, name, &[b"W/", value].concat());
            }
            // Of the coded content no ranges are to be had.
            Change::Coded(_) if is(b"accept-ranges") || is(b"content-encoding") => {}
            _ => out.extend_from_slice(line),
        }
    }
    if let Change::Coded(coding) = change {
        field(&mut out, b"Content-Encoding", coding.name().as_bytes());
    }
    if !varies {
        field(&mut out, b"Vary", b"Accept-Encoding");
    }
    out
}

/// `lines` without those of these names.
pub fn without(lines: &[u8], names: &[&str]) -> Vec<u8> {
    let kept = each(lines).zip(fields(lines));
    let kept = kept.filter(|(_, (name, _))| !names.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes())));
    kept.flat_map(|(line, _)| line).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let mut lines = Vec::new();
        for (name, value) in [("A", "b: c"), ("Empty", ""), ("Set-Cookie", "a=1\nb=2")] {
            let _ = encode::field(&mut lines, name.as_bytes(), value.as_bytes());
        }
        let read: Vec<_> =
            fields(&lines).map(|(name, value)| [name, value].map(String::from_utf8_lossy)).collect();
        assert_eq!(read, [["A", "b: c"], ["Empty", ""], ["Set-Cookie", "a=1"], ["Set-Cookie", "b=2"]]);
        assert_eq!(fields(b"").count(), 0);
        assert_eq!(without(&lines, &["a", "set-cookie"]), b"Empty: \r\n");
    }

    #[test]
    fn a_content_that_is_coded_is_told_so() {
        let (coded, varies, perhaps) = (Change::Coded(Coding::Gzip), Change::Varies, Change::Perhaps);
        for (lines, change, want) in [
            ("", coded, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"),
            ("", varies, "Vary: Accept-Encoding\r\n"),
            (
                "A: b\r\nETag: \"x\"\r\n",
                coded,
                "A: b\r\nETag: W/\"x\"\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n",
            ),
            (
                "ETag: W/\"x\"\r\n",
                coded,
                "ETag: W/\"x\"\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\n",
            ),
            (
                "ETag: \"x\"\r\nAccept-Ranges: bytes\r\n",
                varies,
                "ETag: \"x\"\r\nAccept-Ranges: bytes\r\nVary: Accept-Encoding\r\n",
            ),
            (
                "ETag: \"x\"\r\nAccept-Ranges: bytes\r\n",
                perhaps,
                "ETag: W/\"x\"\r\nAccept-Ranges: bytes\r\nVary: Accept-Encoding\r\n",
            ),
            ("accept-ranges: bytes\r\n", coded, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"),
            ("Content-Encoding: identity\r\n", coded, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"),
            ("Vary: Cookie, accept-encoding\r\n", varies, "Vary: Cookie, accept-encoding\r\n"),
            ("Vary: *\r\n", varies, "Vary: *\r\n"),
            ("Vary: Cookie\r\n", varies, "Vary: Cookie\r\nVary: Accept-Encoding\r\n"),
        ] {
            let changed = changed(lines.as_bytes(), change, Spelling::Title);
            assert_eq!(String::from_utf8(changed).unwrap(), want, "{lines:?} {change:?}");
        }
        let lower = changed(b"ETag: \"x\"\r\n", coded, Spelling::Lower);
        assert_eq!(lower, b"etag: W/\"x\"\r\ncontent-encoding: gzip\r\nvary: Accept-Encoding\r\n");
    }
}
