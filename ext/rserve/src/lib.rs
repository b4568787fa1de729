//! The bridge: Ruby on one side, `rserve-core` on the other. It decides nothing.
//!
//! One file for each Ruby class ([`core`], [`client`], [`stream`], [`master`], [`worker`]); [`env`] and [`response`] translate, [`writer`]
//! sends, [`gvl`] and [`protect`] are the two dangerous borders.

mod buffer;
mod client;
mod command_line;
mod core;
mod early_hints;
mod env;
mod error;
mod gvl;
mod input;
mod master;
mod protect;
mod response;
mod settings;
mod stream;
mod text;
mod thread_events;
mod tls;
mod worker;
mod writer;

use magnus::{Error, Module, Ruby};

#[magnus::init]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let rserve = ruby.define_module("Rserve")?;
    let native = rserve.define_module("Native")?;
    client::init(ruby, rserve)?;
    stream::init(ruby, rserve)?;
    tls::init(ruby, native)?;
    core::init(ruby, native)?;
    early_hints::init(native)?;
    command_line::init(native)?;
    worker::init(ruby, native)?;
    master::init(ruby, native)?;
    Ok(())
}
