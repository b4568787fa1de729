//! The bridge: Ruby on one side, `rserve-core` on the other. It decides nothing.
//!
//! One file for each Ruby class. [`core`] is a server and what its threads do: `env` and `response` translate, `writer`
//! sends; [`cluster`] the master and the workers; [`vm`] how Ruby's VM is dealt with.

mod backtraces;
mod cluster;
mod command_line;
mod core;
mod figures;
mod http_parser;
mod log;
mod operator;
mod settings;
mod succession;
mod telemetry;
mod tls;
mod vm;

use magnus::{Error, Module, Object, RHash, Ruby, TypedData, function};

use crate::cluster::{master, worker};
use crate::core::{client, early_hints, env, request_timeout, stream, thread_events};

#[magnus::init]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let rserve = ruby.define_module("Rserve")?;
    let native = rserve.define_module("Native")?;
    client::init(ruby, rserve)?;
    stream::init(ruby, rserve)?;
    request_timeout::init(ruby, rserve)?;
    tls::init(ruby, native)?;
    core::init(ruby, native)?;
    http_parser::init(ruby, rserve)?;
    early_hints::init(native)?;
    native.define_singleton_method("limit_arenas", function!(rserve_core::limit_arenas, 1))?;
    native.define_singleton_method("release_stack", function!(rserve_core::release_stack, 0))?;
    native.define_singleton_method("trim_heap", function!(rserve_core::trim_heap, 0))?;
    native.define_singleton_method("spare_threads?", function!(rserve_core::could_make_threads, 1))?;
    native.define_singleton_method("reason_phrases", function!(reason_phrases, 0))?;
    command_line::init(native)?;
    log::init(native)?;
    figures::init(native)?;
    telemetry::init(ruby, native)?;
    backtraces::init(ruby, native)?;
    worker::init(ruby, native)?;
    master::init(ruby, native)?;
    succession::init(native)?;
    operator::init(ruby, native)?;
    thread_events::init();
    env::init(ruby);
    look_up_classes(ruby);
    Ok(())
}

/// The reason phrases that are sent, by their status.
fn reason_phrases(ruby: &Ruby) -> Result<RHash, Error> {
    let phrases = ruby.hash_new();
    for (status, phrase) in rserve_http1::status::reasons() {
        phrases.aset(status, ruby.str_new(phrase).to_interned_str())?;
    }
    Ok(phrases)
}

/// Looks each class up once, while there is one thread. Magnus does it at first use, behind a lock, and the lookup runs
/// Ruby code that may let another thread in: that one would wait for the lock with the GVL held, for ever.
fn look_up_classes(ruby: &Ruby) {
    backtraces::Backtraces::class(ruby);
    client::Client::class(ruby);
    core::Core::class(ruby);
    http_parser::HttpParser::class(ruby);
    master::Master::class(ruby);
    operator::OperatorPort::class(ruby);
    stream::Stream::class(ruby);
    telemetry::Telemetry::class(ruby);
    tls::TlsContext::class(ruby);
    tls::TlsStream::class(ruby);
    worker::Worker::class(ruby);
}
