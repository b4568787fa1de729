//! Integers (RFC 7541 §5.1).

use super::Fault;

/// The largest that anybody has a use for.
const MOST: u64 = u32::MAX as u64;

/// Takes an integer whose first octet has `prefix` bits for it.
pub(super) fn take(octets: &mut &[u8], prefix: u32) -> Result<usize, Fault> {
    let (&first, mut rest) = octets.split_first().ok_or(Fault::Truncated)?;
    let mask = (1u64 << prefix) - 1;
    let mut value = u64::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&octet, after) = rest.split_first().ok_or(Fault::Truncated)?;
            rest = after;
            // Zeros may follow a number without end.
            if shift > 28 {
                return Err(Fault::Integer);
            }
            value += u64::from(octet & 0x7f) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
        }
        if value > MOST {
            return Err(Fault::Integer);
        }
    }
    *octets = rest;
    usize::try_from(value).map_err(|_| Fault::Integer)
}

/// Appends `value`; `pattern` are the bits before the first `prefix`.
pub(super) fn put(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_appendix_c_1_and_the_largest() {
        for (value, prefix, octets) in [
            (10, 5, &[0b01010][..]),
            (1337, 5, &[0b11111, 0b1001_1010, 0b0000_1010]),
            (42, 8, &[42]),
            (0, 5, &[0]),
            (31, 5, &[31, 0]),
            (u32::MAX as usize, 7, &[127, 0x80, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put(&mut out, 0, prefix, value);
            assert_eq!(out, octets, "{value}");
            assert_eq!(take(&mut &octets[..], prefix), Ok(value));
            for end in 0..octets.len() {
                assert_eq!(take(&mut &octets[..end], prefix), Err(Fault::Truncated), "{value}");
            }
        }
    }

    #[test]
    fn none_is_larger_or_longer_than_it_has_to_be() {
        for octets in [&[127, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &[127, 0x80, 0x80, 0x80, 0x80, 0x80, 0]] {
            assert_eq!(take(&mut &octets[..], 7), Err(Fault::Integer));
        }
    }
}
