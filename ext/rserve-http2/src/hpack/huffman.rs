//! The Huffman code (RFC 7541 §5.2, Appendix B). It is canonical: it follows from the lengths of its codes.

use super::Fault;

/// Bits of the code of each octet, and of the end of the string.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const LONGEST: usize = 30;
const END: u16 = 256;

struct Code {
    /// Symbols in the order of their codes.
    symbols: [u16; 257],
    /// Of each length: the first code, how many symbols have shorter ones, and the end of its codes, all bits to the left.
    lengths: [(u32, u16, u64); LONGEST + 1],
    /// The code of each symbol.
    codes: [u32; 257],
}

static CODE: Code = code();

const fn code() -> Code {
    let mut code = Code { symbols: [0; 257], lengths: [(0, 0, 0); LONGEST + 1], codes: [0; 257] };
    let (mut length, mut next, mut count) = (1, 0u32, 0);
    while length <= LONGEST {
        next <<= 1;
        let (first, before) = (next, count as u16);
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                code.symbols[count] = symbol as u16;
                code.codes[symbol] = next;
                count += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.lengths[length] = (first, before, (next as u64) << (32 - length));
        length += 1;
    }
    code
}

/// Appends what `octets` stand for.
///
/// # Errors
///
/// They contain the end of the string, or their padding is not its first up to 7 bits.
pub fn decode(octets: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let (mut bits, mut count, mut at) = (0u64, 0u32, 0);
    out.reserve(octets.len() + octets.len() / 2);
    loop {
        while count <= 32 && at < octets.len() {
            bits = bits << 8 | u64::from(octets[at]);
            count += 8;
            at += 1;
        }
        // The next 32 bits, with ones behind the last: the padding.
        let ahead = match count {
            0 => return Ok(()),
            1..32 => (bits << (32 - count) | ((1 << (32 - count)) - 1)) & 0xffff_ffff,
            _ => bits >> (count - 32) & 0xffff_ffff,
        };
        let length = (5..=LONGEST).find(|&length| ahead < CODE.lengths[length].2);
        let length = length.unwrap_or(LONGEST);
        if length as u32 > count {
            // Nothing but ones, fewer than make an octet's code.
            let ones = bits & ((1 << count) - 1) == (1 << count) - 1;
            return if count < 8 && ones { Ok(()) } else { Err(Fault::Huffman) };
        }
        let (first, before, _) = CODE.lengths[length];
        let place = (ahead >> (32 - length)) as u32 - first + u32::from(before);
        let symbol = CODE.symbols.get(place as usize).copied().unwrap_or(END);
        if symbol == END {
            return Err(Fault::Huffman);
        }
        out.push(symbol as u8);
        count -= length as u32;
    }
}

/// Octets that [`encode`] appends.
pub fn encoded_len(octets: &[u8]) -> usize {
    octets.iter().map(|&octet| usize::from(LENGTHS[usize::from(octet)])).sum::<usize>().div_ceil(8)
}

/// Appends the code of `octets`.
pub fn encode(octets: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u64, 0u32);
    for &octet in octets {
        let length = u32::from(LENGTHS[usize::from(octet)]);
        bits = bits << length | u64::from(CODE.codes[usize::from(octet)]);
        count += length;
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        out.push((bits << (8 - count)) as u8 | ((1u16 << (8 - count)) - 1) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(octets: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        decode(octets, &mut out).map(|()| out)
    }

    #[test]
    fn some_codes_are_those_of_appendix_b() {
        for (symbol, code, length) in [
            (usize::from(b'0'), 0x0, 5),
            (usize::from(b'a'), 0x3, 5),
            (usize::from(b' '), 0x14, 6),
            (usize::from(b':'), 0x5c, 7),
            (usize::from(b'X'), 0xfc, 8),
            (usize::from(b'\\'), 0x7fff0, 19),
            (0, 0x1ff8, 13),
            (10, 0x3ffffffc, 30),
            (127, 0xffffffc, 28),
            (249, 0xffffffe, 28),
            (255, 0x3ffffee, 26),
            (256, 0x3fffffff, 30),
        ] {
            assert_eq!((CODE.codes[symbol], LENGTHS[symbol]), (code, length), "{symbol}");
        }
    }

    #[test]
    fn every_octet_and_pair_comes_back() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let octets = [first, second, first];
                let mut out = Vec::new();
                encode(&octets, &mut out);
                assert_eq!(out.len(), encoded_len(&octets));
                assert_eq!(decoded(&out).as_deref(), Ok(&octets[..]));
            }
        }
        assert_eq!(decoded(&[]), Ok(Vec::new()));
    }

    #[test]
    fn padding_is_less_than_an_octet_of_ones() {
        for (octets, fine) in [
            (&[0b0001_1111][..], true),         // 'a', three ones
            (&[0b0001_1110], false),            // 'a', and a zero
            (&[0b0001_1111, 0xff], false),      // eight more
            (&[0xff], false),                   // nothing but padding
            (&[0xff, 0xff, 0xff, 0xff], false), // the end itself
        ] {
            assert_eq!(decoded(octets).is_ok(), fine, "{octets:x?}");
        }
    }
}
