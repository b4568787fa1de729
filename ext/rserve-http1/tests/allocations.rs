//! After the first requests of a connection, reading another one allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use rserve_http1::{Head, Limits, Progress, Receiver, encode};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` comes from `alloc` above, that is from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads one request to its end and writes a response to it.
fn serve(receiver: &mut Receiver, head: &mut Head, mut octets: &[u8], out: &mut Vec<u8>) {
    loop {
        match receiver.advance(octets, head).expect("a legal request") {
            Progress::Head { consumed } | Progress::Data { consumed, .. } => octets = &octets[consumed..],
            Progress::End { .. } => break,
            Progress::Partial { .. } => panic!("a complete request"),
        }
    }
    out.clear();
    encode::status_line(out, head.version, 201);
    assert_eq!(encode::field(out, b"Content-Type", b"text/plain"), encode::Written::Written);
    encode::chunk_head(out, 1000);
}

#[test]
fn a_request_after_the_first_ones_allocates_nothing() {
    let browser = include_bytes!("data/browser.http").as_slice();
    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX_Y: 1\r\nA: b\r\nA: c\r\n\r\n3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n";
    let (mut receiver, mut head, mut out) = (Receiver::new(Limits::default()), Head::default(), Vec::new());
    serve(&mut receiver, &mut head, browser, &mut out);
    serve(&mut receiver, &mut head, chunked, &mut out);

    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..10 {
        serve(&mut receiver, &mut head, browser, &mut out);
        serve(&mut receiver, &mut head, chunked, &mut out);
    }
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}
