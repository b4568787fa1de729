//! Rust errors as Ruby exceptions.

use std::borrow::Cow;

use magnus::{Class, Error, ExceptionClass, Module, RClass, Ruby, Value, value::ReprValue};
use rserve_core::connection::exchange::BodyFailure;

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

/// `error` as an exception object; `None` for a `throw` or `Thread#kill` on its way.
pub(crate) fn exception(error: &Error) -> Option<Value> {
    use magnus::error::ErrorType;
    match error.error_type() {
        ErrorType::Jump(_) => None,
        ErrorType::Exception(exception) => Some(exception.as_value()),
        // An error that was made in Rust is a class and a message, and no exception yet.
        ErrorType::Error(class, message) => match class.new_instance((message.as_ref(),)) {
            Ok(exception) => Some(exception.as_value()),
            Err(failure) => exception(&failure),
        },
    }
}

/// Lets an exception go, as there is nobody left to be told; what is no exception (`Thread#kill`) stays an error.
pub(crate) fn forgive<T>(outcome: Result<T, Error>) -> Result<(), Error> {
    match outcome {
        Err(failure) if exception(&failure).is_none() => Err(failure),
        _ => Ok(()),
    }
}

/// A mistake of ours.
pub(crate) fn bug(ruby: &Ruby, what: &str) -> Error {
    Error::new(ruby.exception_runtime_error(), format!("bug in rserve: {what}"))
}

/// A `Rserve::BodyError`, or what any closed stream raises: no more of the body can be read.
pub(crate) fn body(ruby: &Ruby, failure: &BodyFailure) -> Error {
    let name = match failure {
        BodyFailure::Over => return Error::new(ruby.exception_io_error(), failure.to_string()),
        BodyFailure::Gone => "BodyAborted",
        BodyFailure::Late => "BodyTimeout",
        BodyFailure::Refused(reason) if reason.status() == 413 => "BodyTooLarge",
        BodyFailure::Refused(_) => "BodyError",
    };
    own(ruby, name, failure.to_string())
}

/// An exception of this gem's.
fn own(ruby: &Ruby, name: &str, message: impl Into<Cow<'static, str>>) -> Error {
    let class = ruby
        .class_object()
        .const_get::<_, magnus::RModule>("Rserve")
        .and_then(|rserve| rserve.const_get::<_, ExceptionClass>(name));
    class.map_or_else(|error| error, |class| Error::new(class, message))
}

/// `Rserve::ConnectionError`: the client is gone; raised into the application's `each`.
pub(crate) fn connection(ruby: &Ruby, message: &'static str) -> Error {
    own(ruby, "ConnectionError", message)
}
