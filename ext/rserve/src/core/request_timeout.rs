//! `request_timeout`: which thread has which request, for whoever is told of one that takes long, and
//! `env["rserve.timeout"]`, by which the application asks for more time.

use std::ffi::c_void;
use std::ptr::without_provenance_mut;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::value::{Opaque, ReprValue};
use magnus::{
    Class, Error, Module, RArray, RClass, RHash, RModule, Ruby, Value, gc, method, typed_data::Obj,
};
use rb_sys::VALUE;
use rserve_core::config::options;
use rserve_core::server::{InHand, Late, Server};

use super::Core;
use crate::vm::marked::Marked;

/// The requests that the application has, where there is a time-out.
#[derive(Default)]
pub(crate) struct Timed(Option<Marked<Vec<Entry>>>);

#[derive(Clone, Copy)]
struct Entry {
    serial: u64,
    thread: Opaque<Value>,
    /// If it is one of several of the thread.
    fiber: Option<Opaque<Value>>,
    env: Opaque<Value>,
}

impl Timed {
    pub(crate) fn new(server: &Arc<Server>, wanted: bool) -> Self {
        if !wanted {
            return Self(None);
        }
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server| server.strong_count() > 0);
        servers.push(Arc::downgrade(server));
        Self(Some(Marked::new(Vec::new())))
    }

    pub(crate) fn mark(&self, marker: &gc::Marker) {
        let Some(entries) = &self.0 else { return };
        entries.mark(|entries| {
            for entry in entries {
                marker.mark(entry.thread);
                entry.fiber.into_iter().for_each(|fiber| marker.mark(fiber));
                marker.mark(entry.env);
            }
        });
    }

    /// The calling thread gives `in_hand` to the application, until what this returns is dropped.
    pub(crate) fn begin(&self, in_hand: Option<&InHand<'_>>, environment: RHash) -> Option<Running<'_>> {
        let (entries, in_hand) = (self.0.as_ref()?, in_hand?);
        let serial = in_hand.serial();
        // SAFETY: the calling thread is one of Ruby's.
        let thread = unsafe { Value::from_raw(rb_sys::rb_thread_current()) };
        // SAFETY: as above.
        let fiber =
            in_hand.is_in_fiber().then(|| unsafe { Value::from_raw(rb_sys::rb_fiber_current()) }.into());
        let entry = Entry { serial, thread: thread.into(), fiber, env: environment.as_value().into() };
        entries.with(|entries| entries.push(entry));
        Some(Running { entries, serial })
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
    let backtrace: Value =
        entry.fiber.map_or(thread, |fiber| ruby.get_inner(fiber)).funcall("backtrace", ())?;
    let told = ruby.ary_new();
    told.push(thread)?;
    told.push(ruby.get_inner(entry.env))?;
    told.push(backtrace)?;
    told.push(late.to_string())?;
    told.push(late.age.as_secs_f64())?;
    Ok(told)
}

/// Those that have a time-out; the objects below know no more than the serial of their request.
static SERVERS: Mutex<Vec<Weak<Server>>> = Mutex::new(Vec::new());

static CLASS: OnceLock<Opaque<RClass>> = OnceLock::new();

/// What Ruby knows of the objects: nothing is behind them that would have to be marked or freed.
struct DataType(rb_sys::rb_data_type_t);

// SAFETY: never written to.
unsafe impl Sync for DataType {}

static DATA_TYPE: DataType = DataType({
    // SAFETY: numbers, and pointers that may be null.
    let mut data_type: rb_sys::rb_data_type_t = unsafe { std::mem::zeroed() };
    data_type.wrap_struct_name = c"Rserve::RequestTimeout".as_ptr();
    data_type.flags = 1; // RUBY_TYPED_FREE_IMMEDIATELY
    data_type
});

/// A new `Rserve::RequestTimeout`, of the request with this serial. Each request has one: its data pointer is the serial, so that
/// nothing is allocated beside it.
///
/// # Safety
///
/// To be called under `protect`, in frames that have nothing that needs dropping.
pub(crate) unsafe fn object(ruby: &Ruby, serial: u64) -> VALUE {
    let Some(class) = CLASS.get() else { return rb_sys::Qnil as VALUE };
    let data = without_provenance_mut::<c_void>(usize::try_from(serial).unwrap_or(usize::MAX));
    // SAFETY: the caller's promise; the type is one for ever, and says that nobody follows the pointer.
    unsafe {
        rb_sys::rb_data_typed_object_wrap(ruby.get_inner(*class).as_raw(), data, &raw const DATA_TYPE.0)
    }
}

/// Gives this request so many seconds more. Does nothing once it is over.
fn extend(this: Value, seconds: f64) {
    // SAFETY: asked about any object; of one of this type the data pointer is the serial.
    let serial = unsafe {
        if rb_sys::rb_typeddata_is_kind_of(this.as_raw(), &raw const DATA_TYPE.0) == 0 {
            return;
        }
        rb_sys::rb_check_typeddata(this.as_raw(), &raw const DATA_TYPE.0)
    };
    let servers: Vec<_> = SERVERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for server in servers.iter().filter_map(Weak::upgrade) {
        server.extend(serial.addr() as u64, options::seconds(seconds));
    }
}

pub(crate) fn init(ruby: &Ruby, rserve: RModule) -> Result<(), Error> {
    let class = rserve.define_class("RequestTimeout", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("extend", method!(extend, 1))?;
    ruby.gc_register_mark_object(class);
    let _ = CLASS.set(class.into());
    Ok(())
}
