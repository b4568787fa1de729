//! HTTP/2 on a socket: the wire that all streams of a connection share, and the lane that one response goes out by.
//!
//! A lane takes a response in the form of HTTP/1.1 and is written to like a socket: it takes what the windows and the wire
//! have room for. So a response comes to its client by the same way in both versions, up to here.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::uio::pread;
use rserve_http2::{Event, Limits, MAX_FRAME, Reason, Session};

use super::stream::{Received, Stream};

/// Octets that may wait for the socket before streams wait, too, and the client is not read from.
const OUT_LIMIT: usize = 64 * 1024;

/// Octets of a file that one call sends at most, however fast the client reads: others want the wire, too.
const CALL_LIMIT: usize = 256 * 1024;

/// The socket of a connection, and what is known of its streams. Taken by whoever has octets for the client, for as long as
/// it takes to hand them over.
pub(crate) struct Wire {
    tls: bool,
    state: Mutex<State>,
}

struct State {
    socket: Option<Stream>,
    session: Session,
    /// Streams whose responses had to stop.
    blocked: Vec<u32>,
    /// Octets that the socket has taken.
    sent: u64,
    /// The socket takes nothing any more.
    lost: bool,
}

impl State {
    /// Sends what the socket takes; `true` when that was all.
    fn flush(&mut self) -> io::Result<bool> {
        let socket = self.socket.as_mut().filter(|_| !self.lost).ok_or(io::ErrorKind::BrokenPipe)?;
        let out = self.session.output();
        let mut at = 0;
        let mut flushed = Ok(true);
        while at < out.len() {
            match socket.send(&out[at..]) {
                Ok(Some(count)) => at += count,
                Ok(None) => {
                    flushed = Ok(false);
                    break;
                }
                Err(error) => {
                    flushed = Err(error);
                    break;
                }
            }
        }
        out.drain(..at);
        self.sent += at as u64;
        let flushed = flushed.and_then(|all| Ok(all && socket.flush()?));
        self.lost |= flushed.is_err();
        flushed
    }

    fn is_lost(&self) -> bool {
        self.lost || self.socket.is_none() || self.session.has_failed()
    }

    /// `stream` has to stop.
    fn block(&mut self, stream: u32) {
        if !self.blocked.contains(&stream) {
            self.blocked.push(stream);
        }
    }

    fn room(&mut self) -> usize {
        OUT_LIMIT.saturating_sub(self.session.output().len())
    }
}

/// How a [`Wire`] stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Streams that the server is not done with.
    pub(crate) streams: usize,
    /// Requests that came.
    pub(crate) requests: u32,
    /// A header block has begun and is not whole.
    pub(crate) in_block: bool,
    /// No more streams are taken.
    pub(crate) leaves: bool,
    /// Octets that the socket has taken.
    pub(crate) sent: u64,
    /// Octets wait for the socket.
    pub(crate) blocked: bool,
}

impl Wire {
    pub(crate) fn new(socket: Stream) -> Arc<Self> {
        let tls = socket.is_tls();
        let session = Session::new(Limits::default());
        let state = State { socket: Some(socket), session, blocked: Vec::new(), sent: 0, lost: false };
        Arc::new(Self { tls, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the socket, if it is still there.
    pub(crate) fn socket<T>(&self, look: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        self.state().socket.as_mut().map(look)
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut state = self.state();
        let socket = state.socket.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        socket.receive(buffer)
    }

    /// See [`Session::advance`].
    pub(crate) fn advance(&self, octets: &[u8], millis: u64) -> Result<(usize, Event), Reason> {
        self.state().session.advance(octets, millis)
    }

    /// Sends what waits.
    pub(crate) fn flush(&self) -> io::Result<bool> {
        self.state().flush()
    }

    /// So much waits that the client is not to be read from.
    pub(crate) fn is_full(&self) -> bool {
        self.state().room() == 0
    }

    /// Streams that had to stop and may go on.
    pub(crate) fn take_unblocked(&self) -> Vec<u32> {
        let mut state = self.state();
        if state.room() == 0 {
            return Vec::new();
        }
        let blocked = std::mem::take(&mut state.blocked);
        let session = &state.session;
        let (free, blocked) = blocked
            .into_iter()
            .filter(|stream| session.is_awaited(*stream))
            .partition(|stream| session.capacity(*stream) > 0);
        state.blocked = blocked;
        free
    }

    pub(crate) fn standing(&self) -> Standing {
        let mut state = self.state();
        let flushed = state.socket.as_ref().is_none_or(Stream::is_flushed);
        Standing {
            streams: state.session.streams(),
            requests: state.session.requests(),
            in_block: state.session.in_block(),
            leaves: state.session.leaves(),
            sent: state.sent,
            blocked: !state.session.output().is_empty() || !flushed,
        }
    }

    /// No request is being served or received.
    pub(crate) fn is_idle(&self) -> bool {
        self.state().session.streams() == 0
    }

    /// The client is told that there is an end; what it asks for meanwhile is served.
    pub(crate) fn warn(&self) {
        let mut state = self.state();
        state.session.warn();
        let _ = state.flush();
    }

    /// No more requests are taken.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.session.leave();
        let _ = state.flush();
    }

    /// Gives memory back.
    pub(crate) fn rest(&self) {
        self.state().session.rest();
    }

    /// Takes the socket away: nothing more is sent on any stream.
    pub(crate) fn end(&self) -> Option<Stream> {
        let mut state = self.state();
        state.session.leave();
        let _ = state.flush();
        state.socket.take()
    }
}

/// Where one response goes out. Its owner ends it, by [`Lane::finish`] or [`Lane::abort`]: a copy in a child that the
/// application forks must not.
pub(crate) struct Lane {
    wire: Arc<Wire>,
    stream: u32,
    /// The request was HEAD.
    is_head: bool,
    awaits: Awaits,
}

/// What the lane is given next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Awaits {
    Head,
    /// Octets of a body, so many if that is known.
    Body(Option<u64>),
    Nothing,
}

impl Lane {
    pub(crate) fn new(wire: &Arc<Wire>, stream: u32, is_head: bool) -> Self {
        Self { wire: Arc::clone(wire), stream, is_head, awaits: Awaits::Head }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.wire.tls
    }

