//! Whether a response of the application's is coded, and how.

use std::hash::{DefaultHasher, Hasher};

use rserve_http1::content::codings::{Acceptance, Coding};
use rserve_http1::status;

use super::media::is_compressible;
use crate::config::options::Compression;

/// Octets at most by which a coded response is longer than it need be.
pub const JITTER: u64 = 32;

/// What is decided of a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It is sent as it is, to everybody.
    AsItIs,
    /// It is sent as it is, to this client.
    Varies,
    /// It is sent in this coding, at this level.
    Coded(Coding, u32),
    /// Its content is not there: it would be sent like this, or as it is.
    Perhaps,
}

/// What is known of a response before its body is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// What a GET would give is not there: the application has left it out of the answer to a HEAD, or says that the client
    /// has it (304).
    pub absent: bool,
    /// Octets of its body, if that is known.
    pub length: Option<u64>,
}

/// Decides about `response` with these fields of the application's for a client that takes these codings.
pub fn decide<'a>(
    options: &Compression,
    accepted: Acceptance,
    response: Response,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Decision {
    let is_whole = response.status == 304 || (response.status != 206 && !status::no_body(response.status));
    if !is_whole || response.length.is_some_and(|length| length < options.min.max(1)) {
        return Decision::AsItIs;
    }
    // A 304 need not tell the type.
    let mut is_text = response.status == 304;
    for (name, value) in fields {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let says = |option: &[u8]| {
            value.split(|&octet| octet == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(option))
        };
        let forbids = match name.len() {
            12 if is(b"content-type") => {
                is_text = is_compressible(value) && !starts_with(value, b"text/event-stream");
                false
            }
            13 if is(b"cache-control") => says(b"no-transform"),
            16 if is(b"content-encoding") => !value.eq_ignore_ascii_case(b"identity"),
            13 => is(b"content-range"),
            // They are of the octets that are sent.
            14 => is(b"content-digest"),
            11 => is(b"content-md5"),
            6 => is(b"digest"),
            _ => false,
        };
        if forbids {
            return Decision::AsItIs;
        }
    }
    if !is_text {
        return Decision::AsItIs;
    }
    let mut offered = [Coding::Gzip; 3];
    let count = options.codings.len().min(3);
    offered.iter_mut().zip(&options.codings).for_each(|(slot, (coding, _))| *slot = *coding);
    let taken = accepted.ranked(&offered[..count]).next();
    let level = |coding| options.codings.iter().find(|(other, _)| *other == coding).map(|(_, level)| *level);
    match taken.and_then(|coding| Some((coding, level(coding)?))) {
        Some(_) if response.absent => Decision::Perhaps,
        Some((coding, level)) => Decision::Coded(coding, level),
        None => Decision::Varies,
    }
}

fn starts_with(value: &[u8], start: &[u8]) -> bool {
    value.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start))
}

/// Whether coding so many octets takes longer than a thread should keep the GVL for it, some 200 µs.
pub fn is_long(coding: Coding, level: u32, octets: usize) -> bool {
    let (usual, quick) = match coding {
        Coding::Brotli => (5, 16 * 1024),
        Coding::Gzip => (6, 16 * 1024),
        Coding::Zstd => (5, 64 * 1024),
    };
    octets >= if level > usual { 1024 } else { quick }
}

/// By how many octets a response with this `content` is longer than it need be, at most [`JITTER`].
///
/// Who can have a page repeat what he guesses, and sees how long it is, learns by its length what else is in the page (BREACH).
/// The number follows from the content and from a key that nobody knows: one that were new each time would be taken out by asking again.
pub fn jitter(options: &Compression, content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(options.key);
    hasher.write(content);
    1 + hasher.finish() % JITTER
}

#[cfg(test)]
mod tests {
    use super::*;
    use Coding::{Brotli, Gzip, Zstd};
    use Decision::{AsItIs, Coded, Perhaps, Varies};

    fn options() -> Compression {
        Compression { codings: vec![(Zstd, 3), (Brotli, 4), (Gzip, 5)], min: 1024, key: 7 }
    }

