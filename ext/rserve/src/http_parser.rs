//! `Rserve::HttpParser`: the head of a request into a Hash, for gems that parse with Puma's class. The server itself
//! does not use it.

use std::cell::RefCell;

use magnus::{Class, DataTypeFunctions, Error, ExceptionClass, Module, RHash, RModule, RString};
use magnus::{Object, Ruby, TypedData, function, method, typed_data::Obj};
use rserve_http1::{Head, Limits, Progress, Receiver, cgi};

use crate::vm::text;

/// See the module.
#[derive(Default, TypedData)]
#[magnus(class = "Rserve::HttpParser", free_immediately)]
pub(crate) struct HttpParser {
    state: RefCell<Parsed>,
}

impl DataTypeFunctions for HttpParser {}

#[derive(Clone, Debug, Default)]
struct Parsed {
    /// Octets that were understood.
    read: usize,
    finished: bool,
    failed: bool,
    /// What followed the head.
    body: Vec<u8>,
}

impl HttpParser {
    fn new() -> Self {
        Self::default()
    }

    /// Reads `data`, which holds everything from the first octet on, into `env`. Returns how many octets were
    /// understood; `start` is where the last call ended, and only checked.
    fn execute(
        ruby: &Ruby,
        this: Obj<Self>,
        env: RHash,
        data: RString,
        start: usize,
    ) -> Result<usize, Error> {
        let octets = text::copy(data);
        if start >= octets.len() {
            return Err(failure(ruby, "Requested start is after data buffer end."));
        }
        let mut head = Head::default();
        let mut receiver = Receiver::new(Limits::default());
        let mut at = 0;
        let outcome = loop {
            match receiver.advance(&octets[at..], &mut head) {
                // An empty line before the request.
                Ok(Progress::Partial { consumed }) if consumed > 0 => at += consumed,
                other => break other,
            }
        };
        let state = match &outcome {
            Ok(Progress::Head { consumed }) => {
                let read = at + consumed;
                fill(ruby, env, &octets[at..], &head)?;
                Parsed { read, finished: true, failed: false, body: octets[read..].to_vec() }
            }
            Ok(_) => Parsed { read: octets.len(), ..Parsed::default() },
            Err(_) => Parsed { read: start, failed: true, ..Parsed::default() },
        };
        let read = state.read;
        this.state.replace(state);
        outcome.map(|_| read).map_err(|error| failure(ruby, &error.to_string()))
    }

    /// Whether nothing is wrong so far.
    fn finish(&self) -> bool {
        !self.state.borrow().failed
    }

    fn is_finished(&self) -> bool {
        self.state.borrow().finished
    }

    fn has_failed(&self) -> bool {
        self.state.borrow().failed
    }

    fn read(&self) -> usize {
        self.state.borrow().read
    }

    fn body(ruby: &Ruby, this: Obj<Self>) -> RString {
        ruby.str_from_slice(&this.state.borrow().body)
    }

    fn reset(&self) {
        self.state.replace(Parsed::default());
    }
}

/// Puma's parser says nothing of the path and the query of a target that is not in origin-form.
fn fill(ruby: &Ruby, env: RHash, octets: &[u8], head: &Head) -> Result<(), Error> {
    let set = |name: &[u8], value: &[u8]| env.aset(ruby.str_from_slice(name), ruby.str_from_slice(value));
    let target = head.target.of(octets);
    set(b"REQUEST_METHOD", head.method.of(octets))?;
    set(b"REQUEST_URI", target)?;
    set(b"SERVER_PROTOCOL", head.protocol.of(octets))?;
    if target.starts_with(b"/") {
        set(b"REQUEST_PATH", head.path.of(octets))?;
        if let Some(query) = head.query {
            set(b"QUERY_STRING", query.of(octets))?;
        }
    }
    if let Some(fragment) = head.fragment {
        set(b"FRAGMENT", fragment.of(octets))?;
    }
    let mut name = Vec::new();
    for field in head.fields.iter().filter(|field| field.visible) {
        name.clear();
        cgi::env_name(field.name.of(octets), &mut name);
        let value = field.value.of(octets);
        match env.lookup::<_, Option<RString>>(ruby.str_from_slice(&name))? {
            Some(before) if field.repeated => {
                before.cat(b", ");
                before.cat(value);
            }
            _ => set(&name, value)?,
        }
    }
    Ok(())
}

/// `Rserve::HttpParserError`
fn failure(ruby: &Ruby, message: &str) -> Error {
    let class = ruby
        .class_object()
        .const_get::<_, RModule>("Rserve")
        .and_then(|rserve| rserve.const_get::<_, ExceptionClass>("HttpParserError"));
    match class {
        Ok(class) => Error::new(class, message.to_owned()),
        Err(error) => error,
    }
}

pub(crate) fn init(ruby: &Ruby, rserve: RModule) -> Result<(), Error> {
    let class = rserve.define_class("HttpParser", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("new", function!(HttpParser::new, 0))?;
    class.define_method("execute", method!(HttpParser::execute, 3))?;
    class.define_method("finish", method!(HttpParser::finish, 0))?;
    class.define_method("finished?", method!(HttpParser::is_finished, 0))?;
    class.define_method("error?", method!(HttpParser::has_failed, 0))?;
    class.define_method("nread", method!(HttpParser::read, 0))?;
    class.define_method("body", method!(HttpParser::body, 0))?;
    class.define_method("reset", method!(HttpParser::reset, 0))?;
    Ok(())
}
