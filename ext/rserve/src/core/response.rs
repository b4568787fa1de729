//! The application's `[status, headers, body]` as octets.

use std::cell::RefCell;
use std::ops::Range;
use std::os::raw::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Error, Integer, RArray, RHash, RString, Ruby, TryConvert, Value, r_hash::ForEach};
use rb_sys::VALUE;
use rserve_core::content::{Sent, StoredFile};
use rserve_http1::content::ranges::Part;
use rserve_http1::field_lines::{self, Change};
use rserve_http1::{
    ConnectionOptions, ResponseFacts, ResponsePlan, Spelling, TransferEncoding, Version, encode,
};

use crate::core::Core;
use crate::core::body_file::BodyFile;
use crate::core::checked::Whole;
use crate::core::client::Client;
use crate::core::writer::Writer;
use crate::vm::buffer;
use crate::vm::protect::Exit;
use crate::vm::text;

/// A body of strings up to this size goes out in one buffer with its head; a larger one is gathered.
const JOIN_LIMIT: usize = 16 * 1024;

/// Parts of a body that one gathering write takes; IOV_MAX is 1024.
const GATHER: usize = 512;

/// What the head says about a response, before its body is looked at.
pub(crate) struct Fields {
    /// The application's header lines, ready to be sent.
    pub(crate) lines: Vec<u8>,
    pub(crate) content_length: Option<u64>,
    pub(crate) transfer_encoding: TransferEncoding,
    /// Where in `lines` it says Transfer-Encoding, which not every client may be told.
    coding: Range<usize>,
    pub(crate) connection: ConnectionOptions,
    /// Where in `lines` it said Connection first, or their end once they have changed, and the name in its spelling.
    connection_at: usize,
    connection_name: Vec<u8>,
    /// It set a Date.
    date: bool,
    /// `X-Sendfile`, where the operator lets the application use it.
    pub(crate) sendfile: Option<Vec<u8>>,
    sends_files: bool,
    /// `rack.hijack`.
    pub(crate) hijack: Option<Value>,
    /// The name at hand. Ruby's own may change while a value becomes a String.
    name: Vec<u8>,
}

/// What is known of the request when its response is sent.
#[derive(Clone, Copy)]
pub(crate) struct ResponseContext {
    pub(crate) version: Version,
    pub(crate) head_request: bool,
    pub(crate) keep_alive: bool,
    /// If the connection is closed after it, what the client has yet to send is read for a while.
    pub(crate) linger: bool,
    /// The response has a Date, whether the application gave it one or not.
    pub(crate) dated: bool,
}

/// The body, by how it is sent.
pub(crate) enum Body {
    /// Nothing to send.
    Empty,
    /// An Array of Strings.
    Strings(RArray, u64),
    File(BodyFile),
    /// Parts of a file that the application has named, and what stands between them.
    Stored(StoredFile, Vec<Part>),
    /// All of it, to be coded.
    Whole(Box<Whole>),
    /// Responds to `each`.
    Each(Value),
    /// Responds to `call` only: a streaming body.
    Call(Value),
    /// `rack.hijack` in the headers, or a streaming body on an upgraded connection: called with the socket.
    Hijack(Value),
}

impl Fields {
    /// Reads the application's headers.
    ///
    /// # Errors
    ///
    /// The headers are no headers: the application's fault, and nothing has been sent.
    pub(crate) fn of(ruby: &Ruby, core: &Core, headers: Value, spelling: Spelling) -> Result<Self, Error> {
        let blank = Self { lines: buffer::take(), name: buffer::take(), ..Self::blank() };
        let fields = RefCell::new(Self { sends_files: core.sends_files(), ..blank });
        let add = |name: Value, value: Value| fields.borrow_mut().add(ruby, name, value, spelling);
        match RHash::from_value(headers) {
            Some(hash) => {
                hash.foreach(|name: Value, value: Value| add(name, value).map(|()| ForEach::Continue))?
            }
            None => {
                let pairs: RArray = core.handler(ruby).funcall("header_pairs", (headers,))?;
                for pair in pairs.into_iter() {
                    let (name, value) = TryConvert::try_convert(pair)?;
                    add(name, value)?;
                }
            }
        }
        Ok(fields.into_inner())
    }

