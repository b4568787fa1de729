//! The fields of a section that has arrived as a whole (RFC 9112 §5): httparse reads them, and here it is checked
//! that it ended each line where we would have.

use std::ops::Range;
use std::sync::LazyLock;

use httparse::{EMPTY_HEADER, Status};
use memchr::memmem::Finder;

use crate::Error;
use crate::head::field_line::FieldLine;

/// What ends a section: the line feed of its last line, and the empty line.
const END: &[u8] = b"\r\n\r\n";

/// Octets of a line's end.
const CRLF: usize = 2;

/// Fields that are read at a time.
const ROUND: usize = 16;

/// Where the reading of a section ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// After the empty line.
    Complete(usize),
    /// At the start of a line that has to be looked at by itself.
    Unread(usize),
}

/// Whether the end of a section is in `octets`, of which those before `scanned` have been searched for it.
#[inline]
pub(crate) fn is_complete(octets: &[u8], scanned: usize) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(END));
    octets.ends_with(END)
        || FINDER.find(octets.get(scanned.saturating_sub(END.len() - 1)..).unwrap_or_default()).is_some()
}

/// Reads the section that starts at `start` of `octets`, after a CRLF, and gives each field and its line
/// to `note`.
///
/// httparse takes a bare line feed for the end of a line, and knows no reasons: from a field that does not end in CRLF
/// on, or if it refuses something, the rest is [`Outcome::Unread`].
#[inline]
pub(crate) fn read<'a>(
    octets: &'a [u8],
    start: usize,
    mut note: impl FnMut(&FieldLine<'a>, Range<usize>) -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let mut line = start;
    loop {
        let mut fields = [EMPTY_HEADER; ROUND];
        let (count, end) = match httparse::parse_headers(octets.get(line..).unwrap_or_default(), &mut fields)
        {
            Ok(Status::Complete((length, fields))) => (fields.len(), Some(line + length)),
            Err(httparse::Error::TooManyHeaders) => (ROUND, None),
            Ok(Status::Partial) | Err(_) => return Ok(Outcome::Unread(line)),
        };
        for field in &fields[..count] {
            let (name, value) = (field.name.as_bytes(), field.value);
            let value_offset = value.as_ptr().addr() - name.as_ptr().addr();
            let mut end = line + value_offset + value.len();
            while matches!(octets.get(end), Some(b' ' | b'\t')) {
                end += 1;
            }
            if octets.get(end) != Some(&b'\r') {
                return Ok(Outcome::Unread(line));
            }
            note(&FieldLine { name, value, value_offset, has_underscore: has_underscore(name) }, line..end)?;
            line = end + CRLF;
        }
        match end {
            Some(end) if end == line + CRLF => return Ok(Outcome::Complete(end)),
            Some(_) => return Ok(Outcome::Unread(line)),
            None => {}
        }
    }
}

/// Eight octets at a time: names are too short for what is made for long texts.
#[inline]
fn has_underscore(name: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let found = |eight: &[u8; 8]| {
        // An underscore becomes zero, and only from a zero is something borrowed while its highest bit is not set.
        let differs = u64::from_ne_bytes(*eight) ^ (ONES * b'_' as u64);
        differs.wrapping_sub(ONES) & !differs & (ONES << 7) != 0
    };
    match name.last_chunk() {
        Some(last) => found(last) || name.as_chunks().0.iter().any(found),
        None => name.contains(&b'_'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf_and_nothing_else() {
        use Outcome::{Complete, Unread};
        let many = "a: b\r\n".repeat(40);
        for (octets, fields, want) in [
            ("\r\n", 0, Complete(2)),
            ("A: b\r\n\r\n", 1, Complete(8)),
            ("A: b\r\n\r\nC: d\r\n\r\n", 1, Complete(8)),
            ("A:\r\nB: \t \r\nC:\td\u{e9} \t\r\n\r\n", 3, Complete(23)),
            (&format!("{many}\r\n"), 40, Complete(242)),
            (&format!("{many}A: b\n\r\n"), 40, Unread(240)),
            (&format!("{many}A : b\r\n\r\n"), 32, Unread(192)),
            ("\n", 0, Unread(0)),
            ("A: b\n\n", 0, Unread(0)),
            ("A: b\r\nC: d\n\r\n", 1, Unread(6)),
            ("A: b \nC: d\r\n\r\n", 0, Unread(0)),
            ("A:\t\nC: d\r\n\r\n", 0, Unread(0)),
            ("A: b\r\n\nC: d\r\n\r\n", 1, Unread(6)),
            ("A: b\rC: d\r\n\r\n", 0, Unread(0)),
            ("A: b\r\n c\r\n\r\n", 0, Unread(0)),
            (" A: b\r\n\r\n", 0, Unread(0)),
            (": b\r\n\r\n", 0, Unread(0)),
            ("A: \0\r\n\r\n", 0, Unread(0)),
            ("A: b\r\n", 0, Unread(0)),
        ] {
            let mut noted = 0;
            let outcome = read(octets.as_bytes(), 0, |field, line| {
                noted += 1;
                let ours = FieldLine::parse(&octets.as_bytes()[line], &crate::Limits::default()).unwrap();
                assert_eq!((field.name, field.value), (ours.name, ours.value), "{octets:?}");
                assert_eq!(field.value_offset, ours.value_offset, "{octets:?}");
                Ok(())
            });
            assert_eq!((noted, outcome), (fields, Ok(want)), "{octets:?}");
        }
    }

    #[test]
    fn an_end_is_found_across_what_was_searched() {
        let octets = b"A: b\r\n\r\nC";
        for scanned in 0..octets.len() - 1 {
            assert!(is_complete(octets, scanned), "{scanned}");
        }
        assert!(!is_complete(&octets[..7], 0) && !is_complete(b"", 0) && !is_complete(b"\r\n", 9));
    }

    #[test]
    fn an_underscore_is_found_anywhere() {
        for length in 0..40 {
            let name = vec![b'-'; length];
            assert!(!has_underscore(&name));
            for near in [b'^', b'`', b'\xdf', b'\x00', b'\x01', b'\x80'] {
                assert!(!has_underscore(&vec![near; length]));
            }
            for place in 0..length {
                let mut name = name.clone();
                name[place] = b'_';
                assert!(has_underscore(&name), "{length} {place}");
            }
        }
    }
}
