use super::*;
use crate::frame::{MAX_FRAME, PREFACE, kind};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::Head { length: payload.len(), kind, flags, stream }.write(&mut out);
    out.extend_from_slice(payload);
    out
}

const GET: &[u8] = b"\x82\x86\x84\x41\x01a";
const POST: &[u8] = b"\x83\x86\x84\x41\x01a";

fn get(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, 5, stream, GET)
}

fn post(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, 4, stream, POST)
}

fn window_update(stream: u32, octets: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &octets.to_be_bytes())
}

fn open(limits: Limits) -> Session {
    let mut session = Session::new(limits);
    assert_eq!(
        play(&mut session, &[&PREFACE[..], &frame(kind::SETTINGS, 0, 0, &[])].concat(), 0),
        Ok(vec![])
    );
    session.output().clear();
    session
}

/// All events of `octets`, which are whole frames.
fn play(session: &mut Session, octets: &[u8], now: u64) -> Result<Vec<Event>, Reason> {
    let (mut at, mut events) = (0, Vec::new());
    while at < octets.len() {
        let (consumed, event) = session.advance(&octets[at..], now)?;
        assert_ne!(event, Event::Partial);
        at += consumed;
        if event != Event::Nothing {
            events.push(event);
        }
    }
    Ok(events)
}

/// Kinds of the frames that were written since this was last asked, with their streams and flags.
fn written(session: &mut Session) -> Vec<(u8, u32, u8)> {
    let out = std::mem::take(session.output());
    let (mut rest, mut frames) = (&out[..], Vec::new());
    while let Some(head) = frame::Head::read(rest) {
        frames.push((head.kind, head.stream, head.flags));
        rest = &rest[frame::HEAD + head.length..];
    }
    frames
}

#[test]
fn floods_end_after_as_many_frames_as_a_limit_says() {
    let limits = Limits { resets: 20, idle_frames: 50, ..Limits::default() };
    let reset = |at: u32| [get(at * 2 + 1), frame(kind::RST_STREAM, 0, at * 2 + 1, &[0, 0, 0, 8])].concat();
    let malformed = |at: u32| frame(kind::HEADERS, 5, at * 2 + 1, b"\x82");
    let settings = |_| frame(kind::SETTINGS, 0, 0, &[]);
    let ping = |_| frame(kind::PING, 0, 0, &[0; 8]);
    let priority = |_| frame(kind::PRIORITY, 0, 3, &[0; 5]);
    let update = |_| window_update(0, 1);
    let empty = |_| frame(kind::DATA, 0, 1, &[]);
    let padding = |_| frame(kind::DATA, 8, 1, &[3, 0, 0, 0]);
    let unknown = |_| frame(0x77, 0, 0, b"x");
    let goaway = |_| frame(kind::GOAWAY, 0, 0, &[0; 8]);
    type Flood<'a> = (&'a str, u32, &'a dyn Fn(u32) -> Vec<u8>);
    let floods: [Flood; 10] = [
        ("resets", 20, &reset),
        ("malformed requests", 20, &malformed),
        ("SETTINGS", 50, &settings),
        ("PING", 50, &ping),
        ("PRIORITY", 50, &priority),
        ("WINDOW_UPDATE", 50, &update),
        ("empty DATA", 50, &empty),
        ("DATA of padding", 50, &padding),
        ("unknown", 50, &unknown),
        ("GOAWAY", 50, &goaway),
    ];
    for (name, most, make) in floods {
        let mut session = open(limits);
        // The one frame before was one, too.
        let begun = if name.contains("DATA") { play(&mut session, &post(1), 0) } else { Ok(vec![]) };
        assert!(begun.is_ok());
        let ended = (0..1000).find(|at| {
            let played = play(&mut session, &make(*at), 0);
            session.output().clear();
            played == Err(Reason::EnhanceYourCalm)
        });
        let ended = ended.unwrap_or_else(|| panic!("{name}: no end"));
        assert!((most - 2..=most + 2).contains(&ended), "{name} end after {ended}");
        assert_eq!(session.advance(&get(999), 0), Err(Reason::EnhanceYourCalm), "{name}");
    }
}

