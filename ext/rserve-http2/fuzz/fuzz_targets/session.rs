//! A whole connection under small limits: the same however it is cut, bounded in what it holds and answers, and every
//! request that comes of it one that nobody could take for two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rserve_http2::{Event, Limits, PREFACE, Session};

const SMALL: Limits = Limits {
    streams: 3,
    header_list: 500,
    header_block: 400,
    continuations: 3,
    stream_window: 2000,
    connection_window: 70_000,
    resets: 4,
    resets_per_second: 0,
    idle_frames: 20,
    idle_frames_per_second: 0,
};

/// What comes of `octets` that come in parts of `part`; each stream is answered as soon as its request is whole.
fn play(octets: &[u8], part: usize) -> (Vec<String>, Vec<u8>) {
    let (mut session, mut held, mut told, mut out) = (Session::new(SMALL), Vec::new(), Vec::new(), Vec::new());
    for part in octets.chunks(part) {
        held.extend_from_slice(part);
        loop {
            let (consumed, event) = match session.advance(&held, 0) {
                Ok(advance) => advance,
                Err(reason) => {
                    told.push(reason.to_string());
                    out.append(session.output());
                    return (told, out);
                }
            };
            let (mut over, partial) = (None, event == Event::Partial);
            match event {
                Event::Partial | Event::Nothing => {}
                Event::Request { stream, head, ended } => {
                    let text = String::from_utf8_lossy(&head.octets).into_owned();
                    if !head.too_large {
                        assert!(head.octets.ends_with(b"\r\n\r\n"), "{text:?}");
                        let ends = head.octets.windows(4).filter(|four| four == b"\r\n\r\n").count();
                        assert_eq!(ends, 1, "{text:?}");
                        let line = text.lines().next().unwrap_or_default();
                        assert_eq!(line.split(' ').count(), 3, "{text:?}");
                    }
                    told.push(format!("{stream} {text:?} {ended}"));
                    over = ended.then_some(stream);
                }
                Event::Data { stream, octets, ended } => {
                    told.push(format!("{stream} {:?} {ended}", &held[octets]));
                    over = ended.then_some(stream);
                }
                Event::End { stream } => over = Some(stream),
                Event::Reset { stream } => {
                    told.push(format!("{stream} is reset"));
                    session.abort(stream, rserve_http2::Reason::Cancel);
                }
                Event::Window { .. } => {}
            }
            if let Some(stream) = over {
                session.send_head(stream, 200, std::iter::empty(), false);
                let room = session.capacity(stream).min(10);
                session.begin_data(stream, room, false).extend_from_slice(&[0; 10][..room]);
                session.finish(stream);
            }
            assert!(session.streams() <= SMALL.streams + 1);
            out.append(session.output());
            if partial {
                break;
            }
            held.drain(..consumed);
        }
        assert!(held.len() < 9 + 16 * 1024 + part.len());
    }
    (told, out)
}

fuzz_target!(|input: &[u8]| {
    // Without the preface few inputs would come far.
    let octets = [&PREFACE[..], b"\0\0\0\x04\0\0\0\0\0", input].concat();
    let whole = play(&octets, octets.len());
    let part = 1 + input.iter().map(|&octet| usize::from(octet)).sum::<usize>() % 40;
    assert_eq!(play(&octets, part), whole);
    // Little comes of little.
    assert!(whole.1.len() <= 400 + 20 * octets.len());
});