    /// None.
    pub(crate) fn blank() -> Self {
        Self {
            lines: Vec::new(),
            content_length: None,
            transfer_encoding: TransferEncoding::Absent,
            coding: 0..0,
            connection: ConnectionOptions::default(),
            connection_at: 0,
            connection_name: Vec::new(),
            date: false,
            sendfile: None,
            sends_files: false,
            hijack: None,
            name: Vec::new(),
        }
    }

    fn add(&mut self, ruby: &Ruby, name: Value, value: Value, spelling: Spelling) -> Result<(), Error> {
        let Some(name) = text::of_name(name) else {
            let message = format!("header names must be Strings, not {}", name.class());
            return Err(Error::new(ruby.exception_type_error(), message));
        };
        self.name.clear();
        text::append(name, &mut self.name);
        match encode::kind(&self.name) {
            encode::Kind::Reserved => Ok(()),
            encode::Kind::Hijack => {
                self.hijack = (!value.is_nil()).then_some(value);
                Ok(())
            }
            encode::Kind::ContentLength => {
                self.content_length = text::with_octets(text::to_s(first(value))?, encode::content_length);
                Ok(())
            }
            encode::Kind::TransferEncoding => self.coding(value, spelling),
            encode::Kind::Connection => {
                if self.connection_name.is_empty() {
                    self.connection_name.extend_from_slice(&self.name);
                    self.connection_at = self.lines.len();
                }
                each(value, |value| {
                    let (options, value) = (&mut self.connection, text::to_s(value)?);
                    text::with_octets(value, |octets| options.read(octets));
                    Ok(())
                })
            }
            encode::Kind::Sendfile if self.sends_files => {
                self.sendfile =
                    (!value.is_nil()).then(|| text::to_s(first(value)).map(text::copy)).transpose()?;
                Ok(())
            }
            kind @ (encode::Kind::Date | encode::Kind::Sendfile | encode::Kind::Other) => {
                self.date |= kind == encode::Kind::Date;
                each(value, |value| self.line(value, spelling))
            }
        }
    }

    /// Transfer-Encoding, on one line. One that is no list, or a second one, cannot be believed.
    fn coding(&mut self, value: Value, spelling: Spelling) -> Result<(), Error> {
        let text = match RArray::from_value(value) {
            Some(values) => values.funcall::<_, _, RString>("join", (", ",))?,
            None => text::to_s(value)?,
        };
        let coding = text::with_octets(text, |octets| {
            let fit = encode::is_legal_value(octets) && !octets.is_empty();
            fit.then(|| TransferEncoding::of_value(octets))
        });
        let Some(coding) = coding else { return Ok(()) };
        if self.transfer_encoding != TransferEncoding::Absent {
            self.transfer_encoding = TransferEncoding::Other;
            return Ok(());
        }
        self.transfer_encoding = coding;
        let start = self.lines.len();
        self.line(text.as_value(), spelling)?;
        self.coding = start..self.lines.len();
        Ok(())
    }

    fn line(&mut self, value: Value, spelling: Spelling) -> Result<(), Error> {
        let (lines, name) = (&mut self.lines, &self.name);
        let mut write = |octets: &[u8]| {
            let _ = match spelling {
                Spelling::Title => encode::field(lines, name, octets),
                Spelling::Lower => encode::field_lower(lines, name, octets),
            };
        };
        if value.is_nil() {
            write(&[]);
        } else {
            text::with_octets(text::to_s(value)?, write);
        }
        Ok(())
    }

    /// Appends the application's lines: its Transfer-Encoding if the client may know it, and of its Connection what is so.
    /// Says whether the latter is there.
    fn write_lines(&self, plan: &ResponsePlan, spelling: Spelling, out: &mut Vec<u8>) -> bool {
        let Range { start, end } = self.coding;
        let mut options = Vec::new();
        let connected = self.connection.write(plan, &mut options);
        let lines = |range: Range<usize>, out: &mut Vec<u8>| {
            let passed = if plan.sends_coding { 0..0 } else { start..end };
            out.extend_from_slice(&self.lines[range.start..passed.start.clamp(range.start, range.end)]);
            out.extend_from_slice(&self.lines[passed.end.clamp(range.start, range.end)..range.end]);
        };
        lines(0..self.connection_at, out);
        if connected {
            let _ = match spelling {
                Spelling::Title => encode::field(out, &self.connection_name, &options),
                Spelling::Lower => encode::field_lower(out, &self.connection_name, &options),
            };
        }
        lines(self.connection_at..self.lines.len(), out);
        connected
    }

