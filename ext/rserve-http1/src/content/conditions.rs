//! Conditional requests (RFC 9110 §13): whether the client has the content already, or does not want what there is.

use crate::date::parse_date;

/// What tells one state of a resource from another (RFC 9110 §8.8).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Validators<'a> {
    /// The ETag, quotes and `W/` included.
    pub etag: Option<&'a [u8]>,
    /// The Last-Modified, in seconds since 1970.
    pub modified: Option<u64>,
}

/// The fields that make a request conditional. Those that may be lists are all of a name's values; of the others the one,
/// `None` when there are several.
#[derive(Clone, Debug, Default)]
pub struct Conditions<'a> {
    /// If-Match
    pub if_match: Vec<&'a [u8]>,
    /// If-None-Match
    pub if_none_match: Vec<&'a [u8]>,
    /// If-Modified-Since
    pub if_modified_since: Option<&'a [u8]>,
    /// If-Unmodified-Since
    pub if_unmodified_since: Option<&'a [u8]>,
    /// If-Range
    pub if_range: Option<&'a [u8]>,
}

/// What comes of the conditions of a GET or HEAD.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is answered as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412
    Failed,
}

impl Conditions<'_> {
    /// Decides about a GET or HEAD in the order of RFC 9110 §13.2.2. `now` is in seconds since 1970.
    pub fn verdict(&self, validators: Validators<'_>, now: u64) -> Verdict {
        let time = |value: Option<&[u8]>| parse_date(value?, now).zip(validators.modified);
        if !self.if_match.is_empty() {
            if !names(&self.if_match, validators.etag, is_same_strongly) {
                return Verdict::Failed;
            }
        } else if time(self.if_unmodified_since).is_some_and(|(given, modified)| modified > given) {
            return Verdict::Failed;
        }
        if !self.if_none_match.is_empty() {
            if names(&self.if_none_match, validators.etag, is_same_weakly) {
                return Verdict::NotModified;
            }
        } else if time(self.if_modified_since).is_some_and(|(given, modified)| modified <= given) {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether If-None-Match names `etag`, and it is a strong one: the client has these very octets.
    pub fn has(&self, etag: &[u8]) -> bool {
        names(&self.if_none_match, Some(etag), is_same_strongly)
    }

    /// Whether a Range counts: without If-Range, or when it names the state that there is (RFC 9110 §13.1.5). A time does
    /// only if the content cannot have changed again within its second.
    pub fn let_range(&self, validators: Validators<'_>, now: u64) -> bool {
        let Some(given) = self.if_range else { return true };
        if given.starts_with(b"\"") || given.starts_with(b"W/") {
            return validators.etag.is_some_and(|etag| is_same_strongly(given, etag));
        }
        parse_date(given, now).is_some_and(|time| validators.modified == Some(time) && time < now)
    }
}

/// Whether one of the entity tags in `values` is `etag`; `*` stands for any state, and there is one.
fn names(values: &[&[u8]], etag: Option<&[u8]>, is_same: fn(&[u8], &[u8]) -> bool) -> bool {
    values.iter().any(|value| {
        if crate::grammar::trim(value) == b"*" {
            return true;
        }
        etag.is_some_and(|etag| tags(value).any(|tag| is_same(tag, etag)))
    })
}

fn is_same_strongly(one: &[u8], other: &[u8]) -> bool {
    one == other && one.starts_with(b"\"")
}

fn is_same_weakly(one: &[u8], other: &[u8]) -> bool {
    opaque(one) == opaque(other)
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The entity tags of a list, up to what is none: there may be commas in them.
fn tags(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let start = rest.iter().position(|octet| !matches!(octet, b' ' | b'\t' | b','))?;
        let tag = &rest[start..];
        let opening = if tag.starts_with(b"W/") { 2 } else { 0 };
        if tag.get(opening) != Some(&b'"') {
            rest = &[];
            return None;
        }
        let length = tag[opening + 1..].iter().position(|&octet| octet == b'"')?;
        let (tag, after) = tag.split_at(opening + length + 2);
        rest = after;
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Failed, NotModified, Proceed};

    const NOW: u64 = 1_000_000_000;
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn validators(etag: &str) -> Validators<'_> {
        let etag = Some(etag.as_bytes()).filter(|etag| !etag.is_empty());
        Validators { etag, modified: Some(784_111_777) }
    }

    fn conditions<'a>(fields: &[(&str, &'a str)]) -> Conditions<'a> {
        let mut conditions = Conditions::default();
        for (name, value) in fields {
            let value = value.as_bytes();
            match *name {
                "If-Match" => conditions.if_match.push(value),
                "If-None-Match" => conditions.if_none_match.push(value),
                "If-Modified-Since" => conditions.if_modified_since = Some(value),
                "If-Unmodified-Since" => conditions.if_unmodified_since = Some(value),
                "If-Range" => conditions.if_range = Some(value),
                other => panic!("{other}"),
            }
        }
        conditions
    }

    #[test]
    fn conditions_are_decided_in_their_order() {
        for (fields, etag, want) in [
            (&[][..], "\"a\"", Proceed),
            (&[("If-None-Match", "\"a\"")], "\"a\"", NotModified),
            (&[("If-None-Match", "W/\"a\"")], "\"a\"", NotModified),
            (&[("If-None-Match", "\"a\"")], "W/\"a\"", NotModified),
            (&[("If-None-Match", "\"b\"")], "\"a\"", Proceed),
            (&[("If-None-Match", "\"b\", \"a\"")], "\"a\"", NotModified),
            (&[("If-None-Match", "\"b\""), ("If-None-Match", "\"a\"")], "\"a\"", NotModified),
            (&[("If-None-Match", "\"b,\",W/\"a\"")], "\"a\"", NotModified),
            (&[("If-None-Match", "\"b, \\\"a\\\"\"")], "\"a\"", Proceed),
            (&[("If-None-Match", "*")], "\"a\"", NotModified),
            (&[("If-None-Match", "*")], "", NotModified),
            (&[("If-None-Match", "a")], "\"a\"", Proceed),
            (&[("If-None-Match", "\"a")], "\"a\"", Proceed),
            (&[("If-None-Match", "")], "\"a\"", Proceed),
            (&[("If-None-Match", "\"a\"")], "", Proceed),
            (&[("If-Modified-Since", BEFORE)], "\"a\"", Proceed),
            (&[("If-Modified-Since", THEN)], "\"a\"", NotModified),
            (&[("If-Modified-Since", AFTER)], "\"a\"", NotModified),
            (&[("If-Modified-Since", "yesterday")], "\"a\"", Proceed),
            // A client that names a tag knows more than the time.
            (&[("If-None-Match", "\"b\""), ("If-Modified-Since", AFTER)], "\"a\"", Proceed),
            (&[("If-Match", "\"a\"")], "\"a\"", Proceed),
            (&[("If-Match", "W/\"a\"")], "W/\"a\"", Failed),
            (&[("If-Match", "\"b\"")], "\"a\"", Failed),
            (&[("If-Match", "*")], "\"a\"", Proceed),
            (&[("If-Match", "")], "\"a\"", Failed),
            (&[("If-Unmodified-Since", BEFORE)], "\"a\"", Failed),
            (&[("If-Unmodified-Since", THEN)], "\"a\"", Proceed),
            (&[("If-Unmodified-Since", "never")], "\"a\"", Proceed),
            (&[("If-Match", "\"a\""), ("If-Unmodified-Since", BEFORE)], "\"a\"", Proceed),
            (&[("If-Match", "\"a\""), ("If-None-Match", "\"a\"")], "\"a\"", NotModified),
            (&[("If-Match", "\"b\""), ("If-None-Match", "\"a\"")], "\"a\"", Failed),
        ] {
            assert_eq!(conditions(fields).verdict(validators(etag), NOW), want, "{fields:?} {etag}");
        }
        let untimed = Validators { etag: None, modified: None };
        assert_eq!(conditions(&[("If-Modified-Since", AFTER)]).verdict(untimed, NOW), Proceed);
    }

    #[test]
    fn a_range_is_of_the_state_that_the_client_knows() {
        for (value, etag, now, want) in [
            ("\"a\"", "\"a\"", NOW, true),
            ("\"b\"", "\"a\"", NOW, false),
            ("W/\"a\"", "W/\"a\"", NOW, false),
            ("\"a\"", "", NOW, false),
            (THEN, "\"a\"", NOW, true),
            (BEFORE, "\"a\"", NOW, false),
            (AFTER, "\"a\"", NOW, false),
            // It may change again within the second.
            (THEN, "\"a\"", 784_111_777, false),
            ("*", "\"a\"", NOW, false),
            ("", "\"a\"", NOW, false),
        ] {
            assert_eq!(
                conditions(&[("If-Range", value)]).let_range(validators(etag), now),
                want,
                "{value:?} {etag}"
            );
        }
        assert!(Conditions::default().let_range(validators(""), NOW));
    }
}
