//! The Rack environment of one request.
//!
//! The server's Ruby half gives one prototype per listener with every key that is always there; a request's
//! environment is a copy of it with the values that differ. Names of fields are looked up in a bounded table of frozen
//! strings; values are fresh, unfrozen and ASCII-8BIT, as Puma's are.

use std::net::IpAddr;
use std::sync::OnceLock;

use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::value::Opaque;
use magnus::{Error, RHash, RString, Ruby, Value, gc};
use rb_sys::VALUE;
use rserve_core::config::compat::Compat;
use rserve_core::connection::Connection;
use rserve_core::connection::body::Body;
use rserve_core::connection::origin;
use rserve_core::connection::request::Request;
use rserve_core::server::recent::Recent;
use rserve_http1::{Field, Framing, Head, Version, cgi, decimal};

use crate::core::prototype::{Own, Prototype};
use crate::core::request_timeout;
use crate::vm::marked::Marked;
use crate::vm::text;

/// Names of fields that are remembered, however many others clients invent. One that is not known costs 0.5 µs more than one
/// that is (20 of them 10 µs), all but a tenth of it for making the String: as without a table.
const REMEMBERED_NAMES: usize = 128;

/// Names longer than this are not worth remembering.
const REMEMBERED_LENGTH: usize = 48;

/// Where `REMOTE_ADDR` comes from (`set_remote_address`).
#[derive(Clone, Debug, Default)]
pub(crate) enum RemoteAddress {
    /// The socket's peer.
    #[default]
    Socket,
    /// Always this.
    Value(String),
    /// The first token of this environment entry, else the socket's peer.
    Header(String),
}

/// Builds environments; lives in the server object, which marks it.
pub(crate) struct EnvBuilder {
    prototypes: Marked<Vec<Prototype>>,
    /// Environment keys by the names of fields as clients spell them.
    names: Marked<Recent<Opaque<Value>>>,
    remote_address: RemoteAddress,
    /// An IPv4 address that came by an IPv6 socket is given as IPv4 (Puma 8, whose default listener is one).
    unmaps: bool,
    /// `rack.hijack` is a Proc, not the same object as `puma.socket`.
    hijack_proc: bool,
    /// `puma.underscore_headers` (Puma 9).
    tells_underscores: bool,
    /// A request that does not say when it began is given when its head came.
    stamps: bool,
}

/// What the caller adds to a request's environment.
pub(crate) struct Extras {
    /// `rack.hijack` and `puma.socket`.
    pub(crate) client: Value,
    /// `rack.input`, when there is a body.
    pub(crate) input: Option<Value>,
    /// Octets of body, however they were framed, if all are there.
    pub(crate) length: Option<u64>,
    /// `rack.early_hints`, when enabled.
    pub(crate) early_hints: Option<Value>,
    /// `puma.mark_as_io_bound`, when it has any effect.
    pub(crate) mark_as_io_bound: Option<Value>,
    /// By which the server knows the request, where there is a time-out.
    pub(crate) serial: Option<u64>,
}

macro_rules! keys {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Frozen strings, of which each exists for as long as the process.
        struct Keys { $($name: Opaque<Value>),* }
        impl Keys {
            fn new(ruby: &Ruby) -> Self {
                let key = |text| {
                    let key = text::interned(ruby, text);
                    ruby.gc_register_mark_object(key);
                    key.into()
                };
                Self { $($name: key($text)),* }
            }
        }
    };
}

keys! {
    query_string = "QUERY_STRING",
    fragment = "FRAGMENT",
    server_port = "SERVER_PORT",
    remote_addr = "REMOTE_ADDR",
    http_host = "HTTP_HOST",
    content_length = "CONTENT_LENGTH",
    url_scheme = "rack.url_scheme",
    input = "rack.input",
    after_reply = "rack.after_reply",
    response_finished = "rack.response_finished",
    early_hints = "rack.early_hints",
    mark_as_io_bound = "puma.mark_as_io_bound",
    body_wait = "puma.request_body_wait",
    underscore_headers = "puma.underscore_headers",
    hijack = "rack.hijack",
    is_hijack = "rack.hijack?",
    request_method = "REQUEST_METHOD",
    accept_encoding = "HTTP_ACCEPT_ENCODING",
    range = "HTTP_RANGE",
    if_range = "HTTP_IF_RANGE",
    if_match = "HTTP_IF_MATCH",
    if_none_match = "HTTP_IF_NONE_MATCH",
    if_modified_since = "HTTP_IF_MODIFIED_SINCE",
    if_unmodified_since = "HTTP_IF_UNMODIFIED_SINCE",
    https = "https",
    port_https = "443",
}