    /// It says that another protocol follows: in `Upgrade`, and in `Connection` (RFC 9110 §7.8).
    fn upgrade(&self) -> bool {
        self.connection.upgrade()
            && field_lines::fields(&self.lines).any(|(name, _)| name.eq_ignore_ascii_case(b"upgrade"))
    }

    /// The content becomes another one.
    pub(crate) fn change(&mut self, change: Change, spelling: Spelling) {
        self.lines = field_lines::changed(&self.lines, change, spelling);
        self.connection_at = self.lines.len();
    }

    /// The content is a file's.
    pub(crate) fn replace(&mut self, sent: &Sent, spelling: Spelling) {
        let replaced: Vec<_> =
            sent.replaced.iter().map(|(name, _)| *name).chain(["Transfer-Encoding"]).collect();
        self.lines = field_lines::without(&self.lines, &replaced);
        let has = |lines: &[u8], name: &str| {
            field_lines::fields(lines).any(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
        };
        for (name, value) in sent.replaced.iter().chain(&sent.added) {
            if !has(&self.lines, name) {
                let _ = match spelling {
                    Spelling::Title => encode::field(&mut self.lines, name.as_bytes(), value),
                    Spelling::Lower => encode::field_lower(&mut self.lines, name.as_bytes(), value),
                };
            }
        }
        self.coding = 0..0;
        self.connection_at = self.lines.len();
    }

    /// Gives the buffers back.
    pub(crate) fn recycle(self) {
        buffer::give(self.lines);
        buffer::give(self.name);
    }
}

/// A field's values, if there are several.
fn each(value: Value, mut read: impl FnMut(Value) -> Result<(), Error>) -> Result<(), Error> {
    match RArray::from_value(value) {
        Some(values) => values.into_iter().try_for_each(read),
        None => read(value),
    }
}

fn first(value: Value) -> Value {
    RArray::from_value(value).and_then(|values| values.entry(0).ok()).unwrap_or(value)
}

impl Body {
    /// Decides how `body` is sent, and its length where that is known (Puma, `prepare_response`).
    pub(crate) fn of(
        ruby: &Ruby,
        body: Value,
        context: ResponseContext,
        status: u16,
        fields: &mut Fields,
    ) -> Result<Self, Error> {
        let bodiless = (context.head_request || rserve_http1::status::no_body(status)) && status != 101;
        // RFC 9110 §8.6: where no body is sent the length is the one that a 200 to GET has. Middleware has emptied the body
        // by then (Rack::Head, Rack::ConditionalGet), so that an empty one says nothing of it. Puma says 0.
        let empty_is_told = !bodiless || !context.dated;
        if bodiless && fields.hijack.is_some() {
            // What the application writes would be the next response (as Puma).
            return Ok(Body::Empty);
        }
        if let Some(hijack) = fields.hijack {
            if hijack.respond_to("call", false)? {
                return Ok(match context.version {
                    // It has no socket to give away, but what is called is called with a stream in any case.
                    Version::Http2 => Body::Call(hijack),
                    _ => Body::Hijack(hijack),
                });
            }
            let message = format!("rack.hijack must respond to call, and {} does not", hijack.class());
            return Err(Error::new(ruby.exception_type_error(), message));
        }
        if let Some(strings) = RArray::from_value(body) {
            return Self::strings(ruby, strings, fields, empty_is_told);
        }
        if body.is_nil() && bodiless {
            return Ok(Body::Empty);
        }
        let unframed =
            fields.content_length.is_none() && fields.transfer_encoding == TransferEncoding::Absent;
        if unframed && status != 204 && body.respond_to("to_ary", false)? {
            // Rails' own body has the method and answers nil while it is streamed, or what it streams.
            if let Some(strings) = RArray::from_value(body.funcall("to_ary", ())?) {
                return Self::strings(ruby, strings, fields, empty_is_told);
            }
        }
        if fields.transfer_encoding == TransferEncoding::Absent
            && let Some(file) = BodyFile::of(ruby, body)?
        {
            fields.content_length = fields.content_length.or(Some(file.length));
            return Ok(Body::File(file));
        }
        if body.respond_to("each", false)? {
            return Ok(Body::Each(body));
        }
        if body.respond_to("call", false)? {
            let upgrades = status == 101 || (fields.upgrade() && !bodiless);
            let upgraded = upgrades && context.version != Version::Http2;
            return Ok(if upgraded { Body::Hijack(body) } else { Body::Call(body) });
        }
        let message = format!("a body must respond to each or call, and {} does not", body.class());
        Err(Error::new(ruby.exception_no_method_error(), message))
    }

