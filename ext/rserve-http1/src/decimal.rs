//! Numbers in decimal, without allocating.

/// Appends `number` in decimal.
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(digits(number, &mut [0; 20]));
}

/// `number` in decimal, somewhere in `buffer`.
pub fn digits(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = buffer.len();
    while number >= 10 {
        start -= 2;
        buffer[start..start + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    // Of an even count of digits the first two are written; what is left is nothing, unless the number is 0.
    if number > 0 || start == buffer.len() {
        start -= 1;
        buffer[start] = b'0' + number as u8;
    }
    &buffer[start..]
}

/// `00` to `99`: a division for each two digits, not for each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_of_fmt() {
        let random = (0..64).map(|bits| 0x9e37_79b9_7f4a_7c15 >> bits);
        for number in (0..=1001).chain(random).chain([u64::MAX]) {
            let mut out = Vec::new();
            decimal(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
