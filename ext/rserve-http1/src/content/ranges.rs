//! Which octets of the content a Range field asks for (RFC 9110 §14).

use std::ops::Range;

use crate::decimal::decimal;
use crate::grammar;
use crate::response::encode;

/// Ranges of one request that are answered; one that asks for more is answered with everything.
pub const MOST: usize = 8;

/// What a Range field asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// All of it: the field is malformed, in other units, or asks for more than it would take to send everything.
    Whole,
    /// These octets, none of them empty, in the client's order.
    Parts(Vec<Range<u64>>),
    /// Nothing that there is: 416.
    Unsatisfiable,
}

/// What `value`, the one Range field of a GET, asks for of a content of `length` octets.
///
/// Ranges that overlap, or are many, are a way to make a server send much more than there is (RFC 9110 §17.15); who asks
/// for more than [`MOST`] or for more octets than there are gets the whole, which any server may send.
pub fn wanted(value: &[u8], length: u64) -> Wanted {
    // Of nothing there is no range, but all of it.
    let Some(list) = set_of_octets(value).filter(|_| length > 0) else { return Wanted::Whole };
    let (mut parts, mut sum, mut asked) = (Vec::new(), 0_u64, 0);
    for spec in grammar::list(list) {
        asked += 1;
        if asked > MOST {
            return Wanted::Whole;
        }
        match range(spec, length) {
            Some(part) if part.is_empty() => {}
            Some(part) => {
                sum = sum.saturating_add(part.end - part.start);
                parts.push(part);
            }
            None => return Wanted::Whole,
        }
    }
    match parts.len() {
        _ if asked == 0 => Wanted::Whole,
        0 => Wanted::Unsatisfiable,
        1 => Wanted::Parts(parts),
        _ if sum > length => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

fn set_of_octets(value: &[u8]) -> Option<&[u8]> {
    let (unit, list) = value.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(list)
}

/// The octets of one member; empty of one that begins after the end, `None` of one that is none.
fn range(spec: &[u8], length: u64) -> Option<Range<u64>> {
    let dash = spec.iter().position(|&octet| octet == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let count = number(last)?;
        return Some(length - count.min(length)..length);
    }
    let first = number(first)?;
    let end = match last {
        [] => length,
        last => number(last).filter(|&last| last >= first)?.saturating_add(1).min(length),
    };
    Some(first.min(end)..end)
}

/// A number that is too large for ours is larger than any content.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| grammar::decimal(digits).unwrap_or(u64::MAX))
}

/// Appends the value of the Content-Range field of `part` (RFC 9110 §14.4).
pub fn content_range(part: &Range<u64>, length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"bytes ");
    decimal(out, part.start);
    out.push(b'-');
    decimal(out, part.end - 1);
    out.push(b'/');
    decimal(out, length);
}

/// Appends the value of the Content-Range field that tells how much there would have been.
pub fn unsatisfied_range(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"bytes */");
    decimal(out, length);
}

/// What a content is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// These.
    Octets(Vec<u8>),
    /// Those of the file that is sent.
    File(Range<u64>),
}

impl Part {
    /// How many octets.
    pub fn length(&self) -> u64 {
        match self {
            Self::Octets(octets) => octets.len() as u64,
            Self::File(range) => range.end - range.start,
        }
    }
}

