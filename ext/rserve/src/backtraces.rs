//! `Rserve::Native::Backtraces`: by what processes are asked where their threads are, and answer. In single mode it is
//! also who answers.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use magnus::{
    Class, DataTypeFunctions, Error, Module, Object, RModule, RString, Ruby, TypedData, function, method,
    typed_data::Obj,
};
use rserve_core::backtraces::{Backtraces as Shared, Listener};
use rserve_core::cluster::link::Bell;

use crate::vm::error;
use crate::vm::gvl::without_gvl;

/// See the module.
#[derive(TypedData)]
#[magnus(class = "Rserve::Native::Backtraces", free_immediately)]
pub(crate) struct Backtraces {
    shared: Arc<Shared>,
    ear: RefCell<Option<Arc<Ear>>>,
    /// When somebody was heard to ask.
    asked_at: Cell<u64>,
}

/// Of a process that answers.
struct Ear {
    listener: Listener,
    bell: Bell,
}

impl DataTypeFunctions for Backtraces {}

impl Backtraces {
    /// To be made before the first fork.
    fn new(ruby: &Ruby) -> Result<Self, Error> {
        let shared = Shared::new().map_err(|failure| error::system(ruby, &failure))?;
        Ok(Self { shared: Arc::new(shared), ear: RefCell::default(), asked_at: Cell::new(0) })
    }

    /// The means themselves.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The descriptors by which a program that is executed can ask: of the bell and of the answers.
    fn filenos(&self) -> (i32, i32) {
        let (bell, answers) = self.shared.descriptors();
        (bell.as_raw_fd(), answers.as_raw_fd())
    }

    // ---- single mode ------------------------------------------------------------------------------------------------

    /// From now on this process hears who asks.
    fn listen(ruby: &Ruby, this: &Self) -> Result<(), Error> {
        let open = || Ok(Ear { listener: Listener::new(&this.shared)?, bell: Bell::new()? });
        let ear = open().map_err(|failure: std::io::Error| error::system(ruby, &failure))?;
        this.ear.replace(Some(Arc::new(ear)));
        Ok(())
    }

    /// Waits until somebody asks.
    fn hear(ruby: &Ruby, this: Obj<Self>) -> Result<(), Error> {
        let ear = this.ear(ruby)?;
        while !ear.listener.is_asked() {
            without_gvl(|| ear.bell.wait(&[ear.listener.as_fd()], None), &|| ear.bell.ring());
            ear.bell.stop();
            ruby.thread_check_ints()?;
        }
        this.asked_at.set(ear.listener.begin());
        Ok(())
    }

    /// Answers who was heard last.
    fn answer(ruby: &Ruby, this: &Self, text: RString) -> Result<(), Error> {
        let (ear, text) = (this.ear(ruby)?, text.to_string()?);
        let pid = i32::try_from(std::process::id()).map_err(|_| error::bug(ruby, "a process without pid"))?;
        let written = ear.listener.answer(0, pid, this.asked_at.get(), text.as_bytes());
        written.map_err(|failure| error::system(ruby, &failure))
    }

    fn ear(&self, ruby: &Ruby) -> Result<Arc<Ear>, Error> {
        self.ear.borrow().clone().ok_or_else(|| error::bug(ruby, "nobody listens"))
    }
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Backtraces", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("new", function!(Backtraces::new, 0))?;
    class.define_method("filenos", method!(Backtraces::filenos, 0))?;
    class.define_method("hear", method!(Backtraces::hear, 0))?;
    class.define_method("listen", method!(Backtraces::listen, 0))?;
    class.define_method("answer", method!(Backtraces::answer, 1))?;
    Ok(())
}