static KEYS: OnceLock<Keys> = OnceLock::new();

/// To be called once, while there is one thread.
pub(crate) fn init(ruby: &Ruby) {
    KEYS.get_or_init(|| Keys::new(ruby));
}

fn keys() -> &'static Keys {
    KEYS.get().expect("bug in rserve: `env::init` was not called")
}

/// Of what the application asked for after its response: `rack.after_reply` and `rack.response_finished`.
pub(crate) fn keys_of_callbacks(ruby: &Ruby) -> (VALUE, VALUE) {
    let keys = keys();
    (ruby.get_inner(keys.after_reply).as_raw(), ruby.get_inner(keys.response_finished).as_raw())
}

/// The String that `env`, which the application may have changed, has for `key`.
fn string(ruby: &Ruby, env: RHash, key: Opaque<Value>) -> Option<RString> {
    // SAFETY: `env` is a Hash, the key a frozen string of exact class: nothing is called that could raise.
    RString::from_value(unsafe {
        Value::from_raw(rb_sys::rb_hash_lookup(env.as_raw(), ruby.get_inner(key).as_raw()))
    })
}

/// What the client of `env` says of codings.
pub(crate) fn accepted(ruby: &Ruby, env: RHash) -> Option<RString> {
    string(ruby, env, keys().accept_encoding)
}

