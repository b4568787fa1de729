//! What goes over the wire: between a server's stream and OpenSSL's client, over a socket that keeps packets apart, so that
//! each send can be told from the next.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    ErrorCode, HandshakeError, MidHandshakeSslStream, SslConnector, SslMethod, SslSessionCacheMode,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::{X509, X509Name};

use super::context::{Identity, SessionCache};
use super::{Context, Handshakes, Options, Pem};
use crate::net::stream::{Received, Stream};

/// A listener's that has a certificate of its own, and nothing else.
pub(crate) fn context() -> Arc<Context> {
    let key = key();
    let options = Options {
        identities: vec![Identity {
            certificate: Pem::Text(certificate(&key).to_pem().unwrap()),
            key: Pem::Text(key.private_key_to_pem_pkcs8().unwrap()),
            key_password: None,
        }],
        ca: None,
        verify_peer: false,
        require_certificate: false,
        verification_flags: 0,
        cipher_filter: None,
        ciphersuites: None,
        no_tlsv1: false,
        no_tlsv1_1: false,
        session_cache: SessionCache::Off,
        tickets: None,
    };
    Arc::new(Context::new(options).unwrap())
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn certificate(key: &PKey<Private>) -> X509 {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "localhost").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.sign(key, MessageDigest::sha256()).unwrap();
    certificate.build()
}

/// The client's end of the wire.
#[derive(Debug)]
pub(crate) struct Wire {
    fd: OwnedFd,
    /// What came and is still to be read.
    unread: Vec<u8>,
    /// What was written and is still to be sent.
    unsent: Vec<u8>,
    pub(crate) packets: usize,
}

impl Wire {
    fn receive(&mut self) -> bool {
        let mut packet = vec![0; 1 << 17];
        match recv(self.fd.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
            Ok(0) | Err(Errno::EAGAIN) => false,
            Ok(count) => {
                self.packets += 1;
                self.unread.extend_from_slice(&packet[..count]);
                true
            }
            Err(errno) => panic!("{errno}"),
        }
    }

    /// Sends what was written as packets of so many octets.
    fn send(&mut self, size: usize) {
        for packet in std::mem::take(&mut self.unsent).chunks(size) {
            assert_eq!(send(self.fd.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL).unwrap(), packet.len());
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() && !self.receive() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.unread.len());
        buffer[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.unsent.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) enum Client {
    Shaking(MidHandshakeSslStream<Wire>),
    Through(SslStream<Wire>),
}

impl Client {
    pub(crate) fn wire(&mut self) -> &mut Wire {
        match self {
            Self::Shaking(stream) => stream.get_mut(),
            Self::Through(stream) => stream.get_mut(),
        }
    }

    /// Goes on with the handshake, as far as what has come allows.
    fn shake_hands(self) -> Self {
        match self {
            Self::Shaking(stream) => Self::after(stream.handshake()),
            through => through,
        }
    }

    fn after(outcome: Result<SslStream<Wire>, HandshakeError<Wire>>) -> Self {
        match outcome {
            Ok(stream) => Self::Through(stream),
            Err(HandshakeError::WouldBlock(stream)) => Self::Shaking(stream),
            Err(error) => panic!("{error}"),
        }
    }

    fn stream(&mut self) -> &mut SslStream<Wire> {
        match self {
            Self::Shaking(_) => panic!("the handshake is not through"),
            Self::Through(stream) => stream,
        }
    }

    /// What can be read now, and whether the server has said that nothing more comes.
    pub(crate) fn read(&mut self) -> (Vec<u8>, bool) {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match self.stream().ssl_read(&mut buffer) {
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error) => match error.code() {
                    ErrorCode::WANT_READ => return (read, false),
                    ErrorCode::ZERO_RETURN => return (read, true),
                    _ => panic!("{error}"),
                },
            }
        }
    }
}

pub(crate) struct Pair {
    pub(crate) server: Stream,
    pub(crate) client: Client,
    /// Sessions that the client was given.
    pub(crate) given: Arc<Mutex<usize>>,
}

fn wires() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap()
}

fn served(fd: OwnedFd) -> Stream {
    Stream::tls(fd, &context(), &Arc::<Handshakes>::default()).unwrap()
}

/// A client that has written how it begins, and not sent it.
fn pair(version: SslVersion) -> Pair {
    let (ours, theirs) = wires();
    let given = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&given);
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_max_proto_version(Some(version)).unwrap();
    connector.set_session_cache_mode(SslSessionCacheMode::CLIENT);
    connector.set_new_session_callback(move |_, _| *counted.lock().unwrap() += 1);
    let wire = Wire { fd: theirs, unread: Vec::new(), unsent: Vec::new(), packets: 0 };
    let client = Client::after(connector.build().connect("localhost", wire));
    Pair { server: served(ours), client, given }
}

