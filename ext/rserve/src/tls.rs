//! `Rserve::Native::TlsContext`, what a TLS listener offers, and `Rserve::Native::TlsStream`, a TLS connection that the
//! application took away. Their Ruby halves are in `lib/rserve/mini_ssl/`.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::sync::Arc;

use magnus::value::ReprValue;
use magnus::{
    Class, Error, ExceptionClass, Module, Object, RArray, RHash, RModule, RString, Ruby, TypedData, Value,
    function, method, typed_data::Obj,
};
use rserve_core::net::stream::{Received, Stream};
use rserve_core::net::tls::context::{Identity, SessionCache};
use rserve_core::net::tls::{Context, Options, Pem, Tickets};

use crate::settings::{flag, get};
use crate::vm::error;
use crate::vm::text;

/// See the module.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::TlsContext", free_immediately)]
pub(crate) struct TlsContext {
    context: Arc<Context>,
}

impl magnus::DataTypeFunctions for TlsContext {}

impl TlsContext {
    fn new(ruby: &Ruby, settings: RHash) -> Result<Self, Error> {
        let options = options(ruby, settings)?;
        let context = Context::new(options).map_err(|failure| refused(ruby, &failure))?;
        Ok(Self { context: Arc::new(context) })
    }

    pub(crate) fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    /// Reads the files again; raises, and changes nothing, when they are of no use.
    fn reload(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        this.context.reload().map_err(|failure| refused(ruby, &failure))
    }

    fn expired(ruby: &Ruby, this: &Self) -> Result<RArray, Error> {
        let expired = this.context.expired().map_err(|failure| refused(ruby, &failure))?;
        Ok(ruby.ary_from_iter(expired))
    }

    fn files(ruby: &Ruby, this: &Self) -> RArray {
        ruby.ary_from_iter(this.context.files().into_iter().map(|path| path.to_string_lossy().into_owned()))
    }
}

/// What the clients of all TLS listeners resume their sessions with.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::TlsTickets", free_immediately)]
pub(crate) struct TlsTickets {
    tickets: Arc<Tickets>,
}

impl magnus::DataTypeFunctions for TlsTickets {}

impl TlsTickets {
    fn new(ruby: &Ruby) -> Result<Self, Error> {
        let tickets = Tickets::new().map_err(|failure| error::system(ruby, &failure))?;
        Ok(Self { tickets: Arc::new(tickets) })
    }

    /// Those that an earlier incarnation has left to this program; `nil` when it was something else.
    fn adopt(fd: i32) -> Option<Self> {
        Tickets::adopt(fd).ok().map(|tickets| Self { tickets: Arc::new(tickets) })
    }

    fn fileno(&self) -> i32 {
        self.tickets.as_fd().as_raw_fd()
    }
}

fn options(ruby: &Ruby, settings: RHash) -> Result<Options, Error> {
    let mut identities = Vec::new();
    for entry in get::<RArray>(settings, "identities")?.unwrap_or_else(|| ruby.ary_new()) {
        let entry = RHash::try_convert_hash(ruby, entry)?;
        let (Some(certificate), Some(key)) = (pem(entry, "cert", "cert_pem")?, pem(entry, "key", "key_pem")?)
        else {
            return Err(Error::new(ssl_error(ruby)?, "a certificate needs a key, and a key a certificate"));
        };
        identities.push(Identity { certificate, key, key_password: get(entry, "key_password")? });
    }
    let session_cache = match flag(settings, "session_cache")? {
        false => SessionCache::Off,
        true => SessionCache::On {
            size: get(settings, "session_cache_size")?,
            timeout: get(settings, "session_timeout")?,
        },
    };
    Ok(Options {
        identities,
        ca: get::<String>(settings, "ca")?.map(Into::into),
        verify_peer: flag(settings, "verify_peer")?,
        require_certificate: flag(settings, "require_certificate")?,
        verification_flags: get(settings, "verification_flags")?.unwrap_or(0),
        cipher_filter: get(settings, "cipher_filter")?,
        ciphersuites: get(settings, "ciphersuites")?,
        no_tlsv1: flag(settings, "no_tlsv1")?,
        no_tlsv1_1: flag(settings, "no_tlsv1_1")?,
        session_cache,
        tickets: get::<Obj<TlsTickets>>(settings, "tickets")?.map(|tickets| Arc::clone(&tickets.tickets)),
    })
}

trait ToHash: Sized {
    fn try_convert_hash(ruby: &Ruby, value: Value) -> Result<Self, Error>;
}

impl ToHash for RHash {
    fn try_convert_hash(ruby: &Ruby, value: Value) -> Result<Self, Error> {
        RHash::from_value(value).ok_or_else(|| error::bug(ruby, "an identity is no Hash"))
    }
}

fn pem(entry: RHash, file: &str, text: &str) -> Result<Option<Pem>, Error> {
    if let Some(path) = get::<String>(entry, file)? {
        return Ok(Some(Pem::File(path.into())));
    }
    Ok(get::<String>(entry, text)?.map(|text| Pem::Text(text.into_bytes())))
}

fn ssl_error(ruby: &Ruby) -> Result<ExceptionClass, Error> {
    let rserve = ruby.class_object().const_get::<_, RModule>("Rserve")?;
    rserve.const_get::<_, RModule>("MiniSSL")?.const_get("SSLError")
}

fn refused(ruby: &Ruby, failure: &rserve_core::net::tls::context::Error) -> Error {
    match ssl_error(ruby) {
        Ok(class) => Error::new(class, failure.to_string()),
        Err(error) => error,
    }
}