    /// Looks at the connection's socket.
    pub(crate) fn socket<T>(&self, look: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        self.wire.socket(look)
    }

    /// Somebody waits for the response.
    pub(crate) fn is_awaited(&self) -> bool {
        let state = self.wire.state();
        !state.is_lost() && state.session.is_awaited(self.stream)
    }

    /// As [`Stream::send_gathered`].
    pub(crate) fn send_gathered(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let wire = Arc::clone(&self.wire);
        let mut state = wire.state();
        self.check(&state)?;
        let mut rest = Rest { slices, at: 0 };
        while self.awaits == Awaits::Head
            && let Some(first) = rest.first()
        {
            let length = self.send_head(&mut state.session, first)?;
            rest.skip(length);
        }
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        while let Some(count) = self.next(&mut state, rest.len() as u64)? {
            let ended = self.takes(count);
            rest.take(count, state.session.begin_data(self.stream, count, ended));
        }
        // What was not announced is nobody's.
        let left = if self.awaits == Awaits::Nothing { 0 } else { rest.len() };
        if left > 0 {
            state.block(self.stream);
        }
        state.flush()?;
        Ok((left < total || total == 0).then_some(total - left))
    }

    /// As [`Stream::send_file`].
    pub(crate) fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        count: usize,
    ) -> io::Result<Option<usize>> {
        let wire = Arc::clone(&self.wire);
        let mut state = wire.state();
        self.check(&state)?;
        let (mut sent, count) = (0, count.min(CALL_LIMIT));
        while sent < count {
            let Some(most) = self.next(&mut state, (count - sent) as u64)? else {
                if self.awaits == Awaits::Nothing {
                    sent = count;
                    break;
                }
                state.block(self.stream);
                break;
            };
            let mut part = vec![0; most];
            let at = i64::try_from(offset + sent as u64).map_err(|_| io::Error::from(Errno::EOVERFLOW))?;
            let read = pread(file, &mut part, at)?;
            if read == 0 {
                return Ok(Some(sent));
            }
            let ended = self.takes(read);
            state.session.begin_data(self.stream, read, ended).extend_from_slice(&part[..read]);
            sent += read;
        }
        state.flush()?;
        Ok((sent > 0).then_some(sent))
    }

