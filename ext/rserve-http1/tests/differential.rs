//! Mutated requests, read by the receiver and by the plain second reading: both must see the same requests.

mod support;

use support::{Random, agrees_with_reference};

const SEEDS: [&str; 12] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a:1/b?c#d HTTP/1.1\r\nHost: [::1]:80\r\nX_Y: 1\r\n\r\n",
    "CONNECT a.example:443 HTTP/1.1\r\nHost:\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: gzip,\tchunked\r\nContent-Length: 3\r\n\r\n1;a=b\r\nh\r\n0\r\nA: b\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\na ; b = \"c\\\"\" ;d\r\n0123456789\r\n00;e\r\n\r\n",
    "\r\nPUT /a%20b HTTP/1.1\r\nA: b\tc\r\nB:\r\n\r\n",
    "GET / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\n\r\n",
    "GET /admin HTTP/1.1\r\nContent-Length : 5\r\n\r\nhello",
];

/// What desynchronises: separators, and the pieces that framing is made of.
const PIECES: [&str; 28] = [
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "=",
    "\"",
    "\\",
    "0",
    "1",
    "5",
    "f",
    "_",
    "\0",
    "\x7f",
    "#",
    "?",
    "chunked",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: x\r\n",
    "0\r\n\r\n",
    "Host: a\r\n",
    "HTTP/1.0",
    "GET / HTTP/1.1\r\n\r\n",
];

#[test]
fn mutated_requests_are_read_like_the_reference_reads_them() {
    let mut random = Random(0x5eed);
    for _ in 0..30_000 {
        let mut octets = Vec::new();
        for _ in 0..=random.below(3) {
            octets.extend_from_slice(SEEDS[random.below(SEEDS.len())].as_bytes());
        }
        for _ in 0..random.below(5) {
            let at = random.below(octets.len());
            match random.below(4) {
                0 => octets[at] = random.next() as u8,
                1 => drop(octets.remove(at)),
                2 => {
                    let end = octets.len().min(at + random.below(12));
                    let copy = octets[at..end].to_vec();
                    octets.splice(at..at, copy);
                }
                _ => drop(octets.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
            }
            if octets.is_empty() {
                octets.push(b'\r');
            }
        }
        let mut cuts: Vec<usize> = (0..random.below(4)).map(|_| random.below(octets.len())).collect();
        cuts.sort_unstable();
        agrees_with_reference(&octets, &cuts);
    }
}
