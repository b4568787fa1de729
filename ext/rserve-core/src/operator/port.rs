//! The loop that serves the operator's port: one thread, no lock, nothing of Ruby's. Whoever is slow, silent or wrong
//! costs a place among [`MOST`], for a few seconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;

use super::answer::{Reply, Request};
use super::client::{Client, Turn};
use crate::net::listener::Listener;

/// Connections at a time. One more takes the place of the one that has the least to lose.
pub const MOST: usize = 64;

/// Connections that are taken in a row from one listener: few enough that none of them makes room for another one before
/// it had its turn.
const ACCEPT_BATCH: usize = 16;

/// How long no connection is taken after the process ran out of descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long a port that is to end waits for requests that are on their way.
const LEAVE_TIME: Duration = Duration::from_millis(500);

const END: Token = Token(0);
const FIRST_CLIENT: usize = 1;
const FIRST_LISTENER: usize = FIRST_CLIENT + MOST;

/// Who knows the answers.
pub trait Desk {
    /// The answer to `request`, or what finds it.
    fn answer(&mut self, request: &Request<'_>, now: Instant) -> Reply;

    /// To be called now and then; gives when next, or `None` for whenever there is a request.
    fn look(&mut self, now: Instant) -> Option<Instant>;
}

/// See the module.
pub struct Port {
    poll: Poll,
    listeners: Vec<Listener>,
    clients: Vec<Option<Client>>,
    /// Clients that have a turn.
    ready: Vec<bool>,
    /// Listeners at which somebody may wait.
    waited_at: Vec<bool>,
    /// Nothing is accepted before.
    paused_until: Option<Instant>,
}

impl Port {
    /// Serves at the listening sockets `fds`, on duplicates of them.
    ///
    /// # Errors
    ///
    /// One of them is not open, or no descriptor is left.
    pub fn new(fds: impl IntoIterator<Item = RawFd>) -> io::Result<Self> {
        let listeners = fds
            .into_iter()
            .map(|fd| Listener::duplicate(fd, None, Arc::default()))
            .collect::<io::Result<Vec<_>>>()?;
        let poll = Poll::new()?;
        for (index, listener) in listeners.iter().enumerate() {
            register(&poll, listener.as_fd(), FIRST_LISTENER + index, Interest::READABLE)?;
        }
        Ok(Self {
            poll,
            waited_at: vec![true; listeners.len()],
            listeners,
            clients: (0..MOST).map(|_| None).collect(),
            ready: vec![false; MOST],
            paused_until: None,
        })
    }

    /// Serves until `end` is readable, and then who has begun a request.
    ///
    /// # Errors
    ///
    /// As epoll_wait(2).
    pub fn serve(mut self, desk: &mut dyn Desk, end: BorrowedFd<'_>) -> io::Result<()> {
        register(&self.poll, end, END.0, Interest::READABLE)?;
        let mut events = Events::with_capacity(MOST * 2);
        let mut leaves_at = None;
        let mut look = desk.look(Instant::now());
        loop {
            let now = Instant::now();
            let timeout = self.deadline(look, leaves_at).map(|at| at.saturating_duration_since(now));
            match self.poll.poll(&mut events, timeout) {
                Err(failure) if failure.kind() != io::ErrorKind::Interrupted => return Err(failure),
                _ => {}
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    END => {
                        leaves_at = leaves_at.or(Some(now + LEAVE_TIME));
                        self.listeners.clear();
                        self.waited_at.clear();
                    }
                    Token(client @ FIRST_CLIENT..FIRST_LISTENER) => self.ready[client - FIRST_CLIENT] = true,
                    Token(listener) => {
                        if let Some(waited_at) = self.waited_at.get_mut(listener - FIRST_LISTENER) {
                            *waited_at = true;
                        }
                    }
                }
            }
            if look.is_some_and(|at| at <= now) {
                look = desk.look(now);
            }
            self.accept(now);
            self.advance(desk, now, leaves_at.is_some());
            if leaves_at.is_some_and(|at| at <= now || self.clients.iter().flatten().all(Client::is_at_rest))
            {
                return Ok(());
            }
        }
    }

