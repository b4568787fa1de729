//! A chunked body is decoded the same however it is cut, and as the plain second reading decodes it.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use support::agrees_with_reference;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

fuzz_target!(|body: &[u8]| {
    let octets = [HEAD, body].concat();
    let every: Vec<usize> = (HEAD.len()..octets.len()).collect();
    agrees_with_reference(&octets, &every);
});
