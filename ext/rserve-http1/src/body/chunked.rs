//! The chunked transfer coding, decoded (RFC 9112 §7.1).

use std::ops::Range;

use crate::grammar::{self, TOKEN};
use crate::head::field_line::FieldLine;
use crate::head::field_section::{self, Outcome};
use crate::{Error, Excerpt, Limits};

/// Decodes one chunked body, as ranges of the octets it comes in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {
    part: Part,
    /// Octets of the line at hand, from its start, in which there is no line feed.
    scanned: usize,
    /// Content announced by all chunk sizes so far.
    announced: u64,
    /// Octets of chunk extensions so far.
    extensions: usize,
    /// Octets and lines of trailers so far.
    trailers: usize,
    trailer_lines: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Before `chunk-size [ chunk-ext ] CRLF`.
    #[default]
    Size,
    /// This many octets of chunk data are missing; not 0.
    Data(u64),
    /// Before the CRLF after the data.
    DataEnd,
    /// After the zero-length chunk.
    Trailers,
}

/// How far [`Decoder::decode`] got; all positions are within the octets it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    Partial { consumed: usize },
    Data { consumed: usize, data: Range<usize> },
    End { consumed: usize },
}

impl Decoder {
    /// Decodes up to the next piece of data, or the end. `octets` start with what was not consumed before.
    pub(crate) fn decode(&mut self, octets: &[u8], limits: &Limits) -> Result<Decoded, Error> {
        self.decode_up_to(octets, usize::MAX, limits)
    }

    /// As [`Decoder::decode`]; the piece is of at most `most` octets.
    pub(crate) fn decode_up_to(
        &mut self,
        octets: &[u8],
        most: usize,
        limits: &Limits,
    ) -> Result<Decoded, Error> {
        let mut position = 0;
        loop {
            let rest = &octets[position..];
            match self.part {
                Part::Size => {
                    refuse_bad_size(rest)?;
                    let Some(line) = self.line(rest, limits.chunk_line, Error::ChunkLineTooLong)? else {
                        return Ok(Decoded::Partial { consumed: position });
                    };
                    position += line.len() + 2;
                    let size = self.read_size(line, limits)?;
                    self.part = if size == 0 { Part::Trailers } else { Part::Data(size) };
                }
                Part::Data(missing) => {
                    let length = usize::try_from(missing).unwrap_or(usize::MAX).min(rest.len()).min(most);
                    if length == 0 {
                        return Ok(Decoded::Partial { consumed: position });
                    }
                    let missing = missing - length as u64;
                    self.part = if missing == 0 { Part::DataEnd } else { Part::Data(missing) };
                    let data = position..position + length;
                    return Ok(Decoded::Data { consumed: data.end, data });
                }
                Part::DataEnd => match rest {
                    [] | [b'\r'] => return Ok(Decoded::Partial { consumed: position }),
                    [b'\r', b'\n', ..] => {
                        position += 2;
                        self.part = Part::Size;
                    }
                    _ => return Err(Error::ChunkEnd),
                },
                Part::Trailers => {
                    // Never merged into the head (RFC 9110 §6.5.1): checked, and dropped.
                    let window = &rest[..rest.len().min(limits.trailers.saturating_sub(self.trailers) + 2)];
                    if field_section::is_complete(window, self.scanned) {
                        match self.read_trailers(window, limits)? {
                            Outcome::Complete(end) => return Ok(Decoded::End { consumed: position + end }),
                            Outcome::Unread(0) => {}
                            Outcome::Unread(line) => {
                                position += line;
                                self.trailers += line;
                                self.scanned = 0;
                                continue;
                            }
                        }
                    }
                    let allowed = limits.trailers.saturating_sub(self.trailers + 2);
                    let Some(line) = self.line(rest, allowed, Error::TrailersTooLarge)? else {
                        return Ok(Decoded::Partial { consumed: position });
                    };
                    position += line.len() + 2;
                    if line.is_empty() {
                        return Ok(Decoded::End { consumed: position });
                    }
                    self.trailers += line.len() + 2;
                    self.count_trailer(limits)?;
                    FieldLine::parse(line, limits).map_err(|_| Error::Trailer(Excerpt::of(line)))?;
                }
            }
        }
    }

    /// Reads a trailer section that has arrived as a whole, up to a line that [`Decoder::line`] has to look at.
    fn read_trailers(&mut self, octets: &[u8], limits: &Limits) -> Result<Outcome, Error> {
        field_section::read(octets, 0, |field, line| {
            self.count_trailer(limits)?;
            field.check_lengths(limits).map_err(|_| Error::Trailer(Excerpt::of(&octets[line])))
        })
    }

