//! From fields to a header block.
//!
//! Nothing is kept from one block to the next: names come from the static table, values are written out, in Huffman's
//! code where that is shorter. A table of ours would save an answer some ten octets for each field that is the same in
//! all of them, cost a look at each of its entries under the connection's lock, and let whoever measures lengths guess
//! what is secret (RFC 7541 §7.1).

use super::huffman;
use super::integer;
use super::table::STATIC;

/// Strings longer than this are written as they are.
const CODED: usize = 256;

/// Writes header blocks.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The client knows that its table stays empty: whatever it says of its size needs no answer (RFC 7541 §4.2).
    has_begun: bool,
}

impl Encoder {
    /// Begins a block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            out.push(0x20);
        }
    }

    /// Appends `:status`.
    pub fn status(&self, status: u16, out: &mut Vec<u8>) {
        let indexed = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                integer::put(out, 0, 4, 8);
                let digits = [status / 100 % 10, status / 10 % 10, status % 10];
                out.push(3);
                return out.extend(digits.map(|digit| b'0' + digit as u8));
            }
        };
        out.push(0x80 | indexed);
    }

    /// Appends a field; `name` is in lower case.
    pub fn field(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        // What nobody on the way may put into a table of his own (RFC 7541 §7.1.3).
        let pattern = if name == b"set-cookie" { 0x10 } else { 0 };
        match index_of(name) {
            Some(index) => integer::put(out, pattern, 4, index),
            None => {
                out.push(pattern);
                string(name, out);
            }
        }
        string(value, out);
    }
}

/// The index of a name in the static table; those of responses stand in the order of their letters.
fn index_of(name: &[u8]) -> Option<usize> {
    const FIRST: usize = 14;
    let at = STATIC[FIRST..].binary_search_by(|(other, _)| sort(other).cmp(sort(name))).ok()? + FIRST;
    (STATIC[at].0 == name).then_some(at + 1)
}

/// `accept` comes after what begins with it.
fn sort(name: &[u8]) -> &[u8] {
    if name == b"accept" { b"accept-z" } else { name }
}

fn string(octets: &[u8], out: &mut Vec<u8>) {
    if octets.len() <= CODED {
        let length = huffman::encoded_len(octets);
        if length < octets.len() {
            integer::put(out, 0x80, 7, length);
            return huffman::encode(octets, out);
        }
    }
    integer::put(out, 0, 7, octets.len());
    out.extend_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_index() {
        for (at, (name, _)) in STATIC.iter().enumerate().skip(14) {
            assert_eq!(index_of(name), Some(at + 1), "{}", String::from_utf8_lossy(name));
        }
        for name in [&b"x-request-id"[..], b"", b"accept-z", b":status", b"zz"] {
            assert_eq!(index_of(name), None, "{}", String::from_utf8_lossy(name));
        }
    }
}