    /// When there is something to do whatever comes.
    fn deadline(&self, look: Option<Instant>, leaves_at: Option<Instant>) -> Option<Instant> {
        if self.ready.contains(&true) {
            return Some(Instant::now());
        }
        let accepts = match (self.waited_at.contains(&true), self.paused_until) {
            (true, None) => return Some(Instant::now()),
            (true, paused) => paused,
            (false, _) => None,
        };
        let clients = self.clients.iter().flatten();
        let looks = clients.clone().filter_map(Client::looks_at);
        clients.map(Client::deadline).chain(looks).chain(look).chain(leaves_at).chain(accepts).min()
    }

    fn accept(&mut self, now: Instant) {
        if self.paused_until.is_some_and(|at| at > now) {
            return;
        }
        self.paused_until = None;
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPT_BATCH {
                if !self.waited_at[index] {
                    break;
                }
                match self.listeners[index].accept() {
                    Ok(accepted) => self.admit(Client::new(accepted.stream, now)),
                    Err(Errno::EAGAIN) => self.waited_at[index] = false,
                    Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                    Err(_) => {
                        self.paused_until = Some(now + EXHAUSTED_PAUSE);
                        return;
                    }
                }
            }
        }
    }

    fn admit(&mut self, client: Client) {
        let free = self.clients.iter().position(Option::is_none);
        let place = free.or_else(|| {
            let places = self.clients.iter().enumerate();
            let least = places.filter_map(|(place, client)| Some((client.as_ref()?.worth(), place))).min();
            least.map(|(_, place)| place)
        });
        let Some(place) = place else { return };
        self.close(place);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let Some(socket) = client.stream().socket() else { return };
        if register(&self.poll, socket, FIRST_CLIENT + place, interest).is_ok() {
            self.clients[place] = Some(client);
            self.ready[place] = true;
        }
    }

    fn advance(&mut self, desk: &mut dyn Desk, now: Instant, last: bool) {
        for place in 0..MOST {
            let Some(client) = &mut self.clients[place] else {
                self.ready[place] = false;
                continue;
            };
            if self.ready[place] || client.looks_at().is_some_and(|at| at <= now) {
                match client.advance(desk, now, last) {
                    Turn::Waits => self.ready[place] = false,
                    Turn::Again => {}
                    Turn::Over => {
                        self.close(place);
                        continue;
                    }
                }
            }
            if self.clients[place].as_ref().is_some_and(|client| client.deadline() <= now) {
                self.close(place);
            }
        }
    }

    fn close(&mut self, place: usize) {
        self.ready[place] = false;
        if let Some(client) = self.clients[place].take() {
            // An application that has forked may hold copies of both: neither would end with ours alone.
            if let Some(socket) = client.stream().socket() {
                let _ = self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
            }
            client.stream().shut_down();
        }
    }
}