    fn count_trailer(&mut self, limits: &Limits) -> Result<(), Error> {
        self.trailer_lines += 1;
        if self.trailer_lines > limits.fields { Err(Error::TrailersTooLarge) } else { Ok(()) }
    }

    /// The line that `octets` start with, without its CRLF, once it is complete. At most `limit` octets long.
    fn line<'a>(
        &mut self,
        octets: &'a [u8],
        limit: usize,
        too_long: Error,
    ) -> Result<Option<&'a [u8]>, Error> {
        let window = &octets[..octets.len().min(limit + 2)];
        let Some(offset) = memchr::memchr(b'\n', window.get(self.scanned..).unwrap_or_default()) else {
            self.scanned = window.len();
            return if window.len() == limit + 2 { Err(too_long) } else { Ok(None) };
        };
        let line_feed = std::mem::take(&mut self.scanned) + offset;
        match window[..line_feed] {
            [ref line @ .., b'\r'] => Ok(Some(line)),
            ref line if self.part == Part::Trailers => Err(Error::Trailer(Excerpt::of(line))),
            ref line => Err(Error::ChunkSize(Excerpt::of(line))),
        }
    }

    /// Reads `chunk-size [ chunk-ext ]`.
    fn read_size(&mut self, line: &[u8], limits: &Limits) -> Result<u64, Error> {
        let bad_size = || Error::ChunkSize(Excerpt::of(line));
        let digits = hex_digits(line);
        let size = str::from_utf8(&line[..digits])
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(bad_size)?;
        let extensions = &line[digits..];
        if !extensions.is_empty() {
            if grammar::trim(extensions).first() != Some(&b';') {
                return Err(bad_size());
            }
            if !are_extensions(extensions) {
                return Err(Error::ChunkExtension(Excerpt::of(extensions)));
            }
            self.extensions += extensions.len();
            if self.extensions > limits.chunk_extensions {
                return Err(Error::ChunkExcess);
            }
        }
        self.announced = self.announced.checked_add(size).ok_or_else(bad_size)?;
        match limits.body {
            Some(limit) if self.announced > limit => Err(Error::ContentTooLarge),
            _ => Ok(size),
        }
    }
}

/// Digits of a chunk size, leading zeros included, that is read at all.
const SIZE_DIGITS: usize = 16;

fn hex_digits(octets: &[u8]) -> usize {
    octets.iter().take(SIZE_DIGITS + 1).take_while(|octet| octet.is_ascii_hexdigit()).count()
}

/// Refuses what cannot become a chunk size before its line is complete, as its sender may never complete it.
fn refuse_bad_size(octets: &[u8]) -> Result<(), Error> {
    let digits = hex_digits(octets);
    match octets.get(digits) {
        None if digits <= SIZE_DIGITS => Ok(()),
        Some(b';' | b' ' | b'\t' | b'\r') if (1..=SIZE_DIGITS).contains(&digits) => Ok(()),
        _ => {
            let end = octets.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(octets.len());
            Err(Error::ChunkSize(Excerpt::of(&octets[..end])))
        }
    }
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )` (RFC 9112 §7.1.1).
fn are_extensions(octets: &[u8]) -> bool {
    let skip_blank = |octets: &mut &[u8]| {
        while let [b' ' | b'\t', rest @ ..] = *octets {
            *octets = rest;
        }
    };
    let skip_token = |octets: &mut &[u8]| {
        let length = grammar::run(octets, TOKEN);
        *octets = &octets[length..];
        length > 0
    };
    let mut rest = octets;
    while !rest.is_empty() {
        skip_blank(&mut rest);
        let [b';', after @ ..] = rest else { return false };
        rest = after;
        skip_blank(&mut rest);
        if !skip_token(&mut rest) {
            return false;
        }
        let mut value = rest;
        skip_blank(&mut value);
        let [b'=', after @ ..] = value else { continue };
        rest = after;
        skip_blank(&mut rest);
        if let [b'"', after @ ..] = rest {
            let Some(length) = quoted_string_end(after) else { return false };
            rest = &after[length..];
        } else if !skip_token(&mut rest) {
            return false;
        }
    }
    true
}

/// The length of a `quoted-string` after its first quote, the last one included (RFC 9110 §5.6.4).
fn quoted_string_end(octets: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (index, &octet) in octets.iter().enumerate() {
        match octet {
            0..=8 | 10..=31 | 127 => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}