    fn decided(accepted: &str, response: Response, fields: &[(&str, &str)]) -> Decision {
        let accepted = Acceptance::of([accepted.as_bytes()]);
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        decide(&options(), accepted, response, fields)
    }

    #[test]
    fn text_is_coded_unless_something_speaks_against_it() {
        let page = Response { status: 200, absent: false, length: Some(5000) };
        let absent = Response { absent: true, length: None, ..page };
        let unmodified = Response { status: 304, ..absent };
        let html = ("Content-Type", "text/html; charset=utf-8");
        for (accepted, response, fields, want) in [
            ("gzip, deflate, br, zstd", page, &[html][..], Coded(Zstd, 3)),
            ("gzip, br", page, &[html], Coded(Brotli, 4)),
            ("gzip", page, &[html], Coded(Gzip, 5)),
            ("br;q=0.5, gzip", page, &[html], Coded(Gzip, 5)),
            ("deflate", page, &[html], Varies),
            ("", page, &[html], Varies),
            ("gzip", Response { length: None, ..page }, &[html], Coded(Gzip, 5)),
            ("gzip", Response { length: Some(1024), ..page }, &[html], Coded(Gzip, 5)),
            ("gzip", Response { length: Some(1023), ..page }, &[html], AsItIs),
            ("gzip", Response { length: Some(0), ..page }, &[html], AsItIs),
            ("gzip", Response { status: 404, ..page }, &[html], Coded(Gzip, 5)),
            ("gzip", Response { status: 204, ..page }, &[html], AsItIs),
            ("gzip", Response { status: 206, ..page }, &[html], AsItIs),
            ("gzip", Response { status: 101, ..page }, &[html], AsItIs),
            ("gzip", absent, &[html], Perhaps),
            ("", absent, &[html], Varies),
            ("gzip", absent, &[], AsItIs),
            ("gzip", Response { status: 204, ..absent }, &[html], AsItIs),
            ("gzip", unmodified, &[html], Perhaps),
            ("gzip", unmodified, &[], Perhaps),
            ("", unmodified, &[], Varies),
            ("gzip", unmodified, &[("content-type", "image/png")], AsItIs),
            ("gzip", unmodified, &[("Cache-Control", "no-transform")], AsItIs),
            ("gzip", page, &[], AsItIs),
            ("gzip", page, &[("content-type", "image/png")], AsItIs),
            ("gzip", page, &[("content-type", "Application/JSON")], Coded(Gzip, 5)),
            ("gzip", page, &[("content-type", "text/event-stream")], AsItIs),
            ("gzip", page, &[("content-type", "Text/Event-Stream; charset=utf-8")], AsItIs),
            ("gzip", page, &[html, ("Content-Encoding", "br")], AsItIs),
            ("gzip", page, &[html, ("content-encoding", "identity")], Coded(Gzip, 5)),
            ("gzip", page, &[html, ("Cache-Control", "public, No-Transform")], AsItIs),
            ("gzip", page, &[html, ("Cache-Control", "public")], Coded(Gzip, 5)),
            ("gzip", page, &[html, ("Content-Range", "bytes 0-9/10")], AsItIs),
            ("gzip", page, &[html, ("Content-MD5", "x")], AsItIs),
            ("gzip", page, &[html, ("Digest", "x")], AsItIs),
            ("gzip", page, &[html, ("Content-Digest", "x")], AsItIs),
        ] {
            assert_eq!(decided(accepted, response, fields), want, "{accepted} {response:?} {fields:?}");
        }
    }

    #[test]
    fn a_length_tells_little_and_is_no_other_the_next_time() {
        let lengths: Vec<_> = (0..1000_u32).map(|guess| jitter(&options(), &guess.to_le_bytes())).collect();
        assert!(lengths.iter().all(|length| (1..=JITTER).contains(length)));
        for length in 1..=JITTER {
            let count = lengths.iter().filter(|it| **it == length).count();
            assert!((10..60).contains(&count), "{length}: {count}");
        }
        assert_eq!(jitter(&options(), b"page"), jitter(&options(), b"page"));
        let other = Compression { key: 8, ..options() };
        assert!((0..100_u32).any(|guess| jitter(&options(), &guess.to_le_bytes()) != jitter(&other, &guess.to_le_bytes())));
    }
}