fn register(poll: &Poll, fd: BorrowedFd<'_>, token: usize, interest: Interest) -> io::Result<()> {
    poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(token), interest)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;

    use super::*;
    use crate::operator::{Answer, Inquiry};

    struct Echo;

    impl Desk for Echo {
        fn answer(&mut self, request: &Request<'_>, now: Instant) -> Reply {
            match request.path {
                b"/large" => Answer::text(200, vec![b'x'; 16 << 20]).into(),
                b"/later" => Reply::Later(Box::new(Later { looks: 0, at: now + Duration::from_millis(50) })),
                b"/never" => Reply::Later(Box::new(Later { looks: 0, at: now + Duration::from_secs(600) })),
                path => Answer::text(200, path).into(),
            }
        }

        fn look(&mut self, _: Instant) -> Option<Instant> {
            None
        }
    }

    struct Later {
        looks: u32,
        at: Instant,
    }

    impl Inquiry for Later {
        fn look(&mut self, now: Instant) -> Option<Answer> {
            self.looks += 1;
            (self.looks > 2 && now >= self.at).then(|| Answer::text(200, "at last"))
        }
    }

    struct Served {
        listener: TcpListener,
        end: Option<PipeWriter>,
        thread: Option<JoinHandle<io::Result<()>>>,
    }

    impl Served {
        fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = Port::new([listener.as_raw_fd()]).unwrap();
            let (reader, writer) = io::pipe().unwrap();
            let thread = std::thread::spawn(move || port.serve(&mut Echo, reader.as_fd()));
            Self { listener, end: Some(writer), thread: Some(thread) }
        }

        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream
        }

        fn ask(&self, octets: &[u8]) -> String {
            let mut stream = self.connect();
            stream.write_all(octets).unwrap();
            let mut text = Vec::new();
            // A client that sends more than is read may be reset.
            let _ = stream.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        }

        fn end(&mut self) {
            self.end = None;
            self.thread.take().unwrap().join().unwrap().unwrap();
        }
    }

    fn read_some(stream: &mut TcpStream) -> String {
        let mut octets = [0; 1024];
        let count = stream.read(&mut octets).unwrap();
        String::from_utf8_lossy(&octets[..count]).into_owned()
    }

    #[test]
    fn requests_are_answered_and_others_refused() {
        let served = Served::new();
        let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "Accept: text/plain\r\n".repeat(600));
        for (sent, status, content) in [
            ("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200", "/a"),
            ("GET /a HTTP/1.0\r\n\r\n", "200", "/a"),
            ("GET /a?b HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "200", "/a"),
            ("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.0\r\n\r\n", "200", "/b"),
            ("\x16\x03\x01\x02\x00\x01\x00", "400", ""),
            ("GET /a\r\n\r\n", "400", ""),
            (&huge, "431", ""),
            (&many, "431", ""),
        ] {
            let text = served.ask(sent.as_bytes());
            assert_eq!(text.get(9..12), Some(status), "{sent:.60}: {text}");
            assert!(text.ends_with(content), "{sent:.60}: {text}");
        }
    }

    #[test]
    fn an_answer_that_has_to_be_found_holds_up_only_who_asked() {
        let served = Served::new();
        let mut asks = served.connect();
        asks.write_all(b"GET /later HTTP/1.1\r\n\r\nGET /then HTTP/1.0\r\n\r\n").unwrap();
        let mut never: Vec<TcpStream> = (0..3).map(|_| served.connect()).collect();
        for asks in &mut never {
            asks.write_all(b"GET /never HTTP/1.1\r\n\r\n").unwrap();
        }
        for _ in 0..20 {
            let text = served.ask(b"GET /probe HTTP/1.1\r\nConnection: close\r\n\r\n");
            assert!(text.ends_with("/probe"), "{text}");
        }
        let mut text = String::new();
        asks.read_to_string(&mut text).unwrap();
        assert!(text.contains("at last") && text.ends_with("/then"), "{text}");
    }

    #[test]
    fn who_is_silent_or_slow_keeps_nobody_out() {
        let served = Served::new();
        let mut others: Vec<TcpStream> = (0..MOST * 3).map(|_| served.connect()).collect();
        for (index, other) in others.iter_mut().enumerate() {
            let octets: &[u8] = [&b""[..], b"GET / HT", b"GET /large HTTP/1.1\r\n\r\n"][index % 3];
            // It may be closed already, to make room.
            let _ = other.write_all(octets);
        }
        for _ in 0..100 {
            let text = served.ask(b"GET /probe HTTP/1.1\r\nConnection: close\r\n\r\n");
            assert!(text.ends_with("/probe"), "{text}");
        }
    }

    #[test]
    fn the_end_waits_for_requests_on_their_way_and_for_nobody_else() {
        let mut served = Served::new();
        let mut kept = served.connect();
        kept.write_all(b"GET /a HTTP/1.1\r\n\r\n").unwrap();
        assert!(read_some(&mut kept).ends_with("/a"));
        let mut begun = served.connect();
        begun.write_all(b"GET /b HTTP/1.1\r\n").unwrap();
        let mut sent = served.connect();
        sent.write_all(b"GET /c HTTP/1.1\r\n\r\n").unwrap();
        assert!(read_some(&mut sent).ends_with("/c"));
        served.end = None;
        begun.write_all(b"\r\n").unwrap();
        let mut text = String::new();
        begun.read_to_string(&mut text).unwrap();
        assert!(text.contains("Connection: close") && text.ends_with("/b"), "{text}");
        served.end();
        assert_eq!(kept.read(&mut [0; 8]).unwrap(), 0);
    }
}
