//! Content codings, and which of them a client takes (RFC 9110 §12.5.3).

use crate::grammar;

/// A content coding that is written here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, those that make the least of a file first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Its name in fields.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What the name of a file that is coded so ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// The coding of this name, in any case; `x-gzip` is another one of gzip (RFC 9110 §8.4.1.3).
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let named = |coding: &Self| name.eq_ignore_ascii_case(coding.name().as_bytes());
        Self::ALL
            .into_iter()
            .find(named)
            .or_else(|| name.eq_ignore_ascii_case(b"x-gzip").then_some(Self::Gzip))
    }
}

/// What the Accept-Encoding fields of a request say. A client that has none, or an empty one, is taken for one that knows
/// no coding: any would be allowed, and scripts that forgot the field would be given what they cannot read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Acceptance {
    /// Of each coding in the order of [`Coding::ALL`], in thousandths; `None` where it is not named.
    named: [Option<u16>; 3],
    /// Of those that are not named.
    others: u16,
}

impl Acceptance {
    /// Reads the values of all Accept-Encoding fields. A member that is malformed is as if it were not there.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut acceptance = Self::default();
        for member in values.into_iter().flat_map(grammar::list) {
            let (name, quality) = match member.iter().position(|&octet| octet == b';') {
                Some(at) => (grammar::trim(&member[..at]), quality(grammar::trim(&member[at + 1..]))),
                None => (member, Some(1000)),
            };
            let Some(quality) = quality else { continue };
            match Coding::of_name(name) {
                Some(coding) => {
                    let named = &mut acceptance.named[coding as usize];
                    *named = Some(named.unwrap_or(0).max(quality));
                }
                None if name == b"*" => acceptance.others = quality,
                None => {}
            }
        }
        acceptance
    }

    /// How much `coding` is wanted, in thousandths; 0 for not at all.
    pub fn quality(self, coding: Coding) -> u16 {
        self.named[coding as usize].unwrap_or(self.others)
    }

    /// Those of `offered` that the client takes, what it likes most first, and in the order of `offered` where it likes
    /// several as much.
    pub fn ranked(self, offered: &[Coding]) -> impl Iterator<Item = Coding> {
        let mut ranked = [None; 3];
        let taken = offered.iter().copied().filter(|&coding| self.quality(coding) > 0).take(3);
        for (count, coding) in taken.enumerate() {
            let before =
                |other: &&Option<Coding>| other.is_some_and(|it| self.quality(it) >= self.quality(coding));
            let at = ranked[..count].iter().take_while(before).count();
            ranked[at..].rotate_right(1);
            ranked[at] = Some(coding);
        }
        ranked.into_iter().flatten()
    }
}

/// `q=0.5` in thousandths (RFC 9110 §12.4.2).
fn quality(weight: &[u8]) -> Option<u16> {
    let digits = match weight {
        [b'q' | b'Q', b'=', rest @ ..] => rest,
        _ => return None,
    };
    let (whole, rest) = digits.split_first()?;
    let fraction = match rest {
        [] => &[],
        [b'.', fraction @ ..] if fraction.len() <= 3 && fraction.iter().all(u8::is_ascii_digit) => fraction,
        _ => return None,
    };
    let digit = |at: usize| u16::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    let thousandths = digit(0) * 100 + digit(1) * 10 + digit(2);
    match (whole, thousandths) {
        (b'0', _) => Some(thousandths),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Coding::{Brotli, Gzip, Zstd};

    #[test]
    fn what_the_client_likes_most_comes_first() {
        for (values, want) in [
            (&["gzip, deflate, br, zstd"][..], &[Zstd, Brotli, Gzip][..]),
            (&["gzip", "br"], &[Brotli, Gzip]),
            (&["gzip, br;q=0.9"], &[Gzip, Brotli]),
            (&["gzip;q=0.5, br;q=0.9, zstd;q=0.7"], &[Brotli, Zstd, Gzip]),
            (&["gzip;q=0, *"], &[Zstd, Brotli]),
            (&["*;q=0.1, gzip"], &[Gzip, Zstd, Brotli]),
            (&["*;q=0"], &[]),
            (&["br;q=0.000, gzip;q=0.001"], &[Gzip]),
            (&["identity"], &[]),
            (&["identity;q=0"], &[]),
            (&["identity;q=0, gzip"], &[Gzip]),
            (&["X-GZIP"], &[Gzip]),
            (&["GZip ; Q=1.000"], &[Gzip]),
            (&["gzip;q=1.001"], &[]),
            (&["gzip;q=2"], &[]),
            (&["gzip;q=0.5000"], &[]),
            (&["gzip;q="], &[]),
            (&["gzip;q=-1"], &[]),
            (&["gzip;level=9"], &[]),
            (&["gzip;q=.5"], &[]),
            (&["gzip;"], &[]),
            (&[",,gzip,,"], &[Gzip]),
            (&["gzip;q=0, gzip"], &[Gzip]),
            (&["deflate, compress, sdch"], &[]),
            (&["gzipped, brr"], &[]),
            (&[""], &[]),
            (&[], &[]),
        ] {
            let acceptance = Acceptance::of(values.iter().map(|value| value.as_bytes()));
            let ranked: Vec<_> = acceptance.ranked(&[Zstd, Brotli, Gzip]).collect();
            assert_eq!(ranked, want, "{values:?}");
            let ranked: Vec<_> = acceptance.ranked(&[]).collect();
            assert_eq!(ranked, [], "{values:?}");
        }
    }

    #[test]
    fn a_coding_goes_by_its_name() {
        for coding in Coding::ALL {
            assert_eq!(Coding::of_name(coding.name().to_ascii_uppercase().as_bytes()), Some(coding));
        }
        assert_eq!(Coding::ALL.map(|coding| coding as usize), [0, 1, 2]);
        assert_eq!(Coding::of_name(b"deflate"), None);
    }
}
