//! Rust errors as Ruby exceptions.

use magnus::{Error, ExceptionClass, Module, RClass, Ruby, Value, value::ReprValue};

/// An `Errno::…` (or `IOError`) for a system error.
pub(crate) fn system(ruby: &Ruby, error: &std::io::Error) -> Error {
    let Some(code) = error.raw_os_error() else {
        return Error::new(ruby.exception_io_error(), error.to_string());
    };
    let exception: Result<Value, Error> = ruby
        .class_object()
        .const_get::<_, RClass>("SystemCallError")
        .and_then(|class| class.funcall("new", ("rserve", code)));
    match exception
        .and_then(|value| magnus::Exception::from_value(value).ok_or_else(|| bug(ruby, "not an exception")))
    {
        Ok(exception) => exception.into(),
        Err(error) => error,
    }
}

/// A mistake of ours.
pub(crate) fn bug(ruby: &Ruby, what: &str) -> Error {
    Error::new(ruby.exception_runtime_error(), format!("bug in rserve: {what}"))
}

/// `Rserve::ConnectionError`: the client is gone; raised into the application's `each`.
pub(crate) fn connection(ruby: &Ruby, message: &'static str) -> Error {
    let class = ruby
        .class_object()
        .const_get::<_, magnus::RModule>("Rserve")
        .and_then(|rserve| rserve.const_get::<_, ExceptionClass>("ConnectionError"));
    match class {
        Ok(class) => Error::new(class, message),
        Err(error) => error,
    }
}
