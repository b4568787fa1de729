//! A body that is a file, or names one with `to_path`.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::value::ReprValue;
use magnus::{Error, RString, Ruby, Value};
use rb_sys::VALUE;

use crate::vm::{error, text};

/// A regular file, by a descriptor of our own.
pub(crate) struct BodyFile {
    pub(crate) file: File,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl BodyFile {
    /// `None` when `body` is for `each`: no file, or one that is no regular file.
    ///
    /// # Errors
    ///
    /// What the application's own methods raise, or give that makes no sense.
    pub(crate) fn of(ruby: &Ruby, body: Value) -> Result<Option<Self>, Error> {
        if body.is_kind_of(ruby.class_io()) {
            return Self::of_io(ruby, body);
        }
        if !body.respond_to("to_path", false)? {
            return Ok(None);
        }
        match body.funcall::<_, _, Value>("to_path", ())? {
            nothing if nothing.is_nil() => Ok(None),
            path => Ok(Self::open(path_of(path)?)),
        }
    }

    /// A pipe, a socket, a FIFO or a device has no length, and is no file here.
    fn of_io(ruby: &Ruby, io: Value) -> Result<Option<Self>, Error> {
        // Ruby first: its buffer of what was written goes to the file, and that of what was read counts.
        if !is_regular(&duplicate(ruby, io)?) || !io.respond_to("size", false)? {
            return Ok(None);
        }
        let (size, offset): (u64, u64) = (io.funcall("size", ())?, io.funcall("pos", ())?);
        let file = duplicate(ruby, io)?;
        Ok(Some(Self { file, offset, length: size.saturating_sub(offset) }))
    }

    fn open(path: PathBuf) -> Option<Self> {
        // O_NONBLOCK: a FIFO without writer would hang.
        let file = std::fs::OpenOptions::new().read(true).custom_flags(0o4000).open(path).ok()?;
        let metadata = file.metadata().ok()?;
        metadata.is_file().then(|| Self { file, offset: 0, length: metadata.len() })
    }
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// A descriptor for what `io` has open, whatever its `fileno` says. Raises when it is closed.
fn duplicate(ruby: &Ruby, io: Value) -> Result<File, Error> {
    let mut fd = -1;
    magnus::rb_sys::protect(|| {
        // SAFETY: `io` is an IO; what this raises is caught, and nothing here needs dropping.
        fd = unsafe { rb_sys::rb_io_descriptor(io.as_raw()) };
        rb_sys::Qnil as VALUE
    })?;
    // No Ruby runs in between: `io` cannot be closed.
    let duplicate: Result<OwnedFd, _> = rserve_core::duplicate(fd);
    duplicate.map(File::from).map_err(|failure| error::system(ruby, &failure))
}

/// A path as Ruby's own methods take it: a String, or what has `to_path` or `to_str`.
fn path_of(path: Value) -> Result<PathBuf, Error> {
    let path = magnus::rb_sys::protect(|| {
        // SAFETY: what this raises is caught, and nothing here needs dropping.
        unsafe { rb_sys::rb_get_path(path.as_raw()) }
    })?;
    // SAFETY: made above.
    let path = unsafe { Value::from_raw(path) };
    let octets = RString::from_value(path).map(text::copy).unwrap_or_default();
    Ok(PathBuf::from(OsString::from_vec(octets)))
}
