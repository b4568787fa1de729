//! A whole connection under small limits: bounded, cut-invariant, and every refusal has a reply that can be read.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;
use rserve_http1::{Limits, ResponseFacts, ResponsePlan, Spelling, TransferEncoding, encode};
use support::{Random, agrees_with_reference, play_cut};

fuzz_target!(|octets: &[u8]| {
    // Cuts that follow from the octets, so that every input remains a plain text.
    let sum = octets.iter().fold(1u64, |sum, &octet| sum.wrapping_mul(31).wrapping_add(u64::from(octet)));
    let mut random = Random(sum.max(1));
    let mut cuts: Vec<usize> = (0..random.below(6)).map(|_| random.below(octets.len() + 1)).collect();
    cuts.sort_unstable();
    agrees_with_reference(octets, &cuts);

    let small = Limits {
        method: 8,
        request_uri: 48,
        request_path: 32,
        query_string: 24,
        fragment: 8,
        field_name: 20,
        field_value: 40,
        head: 128,
        fields: 4,
        chunk_line: 24,
        chunk_extensions: 32,
        trailers: 48,
        body: Some(20),
        strict: octets.len() % 5 == 0,
        strict_host: octets.len() % 2 == 0,
        strict_framing: octets.len() % 3 == 0,
        ..Limits::default()
    };
    let outcome = play_cut(octets, &small, &cuts);
    assert_eq!(outcome, play_cut(octets, &small, &[]));
    assert!(outcome.requests.iter().all(|request| request.body.len() <= 20));

    let Some((text, status, version)) = outcome.error else { return };
    let plan = ResponsePlan::of(ResponseFacts {
        version,
        head_request: false,
        status,
        content_length: Some(text.len() as u64),
        transfer_encoding: TransferEncoding::Absent,
        keep_alive: false,
    });
    let mut reply = Vec::new();
    encode::status_line(&mut reply, version, status);
    // The application's field may be anything at all.
    let (name, value) = octets.split_at(octets.len().min(9));
    let _ = encode::field(&mut reply, name, value);
    plan.write_fields(&mut reply, Spelling::Title);
    reply.extend_from_slice(b"\r\n");
    let mut fields = vec![httparse::EMPTY_HEADER; 8 + octets.len()];
    let mut parsed = httparse::Response::new(&mut fields);
    assert_eq!(parsed.parse(&reply), Ok(httparse::Status::Complete(reply.len())));
    assert_eq!(parsed.code, Some(status));
});
