//! A head is read the same however it is cut, and as httparse reads it where both accept it.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use rserve_http1::{Head, Limits, Progress, Receiver};
use support::{agrees_with_reference, latin1};

fuzz_target!(|octets: &[u8]| {
    let every: Vec<usize> = (1..octets.len()).collect();
    agrees_with_reference(octets, &every);

    let mut head = Head::default();
    let limits = Limits { blank_lines: 0, ..Limits::default() };
    let Ok(Progress::Head { consumed }) = Receiver::new(limits).advance(octets, &mut head) else { return };
    let mut fields = vec![httparse::EMPTY_HEADER; head.fields.len()];
    let mut theirs = httparse::Request::new(&mut fields);
    // It refuses some octets in targets, and versions other than 1.x, which Puma accepts.
    let Ok(status) = theirs.parse(octets) else { return };
    assert_eq!(status, httparse::Status::Complete(consumed));
    assert_eq!(theirs.method.map(str::as_bytes), Some(head.method.of(octets)));
    assert!(theirs.path.is_some_and(|path| path.as_bytes().starts_with(head.target.of(octets))));
    for (ours, theirs) in head.fields.iter().zip(theirs.headers.iter()) {
        assert_eq!(ours.name.of(octets), theirs.name.as_bytes());
        if !theirs.name.eq_ignore_ascii_case("host") {
            assert_eq!(latin1(ours.value.of(octets)), latin1(theirs.value));
        }
    }
});