/// All that the server can read now.
fn receive(server: &mut Stream) -> (Vec<u8>, Received) {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    server.forget_edges();
    loop {
        match server.receive(&mut buffer).unwrap() {
            Received::Octets(count) => received.extend_from_slice(&buffer[..count]),
            // A packet is read by itself, and may be followed by others.
            Received::WouldBlock if server.has_unread() => server.forget_edges(),
            other => return (received, other),
        }
    }
}

/// Fills the way to the client, who has so many packets of it to read.
fn fill(server: &Stream) -> usize {
    let fd = server.socket().unwrap().as_raw_fd();
    (0..).take_while(|_| send(fd, &[0; 4096], MsgFlags::MSG_DONTWAIT).is_ok()).count()
}

fn empty(client: &mut Client, packets: usize) {
    let wire = client.wire();
    (0..packets).for_each(|_| assert!(wire.receive()));
    wire.unread.clear();
    wire.packets = 0;
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
pub(crate) const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

/// A client that has sent a request with the last that it says of the handshake.
pub(crate) fn request(version: SslVersion) -> Pair {
    let Pair { mut server, mut client, given } = pair(version);
    client.wire().send(1 << 16);
    assert_eq!(receive(&mut server), (Vec::new(), Received::WouldBlock));
    client = client.shake_hands();
    if version != SslVersion::TLS1_3 {
        client.wire().send(1 << 16);
        receive(&mut server);
        client = client.shake_hands();
    }
    client.stream().write_all(REQUEST).unwrap();
    client.wire().send(1 << 16);
    Pair { server, client, given }
}

fn answer(server: &mut Stream) {
    assert_eq!(server.send_last(RESPONSE).unwrap(), Some(RESPONSE.len()));
    assert!(server.conclude());
    assert!(server.flush().unwrap());
    server.finish();
}

#[test]
fn a_connection_for_one_request_is_sent_to_twice() {
    let Pair { mut server, mut client, given } = request(SslVersion::TLS1_3);
    assert_eq!(client.wire().packets, 1);
    assert_eq!(receive(&mut server).0, REQUEST);
    assert!(server.take_held());
    assert!(!server.take_held(), "it is told once");
    assert!(server.holds_back() && server.is_flushed());
    assert!(!client.wire().receive(), "the tickets wait for the response");
    answer(&mut server);
    assert_eq!(client.read(), (RESPONSE.to_vec(), true));
    assert_eq!((client.wire().packets, *given.lock().unwrap()), (2, 2));
}

#[test]
fn tickets_wait_for_no_response_where_there_is_no_request() {
    let Pair { mut server, mut client, given } = pair(SslVersion::TLS1_3);
    client.wire().send(1 << 16);
    receive(&mut server);
    client = client.shake_hands();
    client.wire().send(1 << 16);
    assert_eq!(receive(&mut server), (Vec::new(), Received::WouldBlock));
    assert!(!server.take_held());
    assert_eq!(client.read(), (Vec::new(), false));
    assert_eq!((client.wire().packets, *given.lock().unwrap()), (2, 2));
}

#[test]
fn what_is_held_back_goes_out_when_it_is_asked_for_and_before_what_comes_next() {
    for way in 0..3 {
        let Pair { mut server, mut client, given } = request(SslVersion::TLS1_3);
        receive(&mut server);
        match way {
            0 => assert!(server.flush().unwrap()),
            1 => assert_eq!(server.send(RESPONSE).unwrap(), Some(RESPONSE.len())),
            _ => server.finish(),
        }
        assert!(!server.holds_back());
        client.read();
        assert_eq!((client.wire().packets, *given.lock().unwrap()), (2, 2), "{way}");
    }
}

#[test]
fn an_older_client_waits_for_the_end_of_the_handshake() {
    let Pair { mut server, mut client, given } = request(SslVersion::TLS1_2);
    assert_eq!((client.wire().packets, *given.lock().unwrap()), (2, 1));
    assert_eq!(receive(&mut server).0, REQUEST);
    assert!(!server.take_held());
    answer(&mut server);
    assert_eq!(client.read(), (RESPONSE.to_vec(), true));
    assert_eq!(client.wire().packets, 3);
}

#[test]
fn what_comes_octet_by_octet_is_understood() {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let Pair { mut server, mut client, given } = pair(version);
        let mut received = Vec::new();
        let mut asked = false;
        while received != REQUEST {
            client = client.shake_hands();
            if let (Client::Through(stream), false) = (&mut client, asked) {
                stream.write_all(REQUEST).unwrap();
                asked = true;
            }
            let octets = std::mem::take(&mut client.wire().unsent);
            for octet in octets {
                client.wire().unsent.push(octet);
                client.wire().send(1);
                received.extend(receive(&mut server).0);
            }
        }
        answer(&mut server);
        assert_eq!(client.read(), (RESPONSE.to_vec(), true));
        assert!(*given.lock().unwrap() > 0);
    }
}