/// The content of a response with several ranges (RFC 9110 §14.6). `boundary` is a token that is not expected in the
/// content; `media` the type of the whole of `length` octets, if it has one.
pub fn multipart(ranges: &[Range<u64>], media: Option<&[u8]>, length: u64, boundary: &str) -> Vec<Part> {
    let mut parts = Vec::with_capacity(ranges.len() * 2 + 1);
    for range in ranges {
        let mut head = Vec::new();
        for octets in [if parts.is_empty() { "--" } else { "\r\n--" }, boundary, "\r\n"] {
            head.extend_from_slice(octets.as_bytes());
        }
        if let Some(media) = media {
            let _ = encode::field(&mut head, b"Content-Type", media);
        }
        head.extend_from_slice(b"Content-Range: ");
        content_range(range, length, &mut head);
        head.extend_from_slice(b"\r\n\r\n");
        parts.push(Part::Octets(head));
        parts.push(Part::File(range.clone()));
    }
    parts.push(Part::Octets(format!("\r\n--{boundary}--\r\n").into_bytes()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_tell_what_they_are() {
        let parts = multipart(&[0..5, 90..100], Some(b"text/plain"), 100, "b");
        let sent: String = parts
            .iter()
            .map(|part| match part {
                Part::Octets(octets) => String::from_utf8(octets.clone()).unwrap(),
                Part::File(range) => format!("<{}-{}>", range.start, range.end),
            })
            .collect();
        assert_eq!(
            sent,
            "--b\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-4/100\r\n\r\n<0-5>\r\n\
             --b\r\nContent-Type: text/plain\r\nContent-Range: bytes 90-99/100\r\n\r\n<90-100>\r\n--b--\r\n"
        );
        assert_eq!(
            parts.iter().map(Part::length).sum::<u64>(),
            sent.len() as u64 - "<0-5><90-100>".len() as u64 + 15
        );
        assert!(matches!(&multipart(&[], None, 1, "b")[..], [Part::Octets(end)] if end == b"\r\n--b--\r\n"));
    }

    #[test]
    fn ranges_are_those_that_were_asked_for() {
        let parts =
            |parts: &[(u64, u64)]| Wanted::Parts(parts.iter().map(|&(start, end)| start..end).collect());
        for (value, length, want) in [
            ("bytes=0-0", 10, parts(&[(0, 1)])),
            ("bytes=0-9", 10, parts(&[(0, 10)])),
            ("bytes=2-5", 10, parts(&[(2, 6)])),
            ("Bytes=2-5", 10, parts(&[(2, 6)])),
            ("bytes=5-", 10, parts(&[(5, 10)])),
            ("bytes=-3", 10, parts(&[(7, 10)])),
            ("bytes=-30", 10, parts(&[(0, 10)])),
            ("bytes=5-500", 10, parts(&[(5, 10)])),
            ("bytes=5-99999999999999999999999", 10, parts(&[(5, 10)])),
            ("bytes=-99999999999999999999999", 10, parts(&[(0, 10)])),
            ("bytes=0-18446744073709551615", 10, parts(&[(0, 10)])),
            ("bytes=0-1,4-5", 10, parts(&[(0, 2), (4, 6)])),
            ("bytes= 0-1 , ,4-5,", 10, parts(&[(0, 2), (4, 6)])),
            ("bytes=8-9,0-1", 10, parts(&[(8, 10), (0, 2)])),
            ("bytes=0-1,20-30", 10, parts(&[(0, 2)])),
            ("bytes=0-4,5-9", 10, parts(&[(0, 5), (5, 10)])),
            (
                "bytes=0-1,2-3,4-5,6-7,8-8,9-9,10-,11-",
                10,
                parts(&[(0, 2), (2, 4), (4, 6), (6, 8), (8, 9), (9, 10)]),
            ),
            ("bytes=10-", 10, Wanted::Unsatisfiable),
            ("bytes=10-20", 10, Wanted::Unsatisfiable),
            ("bytes=-0", 10, Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Wanted::Unsatisfiable),
            ("bytes=10-,20-30", 10, Wanted::Unsatisfiable),
            // Overlapping, and too many.
            ("bytes=0-9,0-0", 10, Wanted::Whole),
            ("bytes=0-,0-,0-", 10, Wanted::Whole),
            ("bytes=0-1,2-3,4-5,6-7,8-8,9-9,10-,11-,12-", 10, Wanted::Whole),
            ("bytes=0-0,0-0,0-0", 10, parts(&[(0, 1), (0, 1), (0, 1)])),
            // Malformed.
            ("bytes=", 10, Wanted::Whole),
            ("bytes=,", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("bytes=5-4", 10, Wanted::Whole),
            ("bytes=a-b", 10, Wanted::Whole),
            ("bytes=0-1;2-3", 10, Wanted::Whole),
            ("bytes=0-1,x", 10, Wanted::Whole),
            ("bytes=0 - 1", 10, Wanted::Whole),
            ("bytes=+0-1", 10, Wanted::Whole),
            ("bytes=0--1", 10, Wanted::Whole),
            ("bytes", 10, Wanted::Whole),
            ("bytes 0-1", 10, Wanted::Whole),
            ("lines=0-1", 10, Wanted::Whole),
            ("", 10, Wanted::Whole),
            ("bytes=0-", 0, Wanted::Whole),
            ("bytes=-5", 0, Wanted::Whole),
            ("bytes=0-0", u64::MAX, parts(&[(0, 1)])),
            ("bytes=-1", u64::MAX, parts(&[(u64::MAX - 1, u64::MAX)])),
        ] {
            assert_eq!(wanted(value.as_bytes(), length), want, "{value:?} of {length}");
        }
    }
}
