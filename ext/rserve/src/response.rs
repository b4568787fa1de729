//! The application's `[status, headers, body]` as octets.

use std::cell::RefCell;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::raw::c_int;
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::typed_data::Obj;
use magnus::value::ReprValue;
use magnus::{Error, Integer, RArray, RHash, RString, Ruby, TryConvert, Value, r_hash::ForEach};
use rb_sys::VALUE;
use rserve_http1::{ResponseFacts, ResponsePlan, Spelling, TransferEncoding, Version, encode};

use crate::buffer;
use crate::client::Client;
use crate::core::Core;
use crate::protect::{self, Exit};
use crate::text;
use crate::writer::Writer;

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
    /// The application wants the connection closed.
    pub(crate) close: bool,
    /// Where in `lines` the application says `Connection: keep-alive`: sent only if that is so, and said once.
    keep_alive: Range<usize>,
    /// The application set a Connection field of its own (`upgrade`).
    pub(crate) connection: bool,
    /// It set a Date.
    date: bool,
    /// `rack.hijack`.
    pub(crate) hijack: Option<Value>,
}

/// What is known of the request when its response is sent.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
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
    /// A file: its descriptor (ours), where it starts, how long it is.
    File(OwnedFd, u64, u64),
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
        let fields = RefCell::new(Self {
            lines: buffer::take(),
            content_length: None,
            transfer_encoding: TransferEncoding::Absent,
            close: false,
            keep_alive: 0..0,
            connection: false,
            date: false,
            hijack: None,
        });
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

    fn add(&mut self, ruby: &Ruby, name: Value, value: Value, spelling: Spelling) -> Result<(), Error> {
        let Some(name) = text::of_name(name) else {
            let message = format!("header names must be Strings, not {}", name.class());
            return Err(Error::new(ruby.exception_type_error(), message));
        };
        // SAFETY: `name` is a key of a Hash (or of an Array that lives), or belongs to the Symbol that is, and no Ruby
        // code that could change it runs before the last use: `to_s` of a value comes before `field`, and copies
        // nothing of it.
        let name = unsafe { name.as_slice() };
        match encode::kind(name) {
            encode::Kind::Reserved => {}
            encode::Kind::Hijack => self.hijack = (!value.is_nil()).then_some(value),
            encode::Kind::ContentLength => {
                let text = text::to_s(first(value))?;
                // SAFETY: used at once.
                self.content_length = encode::content_length(unsafe { text.as_slice() });
            }
            kind => {
                if kind == encode::Kind::TransferEncoding {
                    return self.coding(name, value, spelling);
                }
                if kind == encode::Kind::Connection {
                    let text = text::to_s(first(value))?;
                    // SAFETY: used at once.
                    let value = unsafe { text.as_slice() };
                    self.close |= value.eq_ignore_ascii_case(b"close");
                    if self.close {
                        return Ok(());
                    }
                    if value.eq_ignore_ascii_case(b"keep-alive") {
                        let start = self.lines.len();
                        self.line(name, text.as_value(), spelling)?;
                        self.keep_alive = start..self.lines.len();
                        return Ok(());
                    }
                    self.connection = true;
                }
                self.date |= kind == encode::Kind::Date;
                match RArray::from_value(value) {
                    Some(values) => {
                        for value in values.into_iter() {
                            self.line(name, value, spelling)?;
                        }
                    }
                    None => self.line(name, value, spelling)?,
                }
            }
        }
        Ok(())
    }

    /// Transfer-Encoding, on one line. One that is no list, or a second one, cannot be believed.
    fn coding(&mut self, name: &[u8], value: Value, spelling: Spelling) -> Result<(), Error> {
        let text = match RArray::from_value(value) {
            Some(values) => values.funcall::<_, _, RString>("join", (", ",))?,
            None => text::to_s(value)?,
        };
        // SAFETY: used at once.
        let octets = unsafe { text.as_slice() };
        if !encode::is_legal_value(octets) || octets.is_empty() {
            return Ok(());
        }
        self.transfer_encoding = match self.transfer_encoding {
            TransferEncoding::Absent => TransferEncoding::of_value(octets),
            _ => TransferEncoding::Other,
        };
        self.line(name, text.as_value(), spelling)
    }

    fn line(&mut self, name: &[u8], value: Value, spelling: Spelling) -> Result<(), Error> {
        let text = match value.is_nil() {
            true => None,
            false => Some(text::to_s(value)?),
        };
        // SAFETY: used at once.
        let octets = text.as_ref().map_or(&[][..], |text| unsafe { text.as_slice() });
        let _ = match spelling {
            Spelling::Title => encode::field(&mut self.lines, name, octets),
            Spelling::Lower => encode::field_lower(&mut self.lines, name, octets),
        };
        Ok(())
    }

    /// Appends the application's lines, with its `Connection: keep-alive` or without.
    fn write_lines(&self, out: &mut Vec<u8>, keep_alive: bool) {
        let Range { start, end } = self.keep_alive;
        out.extend_from_slice(&self.lines[..if keep_alive { end } else { start }]);
        out.extend_from_slice(&self.lines[end..]);
    }
}