    /// `empty_is_told`: that there is nothing in the body is a length of 0.
    fn strings(
        ruby: &Ruby,
        strings: RArray,
        fields: &mut Fields,
        empty_is_told: bool,
    ) -> Result<Self, Error> {
        let mut length = 0;
        for part in text::elements(strings) {
            if part.is_nil() {
                continue;
            }
            let Some(part) = RString::from_value(part) else {
                let message = format!("the parts of a body must be Strings, not {}", part.class());
                return Err(Error::new(ruby.exception_type_error(), message));
            };
            length += part.len() as u64;
        }
        let unframed =
            fields.content_length.is_none() && fields.transfer_encoding == TransferEncoding::Absent;
        if unframed && (length > 0 || empty_is_told) {
            fields.content_length = Some(length);
        }
        Ok(Body::Strings(strings, length))
    }
}

/// Reads the status as Puma does (`to_i`).
pub(crate) fn status(status: Value) -> Result<i64, Error> {
    match Integer::from_value(status) {
        Some(status) => status.to_i64(),
        None => status.funcall::<_, _, Integer>("to_i", ())?.to_i64(),
    }
}

/// `status`, if it is one that can be sent.
pub(crate) fn sendable(ruby: &Ruby, status: i64) -> Result<u16, Error> {
    if rserve_http1::status::is_legal(status) {
        return Ok(status as u16);
    }
    Err(Error::new(ruby.exception_arg_error(), format!("{status} is no HTTP status")))
}

/// Completes the head: the status line, the application's fields, the ones that were decided on.
pub(crate) fn head(
    fields: &Fields,
    context: ResponseContext,
    status: u16,
    plan: &ResponsePlan,
    spelling: Spelling,
    out: &mut Vec<u8>,
) {
    encode::status_line(out, context.version, status);
    let connected = fields.write_lines(plan, spelling, out);
    let connection = plan.connection.filter(|_| !connected);
    ResponsePlan { connection, ..*plan }.write_fields(out, spelling);
    if context.dated && !fields.date && status >= 200 {
        write_date(out, spelling);
    }
    out.extend_from_slice(b"\r\n");
}

/// The head of the answer to octets that are no request head: Connection last, where Puma has none, and a Date.
pub(crate) fn malformed_head(
    fields: &Fields,
    context: ResponseContext,
    status: u16,
    plan: &ResponsePlan,
    spelling: Spelling,
    out: &mut Vec<u8>,
) {
    encode::status_line(out, context.version, status);
    fields.write_lines(&ResponsePlan { keep_alive: false, ..*plan }, spelling, out);
    ResponsePlan { connection: None, ..*plan }.write_fields(out, spelling);
    out.extend_from_slice(match spelling {
        Spelling::Title => b"Connection: close\r\n",
        Spelling::Lower => b"connection: close\r\n",
    });
    if !fields.date {
        write_date(out, spelling);
    }
    out.extend_from_slice(b"\r\n");
}

/// `Date` (RFC 9110 §6.6.1), made once a second.
fn write_date(out: &mut Vec<u8>, spelling: Spelling) {
    thread_local! {
        static MADE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
    }
    let Ok(now) = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) else { return };
    MADE.with_borrow_mut(|(second, line)| {
        if *second != now.as_secs() {
            *second = now.as_secs();
            line.clear();
            line.extend_from_slice(match spelling {
                Spelling::Title => b"Date: ",
                Spelling::Lower => b"date: ",
            });
            rserve_http1::date(line, *second);
            line.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(line);
    });
}

/// Decides framing and persistence.
///
/// # Errors
///
/// The application has coded the body in a way that its client cannot know of.
pub(crate) fn plan(
    ruby: &Ruby,
    fields: &Fields,
    context: ResponseContext,
    status: u16,
) -> Result<ResponsePlan, Error> {
    let facts = facts(fields, context, status);
    if facts.coding_is_lost() {
        let message = "a Transfer-Encoding other than chunked is of HTTP/1.1 only";
        return Err(Error::new(ruby.exception_arg_error(), message));
    }
    let mut plan = ResponsePlan::of(facts);
    if status == 101 && fields.connection.has_others() {
        plan.connection = None;
    }
    Ok(plan)
}

/// What decides about framing and persistence.
pub(crate) fn facts(fields: &Fields, context: ResponseContext, status: u16) -> ResponseFacts {
    ResponseFacts {
        version: context.version,
        head_request: context.head_request,
        status,
        content_length: fields.content_length,
        transfer_encoding: fields.transfer_encoding,
        keep_alive: context.keep_alive && !fields.connection.close(),
    }
}

/// Sends a whole body with the head.
pub(crate) fn send_octets(writer: &mut Writer, octets: &[u8]) {
    let mut head = writer.take_head();
    if octets.len() <= JOIN_LIMIT {
        let start = head.len();
        head.extend_from_slice(octets);
        return writer.write_joined(head, start);
    }
    writer.write_gathered(&head, &[octets]);
    buffer::give(head);
}

/// Sends an Array of Strings, `length` octets together, with the head.
pub(crate) fn send_strings(writer: &mut Writer, strings: RArray, length: u64) {
    let mut head = writer.take_head();
    if length <= JOIN_LIMIT as u64 {
        let start = head.len();
        for part in text::elements(strings).filter_map(RString::from_value) {
            text::append(part, &mut head);
        }
        return writer.write_joined(head, start);
    }
    text::with_parts(strings, GATHER, |parts| {
        writer.write_gathered(&head, parts);
        head.clear();
    });
    buffer::give(head);
}

/// Iterates over `body` with `each` and sends every part as it comes, with the writer that `client` holds.
///
/// # Errors
///
/// What the application raised, or that the client is gone.
pub(crate) fn send_each(client: Obj<Client>, body: Value) -> Result<(), Error> {
    // The block knows the client, a Ruby object, and nothing on this stack: the application may keep it.
    let data = client.as_raw();
    magnus::rb_sys::protect(|| {
        // SAFETY: `part` has the type of a block function, and the block marks its data.
        unsafe {
            let name = rb_sys::rb_intern2(c"each".as_ptr(), 4);
            rb_sys::rb_block_call(body.as_raw(), name, 0, std::ptr::null(), Some(part), data)
        }
    })?;
    Ok(())
}

fn send_part(client: Value, part: Value) -> Result<(), Error> {
    let ruby = Ruby::get_with(part);
    let client = Obj::<Client>::try_convert(client)?;
    if part.is_nil() {
        return Ok(());
    }
    let Some(string) = RString::from_value(part) else {
        let message = format!("the parts of a body must be Strings, not {}", part.class());
        return Err(Error::new(ruby.exception_type_error(), message));
    };
    if string.is_empty() {
        return Ok(());
    }
    client.writer.with(&ruby, |writer| writer.write_string(&ruby, string)).map(|_| ())
}

unsafe extern "C" fn part(
    part: VALUE,
    data: VALUE,
    _argc: c_int,
    _argv: *const VALUE,
    _block: VALUE,
) -> VALUE {
    let exit = {
        // SAFETY: what `send_each` gave the block, which marks it, and a value that the block was given.
        let (client, part) = unsafe { (Value::from_raw(data), Value::from_raw(part)) };
        catch_unwind(AssertUnwindSafe(|| match send_part(client, part) {
            Ok(()) => None,
            Err(error) => Some(Exit::of(&error)),
        }))
        .unwrap_or_else(|_| {
            let ruby = Ruby::get_with(client);
            Some(Exit::of(&crate::vm::error::bug(&ruby, "panic while sending a body")))
        })
    };
    if let Some(exit) = exit {
        // SAFETY: nothing in this frame needs dropping any more.
        unsafe { exit.resume() }
    }
    rb_sys::Qnil as VALUE
}
