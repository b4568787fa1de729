//! One field line (RFC 9112 §5).

use crate::grammar::{self, TOKEN, UNDERSCORE};
use crate::{Element, Error, Excerpt, Limits};

/// A field line: offsets within the line it was parsed from.
pub(crate) struct FieldLine<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Where the value starts within the line.
    pub(crate) value_offset: usize,
    pub(crate) has_underscore: bool,
}

impl<'a> FieldLine<'a> {
    /// Parses a line that is not empty and whose CRLF is removed (RFC 9112 §5). No folding, no space before the
    /// colon, no control octets: other parsers read those differently, and could be made to see other fields than we do.
    pub(crate) fn parse(line: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let bad = || Error::Field(Excerpt::of(line));
        let mut classes = 0;
        let colon = line
            .iter()
            .position(|&octet| {
                let class = grammar::CLASS[usize::from(octet)];
                classes |= class;
                class & TOKEN == 0
            })
            .filter(|&colon| colon > 0 && line[colon] == b':')
            .ok_or_else(bad)?;
        let (name, rest) = (&line[..colon], &line[colon + 1..]);
        if !grammar::is_field_value(rest) {
            return Err(bad());
        }
        let value = grammar::trim(rest);
        let value_offset = value.as_ptr().addr() - line.as_ptr().addr();
        let field = Self { name, value, value_offset, has_underscore: classes & UNDERSCORE != 0 };
        field.check_lengths(limits)?;
        Ok(field)
    }

    #[inline]
    pub(crate) fn check_lengths(&self, limits: &Limits) -> Result<(), Error> {
        for (octets, element, limit) in [
            (self.name, Element::FieldName, limits.field_name),
            (self.value, Element::FieldValue, limits.field_value),
        ] {
            if octets.len() > limit {
                return Err(Error::TooLong { element, limit });
            }
        }
        Ok(())
    }
}
