//! The bridge: Ruby on one side, `rserve-core` on the other. It decides nothing.

use magnus::{Error, Module, Ruby};

#[magnus::init]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let rserve = ruby.define_module("Rserve")?;
    let _native = rserve.define_module("Native")?;
    Ok(())
}