fn first(value: Value) -> Value {
    RArray::from_value(value).and_then(|values| values.entry(0).ok()).unwrap_or(value)
}

impl Body {
    /// Decides how `body` is sent, and its length where that is known (Puma, `prepare_response`).
    pub(crate) fn of(ruby: &Ruby, body: Value, status: u16, fields: &mut Fields) -> Result<Self, Error> {
        if let Some(hijack) = fields.hijack {
            if hijack.respond_to("call", false)? {
                return Ok(Body::Hijack(hijack));
            }
            let message = format!("rack.hijack must respond to call, and {} does not", hijack.class());
            return Err(Error::new(ruby.exception_type_error(), message));
        }
        if let Some(strings) = RArray::from_value(body) {
            return Self::strings(ruby, strings, fields);
        }
        if body.is_nil() {
            return Ok(Body::Empty);
        }
        let unframed =
            fields.content_length.is_none() && fields.transfer_encoding == TransferEncoding::Absent;
        if unframed && status != 204 && body.respond_to("to_ary", false)? {
            // Rails' own body has the method and answers nil while it is streamed.
            if let Some(strings) = body.funcall::<_, _, Option<RArray>>("to_ary", ())? {
                return Self::strings(ruby, strings, fields);
            }
        }
        if fields.transfer_encoding == TransferEncoding::Absent
            && let Some((fd, offset, len)) = file(ruby, body)?
        {
            fields.content_length = fields.content_length.or(Some(len));
            return Ok(Body::File(fd, offset, len));
        }
        if body.respond_to("each", false)? {
            return Ok(Body::Each(body));
        }
        if body.respond_to("call", false)? {
            let upgraded = status == 101 || fields.connection;
            return Ok(if upgraded { Body::Hijack(body) } else { Body::Call(body) });
        }
        let message = format!("a body must respond to each or call, and {} does not", body.class());
        Err(Error::new(ruby.exception_no_method_error(), message))
    }

    fn strings(ruby: &Ruby, strings: RArray, fields: &mut Fields) -> Result<Self, Error> {
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
        if fields.content_length.is_none() && fields.transfer_encoding == TransferEncoding::Absent {
            fields.content_length = Some(length);
        }
        Ok(Body::Strings(strings, length))
    }
}

/// A body that is a file, or names one with `to_path`.
fn file(ruby: &Ruby, body: Value) -> Result<Option<(OwnedFd, u64, u64)>, Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let is_file = body.is_kind_of(ruby.class_io()) && body.respond_to("path", false)?;
    if !is_file && !body.respond_to("to_path", false)? {
        return Ok(None);
    }
    if is_file {
        let (fd, position, size): (c_int, u64, u64) =
            (body.funcall("fileno", ())?, body.funcall("pos", ())?, body.funcall("size", ())?);
        // SAFETY: borrowed only for the duplicate, while `body` keeps it open.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }.try_clone_to_owned();
        let fd = fd.map_err(|error| crate::error::system(ruby, &error))?;
        return Ok(Some((fd, position, size.saturating_sub(position))));
    }
    let path: Value = body.funcall("to_path", ())?;
    let Some(path) = RString::from_value(path) else { return Ok(None) };
    // SAFETY: copied before anything of Ruby's runs.
    let octets = unsafe { path.as_slice() }.to_vec();
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(octets));
    // O_NONBLOCK: a FIFO without writer would hang; anything but a regular file is left to `each`.
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(0o4000).open(path);
    let Ok(opened) = opened else { return Ok(None) };
    match opened.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Some((opened.into(), 0, metadata.len()))),
        _ => Ok(None),
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
    if encode::is_legal_status(status) {
        return Ok(status as u16);
    }
    Err(Error::new(ruby.exception_arg_error(), format!("{status} is no HTTP status")))
}