#[test]
fn a_client_that_is_of_use_meets_no_limit() {
    let limits = Limits { resets: 20, idle_frames: 50, ..Limits::default() };
    let mut session = open(limits);
    for at in 0..2000 {
        let stream = at * 2 + 1;
        // Two of three are answered; each costs a few frames.
        let frames = [get(stream), frame(kind::PRIORITY, 0, stream, &[0, 0, 0, 0, 9]), window_update(0, 100)];
        assert!(play(&mut session, &frames.concat(), 0).is_ok(), "{at}");
        if at % 3 == 0 {
            assert!(play(&mut session, &frame(kind::RST_STREAM, 0, stream, &[0; 4]), 0).is_ok(), "{at}");
        } else {
            session.send_head(stream, 200, std::iter::empty(), true);
        }
        session.finish(stream);
        session.output().clear();
    }
    // A download, with a WINDOW_UPDATE or two for each frame.
    assert!(play(&mut session, &get(5001), 0).is_ok());
    for at in 0..2000 {
        session.begin_data(5001, 16_000, false);
        let frames = [window_update(0, 16_000), window_update(5001, 16_000)].concat();
        assert!(play(&mut session, &frames, 0).is_ok(), "{at}");
        session.output().clear();
    }
    // And a PING each second.
    for second in 0..2000 {
        assert!(play(&mut session, &frame(kind::PING, 0, 0, &[0; 8]), second * 1000).is_ok());
    }
}

#[test]
fn a_header_block_has_an_end() {
    for (size, most) in [(0, 17), (100, 17), (16_000, 5)] {
        let mut session = open(Limits::default());
        let frames = (0..1000).find(|at| {
            let (kind, part) = if *at == 0 { (kind::HEADERS, 0) } else { (kind::CONTINUATION, size) };
            play(&mut session, &frame(kind, 0, 1, &vec![0; part]), 0) == Err(Reason::EnhanceYourCalm)
        });
        assert_eq!(frames, Some(most), "{size}");
    }
}

#[test]
fn a_stream_counts_until_the_server_is_done_with_it() {
    let mut session = open(Limits { streams: 3, ..Limits::default() });
    for stream in [1, 3, 5] {
        assert_eq!(play(&mut session, &get(stream), 0).map(|events| events.len()), Ok(1));
    }
    let reset = frame(kind::RST_STREAM, 0, 1, &[0; 4]);
    assert_eq!(play(&mut session, &reset, 0), Ok(vec![Event::Reset { stream: 1 }]));
    assert_eq!(play(&mut session, &get(7), 0), Ok(vec![]), "the server may still be at work");
    assert_eq!(written(&mut session), [(kind::RST_STREAM, 7, 0)]);
    session.finish(1);
    assert_eq!(play(&mut session, &get(9), 0).map(|events| events.len()), Ok(1));
    // One whose end the client may have seen does not.
    session.send_head(3, 204, std::iter::empty(), true);
    assert_eq!(play(&mut session, &get(11), 0).map(|events| events.len()), Ok(1));
}

#[test]
fn windows_are_kept() {
    let mut session = open(Limits::default());
    play(&mut session, &[get(1), get(3)].concat(), 0).unwrap();
    assert_eq!(session.capacity(1), 65_535);
    for _ in 0..3 {
        session.begin_data(1, MAX_FRAME, false);
    }
    session.begin_data(1, 16_383, false);
    assert_eq!((session.capacity(1), session.capacity(3)), (0, 0), "the connection has a window, too");
    let all = || vec![Event::Window { stream: None }];
    assert_eq!(play(&mut session, &window_update(0, 100), 0), Ok(all()));
    assert_eq!((session.capacity(1), session.capacity(3)), (0, 100));
    let one = vec![Event::Window { stream: Some(1) }];
    assert_eq!(play(&mut session, &window_update(1, 70), 0), Ok(one));
    assert_eq!(session.capacity(1), 70);
    // SETTINGS_INITIAL_WINDOW_SIZE changes those that there are, below zero, too (§6.9.2).
    let resize = |size: u32| frame(kind::SETTINGS, 0, 0, &[&[0, 4], &size.to_be_bytes()[..]].concat());
    assert_eq!(play(&mut session, &resize(65_435), 0), Ok(vec![]));
    assert_eq!((session.capacity(1), session.capacity(3)), (0, 100));
    assert_eq!(play(&mut session, &resize(65_475), 0), Ok(all()));
    assert_eq!(session.capacity(1), 10);
    assert_eq!(play(&mut session, &resize(0), 0), Ok(vec![]));
    assert_eq!((session.capacity(1), session.capacity(3)), (0, 0));
    assert_eq!(session.capacity(77), 0, "there is no such stream");
}