/// Names in lower case, and values.
type Asked = Vec<(&'static [u8], Vec<u8>)>;

/// Method of the request of `env`, and its fields that are about parts and states of a content.
pub(crate) fn question(ruby: &Ruby, env: RHash) -> (Vec<u8>, Asked) {
    let keys = keys();
    let copy = |key| string(ruby, env, key).map(text::copy);
    let fields: [(&'static [u8], _); 6] = [
        (b"range", keys.range),
        (b"if-range", keys.if_range),
        (b"if-match", keys.if_match),
        (b"if-none-match", keys.if_none_match),
        (b"if-modified-since", keys.if_modified_since),
        (b"if-unmodified-since", keys.if_unmodified_since),
    ];
    let fields = fields.into_iter().filter_map(|(name, key)| Some((name, copy(key)?))).collect();
    (copy(keys.request_method).unwrap_or_default(), fields)
}

impl EnvBuilder {
    pub(crate) fn new(remote_address: RemoteAddress, compat: Compat, stamps: bool) -> Self {
        Self {
            prototypes: Marked::new(Vec::new()),
            names: Marked::new(Recent::new(REMEMBERED_NAMES)),
            remote_address,
            unmaps: compat.unmaps_addresses(),
            hijack_proc: compat.hijacks_by_proc(),
            tells_underscores: compat.tells_underscores(),
            stamps,
        }
    }

    /// Connections of the next listener get environments like `prototype`.
    pub(crate) fn add_prototype(&self, prototype: RHash) -> Result<(), Error> {
        let prototype = Prototype::new(&Ruby::get_with(prototype), prototype)?;
        self.prototypes.with(|prototypes| prototypes.push(prototype));
        Ok(())
    }

    pub(crate) fn mark(&self, marker: &gc::Marker) {
        self.prototypes.mark(|prototypes| prototypes.iter().for_each(|prototype| prototype.mark(marker)));
        self.names.mark(|names| names.values().for_each(|name| marker.mark(name)));
    }

    /// The environment of `request`.
    pub(crate) fn build(
        &self,
        ruby: &Ruby,
        connection: &Connection,
        request: &Request,
        extras: &Extras,
    ) -> Result<RHash, Error> {
        let listener = connection.listener();
        let Some(prototype) = self.prototypes.with(|prototypes| prototypes.get(listener).copied()) else {
            return Err(crate::vm::error::bug(ruby, "a connection without listener"));
        };
        let mut env = rb_sys::Qnil as VALUE;
        // Raw calls, because each of magnus' own would protect itself: 3 µs more for a small request. Everything that
        // these own is borrowed or on the stack without needing to be dropped.
        magnus::rb_sys::protect(|| {
            // SAFETY: called under protect with valid values.
            unsafe {
                let own = self.own(ruby, &prototype, connection, request, extras);
                env = prototype.copy(ruby, &own);
                self.fill(ruby, env, request, extras);
            }
            rb_sys::Qnil as VALUE
        })?;
        // SAFETY: a copy of a Hash is a Hash.
        let env = unsafe { Value::from_raw(env) };
        RHash::from_value(env).ok_or_else(|| crate::vm::error::bug(ruby, "the environment is no Hash"))
    }

    /// # Safety
    ///
    /// As [`EnvBuilder::fill`].
    unsafe fn own(
        &self,
        ruby: &Ruby,
        prototype: &Prototype,
        connection: &Connection,
        request: &Request,
        extras: &Extras,
    ) -> Own {
        let octets = request.octets.as_slice();
        let head = &request.head;
        // SAFETY: the caller's promise.
        let new = |octets: &[u8]| unsafe { text::binary(octets) };
        let path = new(head.path.of(octets));
        let protocol = new(head.protocol.of(octets));
        let ip = request.client.unwrap_or_else(|| connection.peer().ip());
        let socket = extras.client.as_raw();
        let host = head.fields.iter().find(|field| is_host(field, octets));
        let host = host.map(|field| field.value.of(octets));
        let nil = rb_sys::Qnil as VALUE;
        let http_host = host.map_or(nil, new);
        let (name, port) = origin::host_and_port(head.host.map(|host| host.of(octets)));
        // SAFETY: the caller's promise; plain constructors, and `socket` responds to `method` as every object.
        unsafe {
            Own {
                socket,
                hijack: if self.hijack_proc { hijack_proc(socket) } else { socket },
                after_reply: rb_sys::rb_ary_new(),
                response_finished: rb_sys::rb_ary_new(),
                request_uri: new(head.target.of(octets)),
                request_path: path,
                path_info: path,
                // One object where both are the same, as Puma's.
                server_name: if host == Some(name) { http_host } else { new(name) },
                server_port: port.map_or_else(|| prototype.server_port(ruby), new),
                remote_addr: self.remote_address(ip),
                http_host,
                request_method: new(head.method.of(octets)),
                server_protocol: protocol,
                http_version: protocol,
                timeout: extras.serial.map_or(nil, |serial| request_timeout::object(ruby, serial)),
                request_start: match self.stamps && !head.fields.iter().any(|field| says_start(field, octets))
                {
                    true => new(request.start(&mut [0; 32])),
                    false => nil,
                },
            }
        }
    }

    /// # Safety
    ///
    /// `env` is a Hash on the caller's stack; to be called under `protect`. It may unwind by longjmp, so it holds
    /// nothing that needs dropping across a Ruby call.
    unsafe fn fill(&self, ruby: &Ruby, env: VALUE, request: &Request, extras: &Extras) {
        let octets = request.octets.as_slice();
        let head = &request.head;
        let keys = keys();
        let key = |key: Opaque<Value>| ruby.get_inner(key).as_raw();
        let set = |name: Opaque<Value>, value: VALUE| {
            // SAFETY: `env` is a Hash; keys are frozen strings, which it need not copy.
            unsafe { rb_sys::rb_hash_aset(env, key(name), value) };
        };
        // SAFETY: the caller's promise.
        let new = |octets: &[u8]| unsafe { text::binary(octets) };

        // What most requests have in common is in the prototype.
        if let Some(query) = head.query {
            set(keys.query_string, new(query.of(octets)));
        }
        if let Some(fragment) = head.fragment {
            set(keys.fragment, new(fragment.of(octets)));
        }
        let mut https = false;
        let mut host = false;
        for field in &head.fields {
            if is_host(field, octets) {
                host = true;
                continue;
            }
            if !field.visible {
                continue;
            }
            let name = field.name.of(octets);
            let value = field.value.of(octets);
            https |= origin::says_https(name, value);
            // SAFETY: the caller's promise; `env` is a Hash, `name` a frozen string.
            unsafe {
                let name = self.name(ruby, name);
                if field.repeated {
                    let before = rb_sys::rb_hash_aref(env, name);
                    if before != rb_sys::Qnil as VALUE {
                        rb_sys::rb_str_cat(before, c", ".as_ptr(), 2);
                        rb_sys::rb_str_cat(before, value.as_ptr().cast(), value.len() as _);
                        continue;
                    }
                }
                rb_sys::rb_hash_aset(env, name, new(value));
            }
        }
        if !host {
            // SAFETY: as in `set`.
            unsafe { rb_sys::rb_hash_delete(env, key(keys.http_host)) };
        }
        if head.version == Version::Http2 {
            // There is no socket of its own to be had.
            set(keys.is_hijack, rb_sys::Qfalse as VALUE);
            // SAFETY: as in `set`.
            unsafe { rb_sys::rb_hash_delete(env, key(keys.hijack)) };
        }
        if https {
            // SAFETY: the caller's promise.
            unsafe { self.forwarded_https(ruby, env, request) };
        }
        if let RemoteAddress::Header(name) = &self.remote_address {
            // SAFETY: the caller's promise.
            unsafe { remote_address_of_header(env, key(keys.remote_addr), name) };
        }

        if let (Framing::Chunked, Some(length)) = (head.framing, extras.length) {
            set(keys.content_length, new(decimal::digits(length, &mut [0; 20])));
        }
        if let Some(input) = extras.input {
            set(keys.input, input.as_raw());
        }
        let wait = request.ready_at.saturating_duration_since(request.head_at);
        if !wait.is_zero() {
            // SAFETY: a plain constructor.
            set(keys.body_wait, unsafe { rb_sys::rb_float_new(wait.as_secs_f64() * 1e3) });
        }
        if self.tells_underscores && head.has_underscores {
            // SAFETY: the caller's promise.
            set(keys.underscore_headers, unsafe { underscore_names(head, octets) });
        }
        if let Some(hints) = extras.early_hints {
            set(keys.early_hints, hints.as_raw());
        }
        if let Some(mark) = extras.mark_as_io_bound {
            set(keys.mark_as_io_bound, mark.as_raw());
        }
    }

    /// The frozen environment key of a field.
    ///
    /// # Safety
    ///
    /// As [`text::binary`].
    unsafe fn name(&self, ruby: &Ruby, name: &[u8]) -> VALUE {
        if let Some(known) = self.names.with(|names| names.get(name)) {
            return ruby.get_inner(known).as_raw();
        }
        let mut buffer = [0u8; 320];
        let spelled = spell(name, &mut buffer);
        // SAFETY: the caller's promise; `spelled` is valid for its length, and the interned string is copied from it.
        let key = unsafe { rb_sys::rb_interned_str(spelled.as_ptr().cast(), spelled.len() as _) };
        if name.len() <= REMEMBERED_LENGTH {
            // SAFETY: just made.
            let value: Opaque<Value> = unsafe { Value::from_raw(key) }.into();
            self.names.with(|names| names.offer(name, value));
        }
        key
    }

    /// A proxy's word for the scheme, and for the port of a `Host` without one (Puma, `normalize_env`).
    ///
    /// # Safety
    ///
    /// As [`EnvBuilder::fill`].
    unsafe fn forwarded_https(&self, ruby: &Ruby, env: VALUE, request: &Request) {
        let keys = keys();
        let set = |name: Opaque<Value>, value: Opaque<Value>| {
            // SAFETY: as in `fill`.
            unsafe {
                rb_sys::rb_hash_aset(env, ruby.get_inner(name).as_raw(), ruby.get_inner(value).as_raw())
            };
        };
        set(keys.url_scheme, keys.https);
        let host = request.head.host.map(|host| host.of(&request.octets));
        if origin::host_and_port(host).1.is_none() {
            set(keys.server_port, keys.port_https);
        }
    }

    /// # Safety
    ///
    /// As [`text::binary`].
    unsafe fn remote_address(&self, ip: IpAddr) -> VALUE {
        let mut buffer = [0u8; 48];
        let octets = match &self.remote_address {
            RemoteAddress::Value(value) => value.as_bytes(),
            _ => cgi::address(if self.unmaps { ip.to_canonical() } else { ip }, &mut buffer),
        };
        // SAFETY: the caller's promise.
        unsafe { text::binary(octets) }
    }
}

/// `REMOTE_ADDR` of a proxy's field, if it came: its first token.
///
/// # Safety
///
/// As [`EnvBuilder::fill`].
unsafe fn remote_address_of_header(env: VALUE, key: VALUE, header: &str) {
    // SAFETY: the caller's promise; `env` is a Hash, and `value` a String in it, of which a part is copied by its place: its octets may move
    // when Ruby allocates.
    unsafe {
        let header = rb_sys::rb_interned_str(header.as_ptr().cast(), header.len() as _);
        let value = rb_sys::rb_hash_aref(env, header);
        let Some(string) = RString::from_value(Value::from_raw(value)) else { return };
        if let Some((start, length)) = text::with_octets(string, origin::first_token) {
            rb_sys::rb_hash_aset(env, key, rb_sys::rb_str_subseq(value, start as _, length as _));
        }
    }
}

/// `rack.hijack` of Puma 7 and newer: the client's `call` as a Proc.
///
/// # Safety
///
/// As [`EnvBuilder::fill`].
unsafe fn hijack_proc(client: VALUE) -> VALUE {
    // SAFETY: `client` responds to `method` as every object.
    unsafe {
        let call = rb_sys::rb_id2sym(rb_sys::rb_intern2(c"call".as_ptr(), 4));
        let call = rb_sys::rb_obj_method(client, call);
        rb_sys::rb_funcallv(call, rb_sys::rb_intern2(c"to_proc".as_ptr(), 7), 0, std::ptr::null())
    }
}

/// The names of fields that have an underscore, in upper case, once each.
///
/// # Safety
///
/// As [`EnvBuilder::fill`].
unsafe fn underscore_names(head: &Head, octets: &[u8]) -> VALUE {
    // SAFETY: the caller's promise; the array is on the stack.
    unsafe {
        let names = rb_sys::rb_ary_new();
        for name in head.fields.iter().map(|field| field.name.of(octets)).filter(|name| name.contains(&b'_'))
        {
            let mut buffer = [0u8; 320];
            let upper = &mut buffer[..name.len()];
            upper.copy_from_slice(name);
            upper.make_ascii_uppercase();
            rb_sys::rb_ary_push(names, text::binary(upper));
        }
        rb_sys::rb_funcallv(names, rb_sys::rb_intern2(c"uniq!".as_ptr(), 5), 0, std::ptr::null());
        names
    }
}

/// Whether this is the `Host` that has its place in the prototype.
fn is_host(field: &Field, octets: &[u8]) -> bool {
    field.visible && !field.repeated && field.name.of(octets).eq_ignore_ascii_case(b"host")
}

/// Whether it becomes `HTTP_X_REQUEST_START`.
fn says_start(field: &Field, octets: &[u8]) -> bool {
    let name = field.name.of(octets);
    let spelled =
        |(octet, start): (&u8, &u8)| octet.eq_ignore_ascii_case(start) || (*octet, *start) == (b'_', b'-');
    field.visible && name.len() == 15 && name.iter().zip(b"x-request-start").all(spelled)
}

/// [`cgi::env_name`] into a buffer on the stack, which a longjmp may abandon; a name has at most 256 octets.
fn spell<'a>(name: &[u8], buffer: &'a mut [u8; 320]) -> &'a [u8] {
    let mut spelled = Vec::with_capacity(buffer.len());
    cgi::env_name(name, &mut spelled);
    let len = spelled.len().min(buffer.len());
    buffer[..len].copy_from_slice(&spelled[..len]);
    &buffer[..len]
}

/// `rack.input` of a body that came: `StringIO` or an unlinked, unnamed `File`.
pub(crate) fn input(ruby: &Ruby, body: &mut Body) -> Result<Option<Value>, Error> {
    use std::os::fd::IntoRawFd;
    match std::mem::take(body) {
        Body::Empty | Body::Streamed => Ok(None),
        Body::Memory(octets) => crate::core::input::string_io(ruby, &octets).map(Some),
        Body::File { file, .. } => crate::core::input::file(ruby, file.into_raw_fd()).map(Some),
    }
}