/// Completes the head: the status line, the application's fields, the ones that were decided on.
pub(crate) fn head(
    fields: &Fields,
    asked: Asked,
    status: u16,
    plan: &ResponsePlan,
    spelling: Spelling,
    out: &mut Vec<u8>,
) {
    encode::status_line(out, asked.version, status);
    fields.write_lines(out, plan.connection.is_none());
    plan.write_fields(out, spelling);
    if asked.dated && !fields.date && status >= 200 {
        write_date(out, spelling);
    }
    out.extend_from_slice(b"\r\n");
}

/// The head of the answer to octets that are no request head: Connection last, where Puma has none, and a Date.
pub(crate) fn malformed_head(
    fields: &Fields,
    asked: Asked,
    status: u16,
    plan: &ResponsePlan,
    spelling: Spelling,
    out: &mut Vec<u8>,
) {
    encode::status_line(out, asked.version, status);
    fields.write_lines(out, false);
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
            encode::date(line, *second);
            line.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(line);
    });
}

/// Decides framing and persistence.
pub(crate) fn plan(fields: &Fields, asked: Asked, status: u16) -> ResponsePlan {
    let mut plan = ResponsePlan::of(ResponseFacts {
        version: asked.version,
        head_request: asked.head_request,
        status,
        content_length: fields.content_length,
        transfer_encoding: fields.transfer_encoding,
        keep_alive: asked.keep_alive && !fields.close,
    });
    if fields.connection {
        plan.connection = None;
    }
    plan
}

/// Sends an Array of Strings, `length` octets together, with the head.
pub(crate) fn send_strings(writer: &mut Writer, strings: RArray, length: u64) {
    let mut head = writer.take_head();
    if length <= JOIN_LIMIT as u64 {
        for part in text::elements(strings) {
            // SAFETY: copied at once; nothing else runs.
            head.extend_from_slice(unsafe { text::octets(part) }.unwrap_or_default());
        }
        return writer.write_joined(head, length);
    }
    let mut parts: Vec<&[u8]> = Vec::with_capacity(GATHER.min(strings.len()));
    for part in text::elements(strings) {
        // SAFETY: the Array keeps its Strings alive, and no Ruby code runs before they are written.
        parts.push(unsafe { text::octets(part) }.unwrap_or_default());
        if parts.len() == GATHER {
            writer.write_gathered(&head, &parts);
            head.clear();
            parts.clear();
        }
    }
    writer.write_gathered(&head, &parts);
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

fn send_part(client: Value, part: Value) -> Result<(), Exit> {
    let ruby = Ruby::get_with(part);
    let client = match Obj::<Client>::try_convert(client) {
        Ok(client) => client,
        Err(error) => return Err(protect::raise(&ruby, &error)),
    };
    if part.is_nil() {
        return Ok(());
    }
    let Some(string) = RString::from_value(part) else {
        let message = format!("the parts of a body must be Strings, not {}", part.class());
        let error = Error::new(ruby.exception_type_error(), message);
        return Err(protect::raise(&ruby, &error));
    };
    if string.is_empty() {
        return Ok(());
    }
    // SAFETY: `Writer::write` has taken the octets before it lets other Ruby code run.
    client.writer.with(&ruby, |writer| writer.write(&ruby, unsafe { string.as_slice() }))
}

unsafe extern "C" fn part(
    part: VALUE,
    data: VALUE,
    _argc: c_int,
    _argv: *const VALUE,
    _block: VALUE,
) -> VALUE {
    let outcome = {
        // SAFETY: what `send_each` gave the block, which marks it, and a value that the block was given.
        let (client, part) = unsafe { (Value::from_raw(data), Value::from_raw(part)) };
        catch_unwind(AssertUnwindSafe(|| send_part(client, part)))
    };
    match outcome {
        Ok(Ok(())) => rb_sys::Qnil as VALUE,
        // SAFETY: nothing in this frame needs dropping any more.
        Ok(Err(exit)) => unsafe { exit.resume() },
        Err(panic) => {
            drop(panic);
            // SAFETY: as above.
            unsafe {
                rb_sys::rb_raise(
                    rb_sys::rb_eRuntimeError,
                    c"bug in rserve: panic while sending a body".as_ptr(),
                )
            };
            #[allow(unreachable_code)]
            {
                rb_sys::Qnil as VALUE
            }
        }
    }
}