    fn check(&self, state: &State) -> io::Result<()> {
        match !state.is_lost() && state.session.is_awaited(self.stream) {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// How many of `left` octets the next frame has; `None` when there is room for none.
    fn next(&self, state: &mut State, left: u64) -> io::Result<Option<usize>> {
        let wanted = match self.awaits {
            Awaits::Body(Some(promised)) => left.min(promised),
            Awaits::Body(None) => left,
            Awaits::Head | Awaits::Nothing => 0,
        };
        if wanted == 0 {
            return Ok(None);
        }
        if state.room() == 0 {
            state.flush()?;
        }
        let most = state.session.capacity(self.stream).min(state.room()).min(MAX_FRAME);
        let count = usize::try_from(wanted).unwrap_or(usize::MAX).min(most);
        Ok((count > 0).then_some(count))
    }

    /// So many octets of the body are taken: whether they are the last ones.
    fn takes(&mut self, count: usize) -> bool {
        let ends = self.awaits == Awaits::Body(Some(count as u64));
        if let Awaits::Body(Some(promised)) = &mut self.awaits {
            *promised -= count as u64;
        }
        if ends {
            self.awaits = Awaits::Nothing;
        }
        ends
    }

    /// Sends the head that `octets` begin with; gives its length.
    fn send_head(&mut self, session: &mut Session, octets: &[u8]) -> io::Result<usize> {
        let head = Head::of(octets).ok_or(io::ErrorKind::InvalidData)?;
        // RFC 9113 §8.6.
        if head.status == 101 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let length = head.fields().find(|(name, _)| *name == b"content-length").map(|(_, value)| value);
        let length = length.and_then(|value| str::from_utf8(value).ok()).and_then(|value| value.parse().ok());
        let is_final = head.status >= 200;
        let ended = is_final && (self.is_head || matches!(head.status, 204 | 304) || length == Some(0));
        session.send_head(self.stream, head.status, head.fields(), ended);
        if is_final {
            self.awaits = if ended { Awaits::Nothing } else { Awaits::Body(length) };
        }
        Ok(head.length)
    }

    /// The response is as complete as it will get.
    pub(crate) fn finish(&mut self) {
        match self.awaits {
            Awaits::Nothing | Awaits::Body(None) => {
                let mut state = self.wire.state();
                state.session.finish(self.stream);
                let _ = state.flush();
            }
            Awaits::Head | Awaits::Body(Some(_)) => self.abort(Reason::InternalError),
        }
        self.awaits = Awaits::Nothing;
    }

    /// There will be no more of the response.
    pub(crate) fn abort(&mut self, reason: Reason) {
        self.cancel(reason);
        self.awaits = Awaits::Nothing;
    }

    /// As [`Lane::abort`], by others than the one who writes.
    pub(crate) fn cancel(&self, reason: Reason) {
        let mut state = self.wire.state();
        state.session.abort(self.stream, reason);
        let _ = state.flush();
    }
}

/// What is left of some slices.
struct Rest<'a> {
    slices: &'a [IoSlice<'a>],
    /// Octets of the first one that are done with.
    at: usize,
}

impl<'a> Rest<'a> {
    fn len(&self) -> usize {
        self.slices.iter().map(|slice| slice.len()).sum::<usize>() - self.at
    }

    /// What is left of the first slice of which something is.
    fn first(&mut self) -> Option<&'a [u8]> {
        while let Some((first, others)) = self.slices.split_first() {
            if self.at < first.len() {
                return Some(&first[self.at..]);
            }
            (self.slices, self.at) = (others, 0);
        }
        None
    }

    fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// Moves `count` octets to `out`.
    fn take(&mut self, mut count: usize, out: &mut Vec<u8>) {
        while count > 0
            && let Some(first) = self.first()
        {
            let part = &first[..count.min(first.len())];
            out.extend_from_slice(part);
            self.skip(part.len());
            count -= part.len();
        }
    }
}

/// A response's head in the form of HTTP/1.1, its names in lower case.
struct Head {
    status: u16,
    lines: Vec<u8>,
    /// Octets that it had.
    length: usize,
}

impl Head {
    fn of(octets: &[u8]) -> Option<Self> {
        let end = octets.windows(4).position(|four| four == b"\r\n\r\n")? + 2;
        let first = octets.windows(2).position(|two| two == b"\r\n")? + 2;
        let digits = octets.split(|&octet| octet == b' ').nth(1)?.first_chunk::<3>()?;
        let status = str::from_utf8(digits).ok()?.parse().ok()?;
        let mut lines = octets[first.min(end)..end].to_vec();
        let mut in_name = true;
        for octet in &mut lines {
            match *octet {
                b':' => in_name = false,
                b'\n' => in_name = true,
                _ if in_name => octet.make_ascii_lowercase(),
                _ => {}
            }
        }
        Some(Self { status, lines, length: end + 2 })
    }

