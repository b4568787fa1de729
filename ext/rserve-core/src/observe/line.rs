//! One line of the log, made in place: no allocation, never longer than a pipe takes in one piece.

use std::fmt::{self, Write};

/// Octets of a line, its end included: what several processes may write to one pipe without mixing (`PIPE_BUF`).
pub const CAPACITY: usize = 4096;

/// Octets of one value; a longer one ends with `…`.
pub const VALUE_LIMIT: usize = 1024;

/// What ends every line: a brace of JSON, and the newline.
const RESERVED: usize = 2;

const CUT: &str = "…";

/// See the module. What does not fit any more is refused as a whole by [`Line::part`].
pub struct Line {
    octets: [u8; CAPACITY],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { octets: [0; CAPACITY], len: 0 }
    }
}

impl Line {
    /// Appends what `write` writes, or nothing when that does not fit.
    pub fn part(&mut self, write: impl FnOnce(&mut Self) -> fmt::Result) {
        let before = self.len;
        if write(self).is_err() {
            self.len = before;
        }
    }

    /// The finished line. `closing` is one octet at most.
    pub fn finish(&mut self, closing: &str) -> &[u8] {
        for &octet in closing.as_bytes().iter().chain(b"\n").take(RESERVED) {
            self.octets[self.len] = octet;
            self.len += 1;
        }
        &self.octets[..self.len]
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let place = self.octets[..CAPACITY - RESERVED].get_mut(self.len..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// How a value's characters are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Escape {
    /// Inside a string of JSON (RFC 8259 §7).
    Json,
    /// In a line for people: control characters must not make it two lines, or colour the terminal.
    Text,
}

/// Writes a value into a line, escaped and no longer than [`VALUE_LIMIT`].
pub struct Value<'a> {
    line: &'a mut Line,
    escape: Escape,
    left: usize,
}

impl<'a> Value<'a> {
    /// A value that begins at the end of `line`.
    pub fn new(line: &'a mut Line, escape: Escape) -> Self {
        Self { line, escape, left: VALUE_LIMIT }
    }

    fn character(&mut self, character: char) -> fmt::Result {
        let mut room = [0; 4];
        match (character, self.escape) {
            ('"' | '\\', Escape::Json) => write!(self.line, "\\{character}"),
            ('\n', _) => self.line.write_str("\\n"),
            ('\r', _) => self.line.write_str("\\r"),
            ('\t', _) => self.line.write_str("\\t"),
            (_, Escape::Json) if character.is_control() => write!(self.line, "\\u{:04x}", character as u32),
            (_, Escape::Text) if character.is_control() => write!(self.line, "\\x{:02x}", character as u32),
            _ => self.line.write_str(character.encode_utf8(&mut room)),
        }
    }
}

impl Write for Value<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.left == 0 {
                break;
            }
            let len = character.len_utf8();
            if len + CUT.len() > self.left {
                self.left = 0;
                return self.line.write_str(CUT);
            }
            self.left -= len;
            self.character(character)?;
        }
        Ok(())
    }
}

/// Octets of a peer, which may be anything: what is no UTF-8 is shown as `\xHH`.
#[derive(Clone, Copy, Debug)]
pub struct Octets<'a>(pub &'a [u8]);

impl fmt::Display for Octets<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            formatter.write_str(chunk.valid())?;
            for octet in chunk.invalid() {
                write!(formatter, "\\x{octet:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, escape: Escape) -> String {
        let mut line = Line::default();
        line.part(|line| Value::new(line, escape).write_str(text));
        let end = line.finish("").len() - 1;
        String::from_utf8(line.octets[..end].to_vec()).unwrap()
    }

    #[test]
    fn no_value_ends_a_line_or_a_string() {
        for (text, json, plain) in [
            ("plain", "plain", "plain"),
            ("a\nb\rc\td", r"a\nb\rc\td", r"a\nb\rc\td"),
            (r#"say "x\y""#, r#"say \"x\\y\""#, r#"say "x\y""#),
            ("\u{1b}[31m\0", r"\u001b[31m\u0000", r"\x1b[31m\x00"),
            ("\u{85}", r"\u0085", r"\x85"),
            ("süß", "süß", "süß"),
        ] {
            assert_eq!((value(text, Escape::Json), value(text, Escape::Text)), (json.into(), plain.into()));
        }
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        for text in ["x".repeat(2000), "ä".repeat(2000), "\0".repeat(1022)] {
            let cut = value(&text, Escape::Text);
            assert!(cut.ends_with(CUT) && cut.len() <= VALUE_LIMIT * 4 + CUT.len(), "{}", cut.len());
        }
        assert_eq!(value(&"x".repeat(1000), Escape::Json).len(), 1000);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_line_still_ends() {
        let mut line = Line::default();
        for _ in 0..5 {
            line.part(|line| {
                line.write_str("[")?;
                line.write_str(&"x".repeat(1000))?;
                line.write_str("]")
            });
        }
        let octets = line.finish("}");
        assert_eq!((octets.len(), &octets[octets.len() - 3..]), (4 * 1002 + 2, b"]}\n".as_slice()));
        line = Line::default();
        line.part(|line| line.write_str(&"x".repeat(CAPACITY - RESERVED)));
        assert_eq!(line.finish("}").len(), CAPACITY);
    }

    #[test]
    fn octets_of_a_peer_are_shown_as_they_are() {
        assert_eq!(Octets(b"/a\xff\xc3\xa4").to_string(), "/a\\xFFä");
    }
}
