//! `Rserve::Client`: what the application may do with the connection behind its request (`rack.hijack`,
//! `puma.socket`, early hints). Its Ruby half is `lib/rserve/server/client.rb`.

use std::cell::Cell;
use std::io::IoSlice;
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use magnus::Class;
use magnus::typed_data::{Obj, Writebarrier};
use magnus::value::{Opaque, ReprValue};
use magnus::{DataTypeFunctions, Error, Module, RModule, RString, Ruby, TypedData, Value, gc, method};
use rserve_core::connection::Connection;
use rserve_core::net::Peer;
use rserve_core::server::{IoBound, Server};

use crate::core::input;
use crate::core::writer::slot::WriterSlot;
use crate::tls::TlsStream;
use crate::vm::text;

/// A request's view of its connection; it outlives neither the server nor its own usefulness: once the response is
/// complete every method fails or does nothing.
#[derive(TypedData)]
#[magnus(class = "Rserve::Client", free_immediately, mark, wb_protected)]
pub(crate) struct Client {
    server: Arc<Server>,
    connection: Arc<Connection>,
    /// Whether the client may be sent interim responses.
    takes_interim: bool,
    env: Cell<Option<Opaque<Value>>>,
    /// `rack.input`, if it is a file that is to be closed after the request.
    input: Cell<Option<Opaque<Value>>>,
    /// Of a request whose body is read while it comes.
    upload: Cell<Option<u32>>,
    state: Cell<Progress>,
    /// Of the response, while an `each` makes its body.
    pub(crate) writer: WriterSlot,
    waits: Cell<Waits>,
}

