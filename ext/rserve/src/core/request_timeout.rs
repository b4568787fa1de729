//! `request_timeout`: which thread has which request, for whoever is told of one that takes long, and
//! `env["rserve.timeout"]`, by which the application asks for more time.

use std::sync::Arc;

use magnus::rb_sys::FromRawValue;
use magnus::value::{Opaque, ReprValue};
use magnus::{
    Class, DataTypeFunctions, Error, Module, RArray, RHash, RModule, Ruby, TypedData, Value, gc, method,
    typed_data::Obj,
};
use rserve_core::config::options;
use rserve_core::server::{InHand, Late, Server};

use super::{Core, env};
use crate::vm::marked::Marked;

/// The requests that the application has, where there is a time-out.
#[derive(Default)]
pub(crate) struct Timed(Option<Marked<Vec<Entry>>>);

#[derive(Clone, Copy)]
struct Entry {
    serial: u64,
    thread: Opaque<Value>,
    env: Opaque<Value>,
}

impl Timed {
    pub(crate) fn new(wanted: bool) -> Self {
        Self(wanted.then(|| Marked::new(Vec::new())))
    }

    pub(crate) fn mark(&self, marker: &gc::Marker) {
        let Some(entries) = &self.0 else { return };
        entries.mark(|entries| {
            for entry in entries {
                marker.mark(entry.thread);
                marker.mark(entry.env);
            }
        });
    }

    /// The calling thread gives `in_hand` to the application, until what this returns is dropped.
    ///
    /// # Errors
    ///
    /// No memory is left for an object.
    pub(crate) fn begin<'a>(
        &'a self,
        ruby: &Ruby,
        server: &Arc<Server>,
        in_hand: Option<&InHand<'_>>,
        environment: RHash,
    ) -> Result<Option<Running<'a>>, Error> {
        let (Some(entries), Some(in_hand)) = (&self.0, in_hand) else { return Ok(None) };
        let serial = in_hand.serial();
        let timeout = ruby.obj_wrap(RequestTimeout { server: Arc::clone(server), serial });
        environment.aset(ruby.get_inner(env::key_of_timeout()), timeout)?;
        // SAFETY: the calling thread is one of Ruby's.
        let thread = unsafe { Value::from_raw(rb_sys::rb_thread_current()) };
        let entry = Entry { serial, thread: thread.into(), env: environment.as_value().into() };
        entries.with(|entries| entries.push(entry));
        Ok(Some(Running { entries, serial }))
    }

    fn find(&self, serial: u64) -> Option<Entry> {
        let entries = self.0.as_ref()?;
        entries.with(|entries| entries.iter().find(|entry| entry.serial == serial).copied())
    }
}

/// See [`Timed::begin`].
pub(crate) struct Running<'a> {
    entries: &'a Marked<Vec<Entry>>,
    serial: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let serial = self.serial;
        self.entries.with(|entries| entries.retain(|entry| entry.serial != serial));
    }
}

impl Core {
    /// `[thread, env, backtrace, request, seconds]` of each request of which the operator is to be told.
    pub(super) fn take_late(ruby: &Ruby, this: Obj<Self>) -> Result<RArray, Error> {
        let all = ruby.ary_new();
        for late in this.server.take_late() {
            // One that has just ended needs nobody's attention.
            if let Some(entry) = this.timed.find(late.serial) {
                all.push(told(ruby, &entry, &late)?)?;
            }
        }
        Ok(all)
    }

    /// The threads whose requests were answered in the application's place.
    pub(super) fn hung_threads(ruby: &Ruby, this: &Self) -> RArray {
        let entries = this.server.given_up().into_iter().filter_map(|serial| this.timed.find(serial));
        ruby.ary_from_iter(entries.map(|entry| ruby.get_inner(entry.thread)))
    }
}

fn told(ruby: &Ruby, entry: &Entry, late: &Late) -> Result<RArray, Error> {
    let thread = ruby.get_inner(entry.thread);
    // First: no other thread has run since the request was found to be with this one.
    let backtrace: Value = thread.funcall("backtrace", ())?;
    let told = ruby.ary_new();
    told.push(thread)?;
    told.push(ruby.get_inner(entry.env))?;
    told.push(backtrace)?;
    told.push(late.to_string())?;
    told.push(late.age.as_secs_f64())?;
    Ok(told)
}

/// `Rserve::RequestTimeout`.
#[derive(TypedData)]
#[magnus(class = "Rserve::RequestTimeout", free_immediately)]
pub(crate) struct RequestTimeout {
    server: Arc<Server>,
    serial: u64,
}

impl DataTypeFunctions for RequestTimeout {}

impl RequestTimeout {
    /// Gives this request so many seconds more. Does nothing once it is over.
    fn extend(&self, seconds: f64) {
        self.server.extend(self.serial, options::seconds(seconds));
    }
}

pub(crate) fn init(ruby: &Ruby, rserve: RModule) -> Result<(), Error> {
    let class = rserve.define_class("RequestTimeout", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("extend", method!(RequestTimeout::extend, 1))
}