#[test]
fn a_full_socket_loses_nothing() {
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let Pair { mut server, mut client, given } = pair(version);
        let packets = fill(&server);
        client.wire().send(1 << 16);
        receive(&mut server);
        assert!(!server.is_flushed() && !server.flush().unwrap());
        empty(&mut client, packets);
        assert!(server.flush().unwrap() && server.is_flushed());
        client = client.shake_hands();

        // The end of the handshake, with a request where it can have one.
        let packets = fill(&server);
        if version == SslVersion::TLS1_3 {
            client.stream().write_all(REQUEST).unwrap();
        }
        client.wire().send(1 << 16);
        let received = receive(&mut server).0;
        assert_eq!(received, if version == SslVersion::TLS1_3 { REQUEST } else { b"" });
        assert!(!server.flush().unwrap() && !server.is_flushed());
        assert_eq!(server.send_last(RESPONSE).unwrap(), None, "it takes nothing");
        assert!(server.conclude(), "behind what waits");
        assert!(!server.flush().unwrap());
        empty(&mut client, packets);
        assert!(server.flush().unwrap() && server.is_flushed());
        client = client.shake_hands();
        assert_eq!(client.read(), (Vec::new(), true));
        assert!(*given.lock().unwrap() > 0);
    }
}

#[test]
fn who_says_something_else_is_told_so() {
    let (ours, theirs) = wires();
    let mut server = served(ours);
    // A message that only servers send.
    send(theirs.as_raw_fd(), b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", MsgFlags::empty()).unwrap();
    server.receive(&mut [0; 100]).unwrap_err();
    assert!(server.has_fault());
    server.finish_sending();
    let mut alert = [0; 100];
    let count = recv(theirs.as_raw_fd(), &mut alert, MsgFlags::MSG_DONTWAIT).unwrap();
    // RFC 8446 §6: an alert that is fatal.
    assert_eq!((count, alert[0], alert[5]), (7, 21, 2));
}

#[test]
fn a_client_that_goes_is_no_failed_handshake_and_what_it_has_sent_is_read() {
    let Pair { mut server, mut client, .. } = pair(SslVersion::TLS1_3);
    client.wire().send(1 << 16);
    receive(&mut server);
    drop(client);
    server.forget_edges();
    server.saw(crate::net::edges::ENDED);
    assert!(!matches!(server.receive(&mut [0; 100]), Ok(Received::Octets(_) | Received::WouldBlock)));
    assert!(!server.has_fault());

    let Pair { mut server, client, .. } = request(SslVersion::TLS1_3);
    drop(client);
    let mut request = [0; 100];
    server.forget_edges();
    assert_eq!(server.receive(&mut request).unwrap(), Received::Octets(REQUEST.len()));
    assert!(server.flush().is_err() || server.send(RESPONSE).is_err());
}

/// As without TLS, and never the records themselves.
#[test]
fn what_a_client_has_sent_can_be_read_when_it_takes_nothing_any_more() {
    for held in [true, false] {
        let Pair { mut server, mut client, .. } = request(SslVersion::TLS1_3);
        receive(&mut server);
        if !held {
            assert!(server.flush().unwrap());
        }
        client.stream().write_all(b"more").unwrap();
        client.wire().send(1 << 16);
        drop(client);
        assert!(server.send(RESPONSE).unwrap_err().raw_os_error().is_some());
        let failure = server.send(RESPONSE).unwrap_err();
        assert_eq!(failure.raw_os_error(), Some(Errno::EPIPE as i32));
        server.forget_edges();
        assert!(server.has_unread());
        let mut octets = [0; 100];
        assert_eq!(server.receive(&mut octets).unwrap(), Received::Octets(4));
        assert_eq!(&octets[..4], b"more");
        server.forget_edges();
        assert!(!matches!(server.receive(&mut octets), Ok(Received::Octets(_))));
    }
}