/// Whether the request only waits for something (`env["puma.mark_as_io_bound"]`).
#[derive(Default)]
enum Waits {
    /// Nobody has said so.
    #[default]
    Unknown,
    Marked(#[expect(dead_code, reason = "it counts until it is dropped")] IoBound),
    /// The request is served.
    Over,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// The application has the request.
    Serving,
    /// The response has begun: nothing may come in between.
    Answering,
    /// The application has the socket.
    Hijacked,
    /// The response is out.
    Over,
}

impl DataTypeFunctions for Client {
    fn mark(&self, marker: &gc::Marker) {
        for value in [self.env.get(), self.input.get()].into_iter().flatten() {
            marker.mark(value);
        }
    }
}

impl Client {
    pub(crate) fn new(server: &Arc<Server>, connection: &Arc<Connection>, takes_interim: bool) -> Self {
        Self {
            server: Arc::clone(server),
            connection: Arc::clone(connection),
            takes_interim,
            env: Cell::new(None),
            input: Cell::new(None),
            upload: Cell::new(None),
            state: Cell::new(Progress::Serving),
            writer: WriterSlot::default(),
            waits: Cell::default(),
        }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The thread that served the request is done with it, and so with its body: nobody knows when the garbage collector
    /// would come for a file.
    pub(crate) fn settle(&self, ruby: &Ruby) -> Result<(), Error> {
        self.waits.set(Waits::Over);
        match self.input.take() {
            Some(file) if !self.is_hijacked() => {
                ruby.get_inner(file).funcall::<_, _, Value>("close", ()).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// `env["puma.mark_as_io_bound"]`: until the request is served, another thread may take its thread's place.
    fn mark_as_io_bound(&self) {
        let waits = match self.waits.take() {
            Waits::Unknown => Waits::Marked(self.server.mark_io_bound()),
            known => known,
        };
        self.waits.set(waits);
    }

    pub(crate) fn set_env(this: Obj<Self>, env: Value) {
        this.env.set(Some(env.into()));
        this.writebarrier(env);
    }

    /// The body of the request is in a file.
    pub(crate) fn set_input(this: Obj<Self>, file: Value) {
        this.input.set(Some(file.into()));
        this.writebarrier(file);
    }

    /// The body of the request of this serial is read while it comes.
    pub(crate) fn leave_body(&self, serial: u32) {
        self.upload.set(Some(serial));
    }

    /// Some of a body that is read while it comes, at most `most` octets; `nil` when there is no more.
    fn receive_body(ruby: &Ruby, this: Obj<Self>, most: usize) -> Result<Value, Error> {
        let Some(serial) = this.upload.get() else {
            return Err(Error::new(ruby.exception_io_error(), "closed stream"));
        };
        let may_ask = this.state.get() == Progress::Serving;
        input::receive(ruby, &this.server, &this.connection, serial, most, may_ask)
    }

    /// The application may read on after the request: it leaves the file to the garbage collector.
    pub(crate) fn keep_input(&self) {
        self.input.set(None);
    }

    /// The response's head is made.
    pub(crate) fn answer(&self) {
        if self.state.get() == Progress::Serving {
            self.state.set(Progress::Answering);
        }
    }

    /// The response is complete, or the server gave up on it.
    pub(crate) fn end(&self) {
        if self.state.get() != Progress::Hijacked {
            self.state.set(Progress::Over);
        }
        self.env.set(None);
    }

    pub(crate) fn is_hijacked(&self) -> bool {
        self.state.get() == Progress::Hijacked
    }

    fn env(ruby: &Ruby, this: &Self) -> Option<Value> {
        this.env.get().map(|env| ruby.get_inner(env))
    }

    fn serving(&self, ruby: &Ruby) -> Result<(), Error> {
        match self.state.get() {
            Progress::Serving => Ok(()),
            _ => Err(Error::new(ruby.exception_io_error(), "closed stream")),
        }
    }

    /// Takes the socket from the server: its descriptor or, with TLS, a stream, and the octets that were already read
    /// beyond the request.
    pub(crate) fn take_socket(ruby: &Ruby, this: &Self) -> Result<(Value, RString), Error> {
        this.serving(ruby)?;
        let Some((stream, rest)) = this.server.hijack(&this.connection) else {
            return Err(Error::new(ruby.exception_io_error(), "closed stream"));
        };
        this.state.set(Progress::Hijacked);
        let socket = match stream.into_fd() {
            Ok(fd) => ruby.integer_from_i64(fd.into_raw_fd().into()).as_value(),
            Err(stream) => ruby.obj_wrap(TlsStream::new(stream)).as_value(),
        };
        Ok((socket, ruby.str_from_slice(&rest)))
    }

    /// A second descriptor of the socket.
    fn duplicate_socket(ruby: &Ruby, this: &Self) -> Result<i32, Error> {
        this.serving(ruby)?;
        match this.server.duplicate_socket(&this.connection) {
            Ok(fd) => Ok(fd.into_raw_fd()),
            Err(error) => Err(crate::vm::error::system(ruby, &error)),
        }
    }

    fn is_unix(&self) -> bool {
        self.connection.peer() == Peer::Unix
    }

    /// The certificate that the client showed, in DER.
    fn peer_certificate(ruby: &Ruby, this: &Self) -> Option<RString> {
        this.server.peer_certificate(&this.connection).map(|der| ruby.str_from_slice(&der))
    }

    /// The version of TLS; `nil` without, and after the response.
    fn tls_version(&self) -> Option<&'static str> {
        self.server.tls_version(&self.connection)
    }

    fn listener(&self) -> usize {
        self.connection.listener()
    }

    /// Writes octets ahead of the response (early hints). Does nothing once the client is gone or answered, nor when it would
    /// take them for the response.
    fn write_ahead(&self, octets: RString) {
        if self.takes_interim && self.state.get() == Progress::Serving {
            let (server, connection) = (&self.server, &self.connection);
            text::with_octets(octets, |octets| {
                // A client that is gone shows when the response is sent.
                let _ = server.write(connection, &[IoSlice::new(octets)]);
            });
        }
    }
}

pub(crate) fn init(ruby: &Ruby, rserve: RModule) -> Result<(), Error> {
    let class = rserve.define_class("Client", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("env", method!(Client::env, 0))?;
    class.define_method("hijacked?", method!(Client::is_hijacked, 0))?;
    class.define_method("unix?", method!(Client::is_unix, 0))?;
    class.define_method("listener", method!(Client::listener, 0))?;
    class.define_private_method("mark_as_io_bound", method!(Client::mark_as_io_bound, 0))?;
    class.define_private_method("peer_certificate", method!(Client::peer_certificate, 0))?;
    class.define_private_method("tls_version", method!(Client::tls_version, 0))?;
    class.define_private_method("take_socket", method!(Client::take_socket, 0))?;
    class.define_private_method("duplicate_socket", method!(Client::duplicate_socket, 0))?;
    class.define_private_method("receive_body", method!(Client::receive_body, 1))?;
    class.define_private_method("write_ahead", method!(Client::write_ahead, 1))?;
    Ok(())
}
