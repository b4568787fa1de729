//! The Hash that the environments of a listener's requests are copies of.
//!
//! It begins with the entries that every request has a value of its own for. They are given to the prototype before it
//! is copied, by their places: looking eleven keys up in each copy would cost as much as the rest of the environment.

use magnus::rb_sys::AsRawValue;
use magnus::value::Opaque;
use magnus::{Error, RHash, Ruby, Value, gc};
use rb_sys::VALUE;

use super::hash_places;
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
    // What follows is not wanted of every server.
    pub(crate) http_version: VALUE,
    pub(crate) timeout: VALUE,
    pub(crate) request_start: VALUE,
}

const OWN_KEYS: [&str; 16] = [
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
    "rserve.timeout",
    "HTTP_X_REQUEST_START",
];

/// Of [`OWN_KEYS`], those that every prototype has.
const ALWAYS: usize = 13;

/// The entries that lead to a request's connection and to what the application hung on it.
const HELD: usize = 4;

#[derive(Clone, Copy)]
pub(crate) struct Prototype {
    /// Nobody else has it, so that only a request being built changes it.
    hash: Opaque<RHash>,
    /// Whether a Hash's entries can be written by their places, which Ruby's public interface has no way for.
    by_place: bool,
    keys: [Opaque<Value>; OWN_KEYS.len()],
    /// Which of [`OWN_KEYS`] it begins with.
    wanted: [bool; OWN_KEYS.len()],
    server_port: Opaque<Value>,
}

impl Prototype {
    /// `entries` are the same for every request; where one is among them that not every server's requests have of their own,
    /// they have. There are more than eight: it is a table, not a list of pairs.
    ///
    /// `RSERVE_PUBLIC_API` has the copies made as on a Ruby that no longer gives out a Hash's table.
    pub(crate) fn new(ruby: &Ruby, entries: RHash) -> Result<Self, Error> {
        let hash = ruby.hash_new();
        let keys = OWN_KEYS.map(|key| Opaque::from(text::interned(ruby, key)));
        let server_port: Value = entries.lookup("SERVER_PORT")?;
        let mut wanted = [true; OWN_KEYS.len()];
        for (key, wanted) in keys.iter().zip(&mut wanted).skip(ALWAYS) {
            *wanted = entries.get(*key).is_some();
        }
        for (key, _) in keys.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            hash.aset(*key, ())?;
            entries.delete::<_, Value>(*key)?;
        }
        hash.update(entries)?;
        let by_place = hash_places::CAN_BE_WRITTEN && std::env::var_os("RSERVE_PUBLIC_API").is_none();
        Ok(Self { hash: hash.into(), by_place, keys, wanted, server_port: server_port.into() })
    }

    pub(crate) fn mark(&self, marker: &gc::Marker) {
        marker.mark(self.hash);
        self.keys.iter().for_each(|key| marker.mark(*key));
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
        // SAFETY: `Own` is as many values in a row as there are keys, and the caller's promise; nothing else has the GVL until
        // the entries are as they were.
        unsafe {
            let own: &[VALUE; OWN_KEYS.len()] = &*std::ptr::from_ref(own).cast();
            if self.by_place {
                let mut values = *own;
                let mut len = ALWAYS;
                for at in (ALWAYS..own.len()).filter(|at| self.wanted[*at]) {
                    values[len] = own[at];
                    len += 1;
                }
                hash_places::replace_first(hash, &values[..len]);
                let copy = rb_sys::rb_hash_dup(hash);
                hash_places::replace_first(hash, &[rb_sys::Qnil as VALUE; HELD]);
                return copy;
            }
            let copy = rb_sys::rb_hash_dup(hash);
            let wanted = self.keys.iter().zip(own).zip(self.wanted).filter(|(_, wanted)| *wanted);
            for ((key, value), _) in wanted {
                rb_sys::rb_hash_aset(copy, ruby.get_inner(*key).as_raw(), *value);
            }
            copy
        }
    }
}