#[test]
fn what_comes_may_come_again() {
    let limits = Limits { stream_window: 100, connection_window: 150, ..Limits::default() };
    let mut session = open(limits);
    play(&mut session, &[post(1), post(3)].concat(), 0).unwrap();
    session.output().clear();
    let data = |stream, length| frame(kind::DATA, 0, stream, &vec![0; length]);
    assert!(play(&mut session, &data(1, 49), 0).is_ok());
    assert_eq!(written(&mut session), []);
    assert!(play(&mut session, &data(1, 1), 0).is_ok());
    assert_eq!(written(&mut session), [(kind::WINDOW_UPDATE, 1, 0)]);
    assert!(play(&mut session, &data(1, 25), 0).is_ok());
    assert_eq!(written(&mut session), [(kind::WINDOW_UPDATE, 0, 0)]);
    // More than a stream has room for is its own mistake, more than the connection has is everybody's.
    assert_eq!(play(&mut session, &data(1, 76), 0), Ok(vec![Event::Reset { stream: 1 }]));
    assert_eq!(play(&mut session, &data(3, 151), 0), Err(Reason::FlowControlError));
}

#[test]
fn a_response_ends_once() {
    for (name, ended, remote_ended, want) in [
        ("with its data", true, true, vec![]),
        ("by itself", false, true, vec![(kind::DATA, 1, 1)]),
        ("before the request", false, false, vec![(kind::DATA, 1, 1), (kind::RST_STREAM, 1, 0)]),
        ("with its data, before the request", true, false, vec![(kind::RST_STREAM, 1, 0)]),
    ] {
        let mut session = open(Limits::default());
        play(&mut session, &if remote_ended { get(1) } else { post(1) }, 0).unwrap();
        session.send_head(1, 200, [(&b"a"[..], &b"b"[..])].into_iter(), false);
        session.begin_data(1, 0, ended);
        session.output().clear();
        session.finish(1);
        session.finish(1);
        session.abort(1, Reason::InternalError);
        assert_eq!(written(&mut session), want, "{name}");
        assert_eq!(session.streams(), 0);
    }
    let mut session = open(Limits::default());
    play(&mut session, &get(1), 0).unwrap();
    session.abort(1, Reason::InternalError);
    assert_eq!(written(&mut session), [(kind::RST_STREAM, 1, 0)]);
}

#[test]
fn a_stream_that_has_ended_is_closed_before_the_server_lets_go_of_it() {
    for late in [get(1), frame(kind::DATA, 0, 1, b"x")] {
        let mut session = open(Limits::default());
        play(&mut session, &get(1), 0).unwrap();
        session.send_head(1, 204, std::iter::empty(), true);
        assert_eq!(play(&mut session, &late, 0), Err(Reason::StreamClosed));
    }
}

#[test]
fn an_upload_that_was_refused_may_take_its_time_to_hear_of_it() {
    let limits = Limits { idle_frames: 50, ..Limits::default() };
    let data = |stream| frame(kind::DATA, 0, stream, b"upload");
    let mut session = open(limits);
    assert_eq!(play(&mut session, &frame(kind::HEADERS, 4, 1, b"\x83"), 0), Ok(vec![]));
    for at in 2..1000 {
        let stream = at * 2 + 1;
        assert!(play(&mut session, &get(stream), 0).is_ok());
        session.send_head(stream, 200, std::iter::empty(), true);
        session.finish(stream);
        session.output().clear();
        assert_eq!(play(&mut session, &data(1), 0), Ok(vec![]), "{at}");
    }
    // What was closed by the client's own word a moment ago is none of these.
    assert_eq!(play(&mut session, &data(1999), 0), Err(Reason::StreamClosed));
    // A stream that was skipped was never refused, as long as all are remembered.
    let mut session = open(limits);
    assert!(play(&mut session, &get(5), 0).is_ok());
    assert_eq!(play(&mut session, &data(3), 0), Err(Reason::StreamClosed));
}

