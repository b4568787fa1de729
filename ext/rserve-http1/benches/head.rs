//! `cargo bench -p rserve-http1`: nanoseconds to read a head, with a warm receiver.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rserve_http1::{Head, Limits, Progress, Receiver};

fn main() {
    let hello =
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9292\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\r\n".as_slice();
    let browser = include_bytes!("../tests/data/browser.http").as_slice();
    for (name, octets) in [("hello", hello), ("browser", browser)] {
        let fields = octets.split(|&octet| octet == b'\n').count() - 3;
        // The fastest of several rounds: anything slower was disturbed.
        let fastest = (0..20).map(|_| round(octets)).fold(f64::INFINITY, f64::min);
        println!("{name}: {} octets, {fields} fields: {fastest:.0} ns", octets.len());
    }
}

/// Nanoseconds for a request, on average over some milliseconds.
fn round(octets: &[u8]) -> f64 {
    let (mut receiver, mut head) = (Receiver::new(Limits::default()), Head::default());
    let (start, mut requests) = (Instant::now(), 0u32);
    while start.elapsed() < Duration::from_millis(20) {
        for _ in 0..1000 {
            let progress = receiver.advance(black_box(octets), &mut head);
            assert!(matches!(progress, Ok(Progress::Head { .. })));
            black_box(&head);
            assert!(matches!(receiver.advance(&[], &mut head), Ok(Progress::End { .. })));
        }
        requests += 1000;
    }
    start.elapsed().as_nanos() as f64 / f64::from(requests)
}