    /// Those that are not about a connection of HTTP/1.1 (RFC 9113 §8.2.2).
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.lines.split(|&octet| octet == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|&octet| octet == b':')?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            Some((name, value))
        });
        lines.filter(|(name, _)| {
            !matches!(
                *name,
                b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use rserve_http2::PREFACE;

    use super::*;

    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    /// A window of 10 octets for each stream (SETTINGS_INITIAL_WINDOW_SIZE).
    const SMALL_WINDOWS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\x0a";
    const GET: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    const FIVE_MORE: &[u8] = b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\x05";
    const RESET: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
    const HEAD: &[u8] = b"HTTP/2 200 OK\r\ncontent-length: 20\r\n\r\n";

    fn give(wire: &Wire, mut octets: &[u8]) {
        while !octets.is_empty() {
            let (consumed, _) = wire.advance(octets, 0).unwrap();
            octets = &octets[consumed..];
        }
    }

    /// A wire with one request on it, and its client.
    fn asked(settings: &[u8]) -> (Arc<Wire>, Lane, UnixStream) {
        let (client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let wire = Wire::new(Stream::new(ours.into()));
        give(&wire, &[&PREFACE[..], settings, GET].concat());
        let lane = Lane::new(&wire, 1, false);
        (wire, lane, client)
    }

    fn send(lane: &mut Lane, parts: &[&[u8]]) -> io::Result<Option<usize>> {
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        lane.send_gathered(&slices)
    }

    #[test]
    fn a_lane_takes_what_the_window_has_room_for() {
        let (wire, mut lane, mut client) = asked(SMALL_WINDOWS);
        assert_eq!(
            send(&mut lane, &[HEAD, b"", b"0123456", b"789abcdefghij"]).unwrap(),
            Some(HEAD.len() + 10)
        );
        assert_eq!(send(&mut lane, &[b"abcdefghij"]).unwrap(), None);
        assert_eq!(wire.take_unblocked(), Vec::<u32>::new());
        give(&wire, FIVE_MORE);
        assert_eq!(wire.take_unblocked(), [1]);
        assert_eq!(send(&mut lane, &[b"abcdefghij"]).unwrap(), Some(5));
        give(&wire, FIVE_MORE);
        assert_eq!(send(&mut lane, &[b"fghij", b"what was not announced"]).unwrap(), Some(27));
        lane.finish();
        assert!(wire.is_idle());
        drop((wire, lane));
        let mut octets = Vec::new();
        client.read_to_end(&mut octets).unwrap();
        let end = b"\0\0\x05\0\x01\0\0\0\x01fghij";
        assert!(octets.ends_with(end), "{octets:?}");
    }

    #[test]
    fn a_lane_that_nobody_awaits_takes_nothing() {
        let (wire, mut lane, _client) = asked(SETTINGS);
        assert!(lane.is_awaited());
        give(&wire, RESET);
        assert!(!lane.is_awaited());
        assert!(send(&mut lane, &[HEAD]).is_err());
        lane.abort(Reason::InternalError);
        assert!(wire.is_idle());

        let (wire, mut lane, _client) = asked(SETTINGS);
        drop(wire.end());
        assert!(send(&mut lane, &[HEAD]).is_err());
    }

    #[test]
    fn a_client_that_does_not_read_fills_the_wire_and_no_more() {
        let windows = b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\0\0\0\0\0\x04\x08\0\0\0\0\0\x7f\0\0\0";
        let (wire, mut lane, mut client) = asked(windows);
        let part = vec![b'x'; 1 << 20];
        let mut taken = send(&mut lane, &[b"HTTP/2 200 OK\r\n\r\n", &part]).unwrap().unwrap();
        while let Some(count) = send(&mut lane, &[&part]).unwrap() {
            taken += count;
        }
        assert!(wire.is_full());
        assert_eq!(wire.take_unblocked(), Vec::<u32>::new());
        assert!(wire.state().session.output().len() <= OUT_LIMIT + 4 * 9, "of {taken}");
        let mut buffer = vec![0; 1 << 20];
        while !wire.flush().unwrap() {
            assert!(client.read(&mut buffer).unwrap() > 0);
        }
        assert_eq!(wire.take_unblocked(), [1]);
    }

    #[test]
    fn a_head_is_read_as_the_server_writes_it() {
        let octets = b"HTTP/2 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nX-A:  b: C \r\n\
                       TRANSFER-encoding: chunked\r\nSet-Cookie: A=B\r\n\r\nbody: X";
        let head = Head::of(octets).unwrap();
        let fields: Vec<_> =
            head.fields().map(|(name, value)| [name, b"=", value].concat()).collect::<Vec<_>>();
        let fields: Vec<_> = fields.iter().map(|field| str::from_utf8(field).unwrap()).collect();
        assert_eq!(fields, ["content-type=text/plain", "x-a=b: C", "set-cookie=A=B"]);
        assert_eq!((head.status, &octets[head.length..]), (200, &b"body: X"[..]));
        assert_eq!(Head::of(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap().status, 408);
        for octets in [&b""[..], b"HTTP/1.1 200 OK\r\nX: a\r\n", b"\r\n\r\n", b"HTTP/1.1 2\r\n\r\n"] {
            assert!(Head::of(octets).is_none(), "{octets:?}");
        }
    }
}
