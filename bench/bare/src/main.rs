//! The least that answers over mio: it looks for the end of a head, and says hello. `bench/run --servers rserve,bare` shows
//! what a server adds to that.

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Error, ErrorKind, Read, Write};

const LISTENER: Token = Token(usize::MAX);
const HEAD_END: &[u8] = b"\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nHello World";

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).ok_or_else(|| Error::other("usage: bare ADDRESS"))?;
    let address = address.parse().map_err(Error::other)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut client, _)) = listener.accept() {
                    client.set_nodelay(true)?;
                    poll.registry().register(&mut client, Token(clients.len()), Interest::READABLE)?;
                    clients.push(Some(client));
                }
            } else if let Some(client) = &mut clients[event.token().0]
                && !serve(client, &mut buffer)
            {
                clients[event.token().0] = None;
            }
        }
    }
}

/// Answers what has come: a whole head, as clients of a benchmark send it. False when the client has gone.
fn serve(client: &mut TcpStream, buffer: &mut [u8]) -> bool {
    match client.read(buffer) {
        Ok(0) => false,
        Ok(size) if buffer[..size].ends_with(HEAD_END) => client.write_all(ANSWER).is_ok(),
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