#[test]
fn the_method_is_known_also_where_the_fields_before_it_are_too_many() {
    for (method, is_head) in [(&b"HEAD"[..], true), (b"GET", false)] {
        let mut fields = FieldList::new(100);
        fields.push(b":path", &[b'/'; 200]);
        fields.push(b":method", method);
        let head = RequestHead::of(&fields, true).expect("it is too large, and no more");
        assert_eq!((head.too_large, head.is_head), (true, is_head));
        fields.clear();
        fields.push(b":method", b"GET");
        assert!(!fields.is_head(), "it was of the request before");
    }
}

#[test]
fn nobody_is_sent_what_nobody_awaits() {
    let mut session = open(Limits::default());
    play(&mut session, &get(1), 0).unwrap();
    assert!(session.is_awaited(1));
    play(&mut session, &frame(kind::RST_STREAM, 0, 1, &[0; 4]), 0).unwrap();
    assert!(!session.is_awaited(1));
    session.abort(1, Reason::InternalError);
    assert_eq!(written(&mut session), []);
}

#[test]
fn a_connection_says_goodbye() {
    let mut session = open(Limits::default());
    play(&mut session, &get(1), 0).unwrap();
    session.warn();
    session.warn();
    assert_eq!(session.output()[9..17], [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(written(&mut session), [(kind::GOAWAY, 0, 0)]);
    assert_eq!(play(&mut session, &get(3), 0).map(|events| events.len()), Ok(1), "it was on its way");
    session.leave();
    session.leave();
    assert_eq!(session.output()[9..17], [0, 0, 0, 3, 0, 0, 0, 0]);
    assert_eq!(written(&mut session), [(kind::GOAWAY, 0, 0)]);
    assert_eq!(play(&mut session, &get(5), 0), Ok(vec![]));
    assert_eq!(written(&mut session), [(kind::RST_STREAM, 5, 0)]);
    assert!(session.leaves());
    session.send_head(1, 200, std::iter::empty(), true);
    assert_eq!(written(&mut session), [(kind::HEADERS, 1, 5)]);
}

#[test]
fn a_large_head_is_several_frames() {
    let mut session = open(Limits::default());
    play(&mut session, &get(1), 0).unwrap();
    let value = vec![b'x'; 40_000];
    session.send_head(1, 200, [(&b"x"[..], &value[..])].into_iter(), true);
    let frames = written(&mut session);
    assert_eq!(frames, [(kind::HEADERS, 1, 1), (kind::CONTINUATION, 1, 0), (kind::CONTINUATION, 1, 4)]);
}

#[test]
fn a_request_is_the_same_however_it_is_cut() {
    let octets = [
        &PREFACE[..],
        &frame(kind::SETTINGS, 0, 0, &[]),
        &post(1),
        &frame(kind::DATA, 0, 1, b"hel"),
        &frame(kind::DATA, 1, 1, b"lo"),
        &get(3),
    ]
    .concat();
    let whole = cut(&octets, octets.len());
    assert_eq!(whole.len(), 4);
    for part in 1..50 {
        assert_eq!(cut(&octets, part), whole, "in parts of {part}");
    }
}

/// Events, with the octets of bodies, of octets that come in parts of this length.
fn cut(octets: &[u8], part: usize) -> Vec<String> {
    let (mut session, mut held, mut events) = (Session::new(Limits::default()), Vec::new(), Vec::new());
    for part in octets.chunks(part) {
        held.extend_from_slice(part);
        loop {
            let (consumed, event) = session.advance(&held, 0).unwrap();
            match event {
                Event::Partial => break,
                Event::Nothing => {}
                Event::Data { stream, octets, ended } => {
                    events.push(format!("{stream} {:?} {ended}", &held[octets]));
                }
                event => events.push(format!("{event:?}")),
            }
            held.drain(..consumed);
        }
    }
    events
}
