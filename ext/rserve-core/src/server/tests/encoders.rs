//! Encoders of coded contents, kept and given back.

use rserve_http1::content::codings::Coding;

use super::*;

/// The monitor parks while a thread sleeps in epoll: it still looks after what somebody used last.
#[test]
fn an_encoder_is_given_back_when_nobody_uses_it_any_more() {
    let (server, _) = server(Options { min_threads: 1, max_threads: 1, ..Options::default() });
    server.start().unwrap();
    let sleeper = {
        let server = Arc::clone(&server);
        thread::spawn(move || {
            let seat = Arc::new(Seat::default());
            while let Next::Wait = server.next(&seat) {
                server.wait(&seat);
            }
        })
    };
    for coding in [Coding::Gzip, Coding::Zstd] {
        wait_until("the monitor parks", || !server.shared.monitor.is_looking());
        let mut coded = Vec::new();
        let mut coder = server.coder(coding, 4, 1, None).unwrap();
        coder.code(b"a content", false, &mut coded).unwrap();
        assert!(server.encoders.are_there());
        coder.end(&mut coded).unwrap();
        wait_until("it is given back", || !server.encoders.are_there());
    }
    server.halt();
    sleeper.join().unwrap();
    server.join();
}