/// See the module. Nothing here waits: the caller waits by the descriptor.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::TlsStream", free_immediately)]
pub(crate) struct TlsStream {
    stream: RefCell<Option<Stream>>,
}

impl magnus::DataTypeFunctions for TlsStream {}

impl TlsStream {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream: RefCell::new(Some(stream)) }
    }

    fn with<T>(
        ruby: &Ruby,
        this: &Self,
        act: impl FnOnce(&mut Stream) -> std::io::Result<T>,
    ) -> Result<T, Error> {
        // The exception is made when nobody has the stream: making it may let another thread run.
        let outcome = this.stream.borrow_mut().as_mut().map(act);
        match outcome {
            Some(outcome) => outcome.map_err(|failure| error::system(ruby, &failure)),
            None => Err(Error::new(ruby.exception_io_error(), "closed stream")),
        }
    }

    /// A second descriptor of the socket, to wait with and to ask for addresses.
    fn duplicate(ruby: &Ruby, this: &Self) -> Result<i32, Error> {
        Self::with(ruby, this, |stream| socket(stream)?.try_clone_to_owned().map(IntoRawFd::into_raw_fd))
    }

    /// Up to `most` octets of plain text; `:wait_readable` when there are none yet, `nil` at the end.
    fn receive(ruby: &Ruby, this: Obj<Self>, most: usize) -> Result<Value, Error> {
        let mut buffer = vec![0; most.clamp(1, 64 * 1024)];
        let received = Self::with(ruby, &this, |stream| {
            stream.forget_edges();
            stream.receive(&mut buffer)
        })?;
        Ok(match received {
            Received::Octets(count) => ruby.str_from_slice(&buffer[..count]).as_value(),
            Received::WouldBlock => ruby.to_symbol("wait_readable").as_value(),
            Received::Eof => ruby.qnil().as_value(),
        })
    }

    /// How many octets were taken; `:wait_writable` for none.
    fn send(ruby: &Ruby, this: Obj<Self>, octets: RString) -> Result<Value, Error> {
        let sent = Self::with(ruby, &this, |stream| text::with_octets(octets, |octets| stream.send(octets)))?;
        Ok(match sent {
            Some(count) => ruby.integer_from_u64(count as u64).as_value(),
            None => ruby.to_symbol("wait_writable").as_value(),
        })
    }

    /// Whether all that was taken is out; tries to send it.
    fn flush(ruby: &Ruby, this: &Self) -> Result<bool, Error> {
        Self::with(ruby, this, Stream::flush)
    }

    fn close(&self) {
        if let Some(mut stream) = self.stream.take() {
            stream.finish();
        }
    }

    fn is_closed(&self) -> bool {
        self.stream.borrow().is_none()
    }

    /// The client's certificate in DER.
    fn peer_certificate(ruby: &Ruby, this: &Self) -> Result<Option<RString>, Error> {
        let der = Self::with(ruby, this, |stream| Ok(stream.peer_certificate()))?;
        Ok(der.map(|der| ruby.str_from_slice(&der)))
    }

    fn version(ruby: &Ruby, this: &Self) -> Result<Option<&'static str>, Error> {
        Self::with(ruby, this, |stream| Ok(stream.tls_version()))
    }

    fn fileno(ruby: &Ruby, this: &Self) -> Result<i32, Error> {
        Self::with(ruby, this, |stream| Ok(socket(stream)?.as_raw_fd()))
    }
}

fn socket(stream: &Stream) -> std::io::Result<BorrowedFd<'_>> {
    stream.socket().ok_or_else(|| std::io::ErrorKind::NotConnected.into())
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let context = native.define_class("TlsContext", ruby.class_object())?;
    context.undef_default_alloc_func();
    context.define_singleton_method("new", function!(TlsContext::new, 1))?;
    context.define_method("reload", method!(TlsContext::reload, 0))?;
    context.define_method("expired", method!(TlsContext::expired, 0))?;
    context.define_method("files", method!(TlsContext::files, 0))?;
    let tickets = native.define_class("TlsTickets", ruby.class_object())?;
    tickets.undef_default_alloc_func();
    tickets.define_singleton_method("new", function!(TlsTickets::new, 0))?;
    tickets.define_singleton_method("adopt", function!(TlsTickets::adopt, 1))?;
    tickets.define_method("fileno", method!(TlsTickets::fileno, 0))?;
    let stream = native.define_class("TlsStream", ruby.class_object())?;
    stream.undef_default_alloc_func();
    stream.define_method("duplicate", method!(TlsStream::duplicate, 0))?;
    stream.define_method("receive", method!(TlsStream::receive, 1))?;
    stream.define_method("send", method!(TlsStream::send, 1))?;
    stream.define_method("flush", method!(TlsStream::flush, 0))?;
    stream.define_method("close", method!(TlsStream::close, 0))?;
    stream.define_method("closed?", method!(TlsStream::is_closed, 0))?;
    stream.define_method("peer_certificate", method!(TlsStream::peer_certificate, 0))?;
    stream.define_method("version", method!(TlsStream::version, 0))?;
    stream.define_method("fileno", method!(TlsStream::fileno, 0))?;
    native.const_set("OPENSSL_VERSION", rserve_core::net::tls::compiled_version())?;
    native.const_set("OPENSSL_LIBRARY_VERSION", rserve_core::net::tls::library_version())?;
    Ok(())
}
