//! The Hash that the environments of a listener's requests are copies of.
//!
//! It begins with the entries that every request has a value of its own for. They are given to the prototype before it
//! is copied, by their places: looking eleven keys up in each copy would cost as much as the rest of the environment.

use std::os::raw::c_int;

use magnus::rb_sys::AsRawValue;
use magnus::value::Opaque;
use magnus::{Error, RHash, Ruby, Value, gc};
use rb_sys::{VALUE, st_data_t, st_retval};

use crate::vm::text;

/// What every request has a value of its own for; the fields are in the order of [`OWN_KEYS`].
#[repr(C)]
pub(crate) struct Own {
    pub(crate) socket: VALUE,
    pub(crate) hijack: VALUE,
    pub(crate) after_reply: VALUE,
    pub(crate) response_finished: VALUE,
    pub(crate) request_uri: VALUE,
    pub(crate) request_path: VALUE,
    pub(crate) path_info: VALUE,
    pub(crate) server_name: VALUE,
    pub(crate) server_port: VALUE,
    pub(crate) remote_addr: VALUE,
    pub(crate) http_host: VALUE,
    pub(crate) request_method: VALUE,
    pub(crate) server_protocol: VALUE,
    /// Not at every level.
    pub(crate) http_version: VALUE,
}

const OWN_KEYS: [&str; 14] = [
    "puma.socket",
    "rack.hijack",
    "rack.after_reply",
    "rack.response_finished",
    "REQUEST_URI",
    "REQUEST_PATH",
    "PATH_INFO",
    "SERVER_NAME",
    "SERVER_PORT",
    "REMOTE_ADDR",
    "HTTP_HOST",
    "REQUEST_METHOD",
    "SERVER_PROTOCOL",
    "HTTP_VERSION",
];

/// The entries that lead to a request's connection and to what the application hung on it.
const HELD: usize = 4;

#[derive(Clone, Copy)]
pub(crate) struct Prototype {
    /// Nobody else has it, so that only a request being built changes it.
    hash: Opaque<RHash>,
    /// How many of [`OWN_KEYS`] it begins with.
    own: usize,
    server_port: Opaque<Value>,
}

impl Prototype {
    /// `entries` are the same for every request; with an `HTTP_VERSION` among them each request has its own. There are more
    /// than eight: it is a table, not a list of pairs.
    pub(crate) fn new(ruby: &Ruby, entries: RHash) -> Result<Self, Error> {
        let hash = ruby.hash_new();
        let version: Option<Value> = entries.delete("HTTP_VERSION")?;
        let own = if version.is_some() { OWN_KEYS.len() } else { OWN_KEYS.len() - 1 };
        for key in &OWN_KEYS[..own] {
            hash.aset(text::interned(ruby, key), ())?;
        }
        let server_port: Value = entries.lookup("SERVER_PORT")?;
        entries.delete::<_, Value>("SERVER_PORT")?;
        hash.update(entries)?;
        Ok(Self { hash: hash.into(), own, server_port: server_port.into() })
    }

    pub(crate) fn mark(&self, marker: &gc::Marker) {
        marker.mark(self.hash);
        marker.mark(self.server_port);
    }

    /// `SERVER_PORT` of a request that names none.
    pub(crate) fn server_port(&self, ruby: &Ruby) -> VALUE {
        ruby.get_inner(self.server_port).as_raw()
    }

    /// A copy with these values.
    ///
    /// # Safety
    ///
    /// `own` is on the caller's stack, where the garbage collector finds its values. To be called under `protect`.
    pub(crate) unsafe fn copy(&self, ruby: &Ruby, own: &Own) -> VALUE {
        let hash = ruby.get_inner(self.hash).as_raw();
        // SAFETY: `Own` is at least as many values in a row as the prototype has keys of, and the caller's promise; nothing else has the
        // GVL until the entries are as they were.
        unsafe {
            let values = std::slice::from_raw_parts(std::ptr::from_ref(own).cast(), self.own);
            replace_first(hash, values);
            let copy = rb_sys::rb_hash_dup(hash);
            replace_first(hash, &[rb_sys::Qnil as VALUE; HELD]);
            copy
        }
    }
}

/// Gives the first entries of a Hash these values.
///
/// # Safety
///
/// `hash` is a Hash with at least as many entries, and a table. There is no write barrier: `rb_hash_tbl` tells the
/// garbage collector, once, that this Hash has none.
unsafe fn replace_first(hash: VALUE, values: &[VALUE]) {
    let mut left = values.iter();
    // SAFETY: the caller's promise; the callbacks have `left` while this frame lives, and neither allocate nor raise.
    unsafe {
        let table = rb_sys::rb_hash_tbl(hash, c"prototype.rs".as_ptr(), 0);
        let left = std::ptr::from_mut(&mut left) as st_data_t;
        rb_sys::rb_st_foreach_with_replace(table, Some(choose), Some(replace), left);
    }
}

unsafe extern "C" fn choose(_key: st_data_t, _value: st_data_t, _left: st_data_t, _error: c_int) -> c_int {
    st_retval::ST_REPLACE as c_int
}

unsafe extern "C" fn replace(
    _key: *mut st_data_t,
    value: *mut st_data_t,
    left: st_data_t,
    _existing: c_int,
) -> c_int {
    // SAFETY: `left` is the iterator of `replace_first`, and `value` points to the entry's value.
    let left = unsafe {
        let left = &mut *(left as *mut std::slice::Iter<'_, VALUE>);
        if let Some(own) = left.next() {
            *value = *own as st_data_t;
        }
        left
    };
    if left.as_slice().is_empty() { st_retval::ST_STOP as c_int } else { st_retval::ST_CONTINUE as c_int }
}
