//! `Rserve::Native.parse_command_line`: the command line as a Ruby Hash.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use magnus::encoding::EncodingCapable;
use magnus::{Error, IntoValue, Object, RArray, RHash, RModule, RString, Ruby, TryConvert, Value, function};
use rserve_core::config::cli::{self, Program};

use crate::vm::text;

/// Defines the function on `native`.
pub(crate) fn init(native: RModule) -> Result<(), Error> {
    native.define_singleton_method("parse_command_line", function!(parse_command_line, 3))
}

/// Options by name, or `{exit_status:, text:}` when the program is to end instead.
fn parse_command_line(ruby: &Ruby, name: String, version: String, argv: RArray) -> Result<RHash, Error> {
    let args: Vec<OsString> = argv.into_iter().map(os_string).collect::<Result<_, _>>()?;
    let hash = ruby.hash_new();
    match cli::parse(Program { name: &name, version: &version }, args) {
        Ok(options) => {
            for (name, value) in options {
                hash.aset(ruby.to_symbol(name), to_ruby(ruby, value)?)?;
            }
        }
        Err(exit) => {
            hash.aset(ruby.to_symbol("exit_status"), exit.status)?;
            hash.aset(ruby.to_symbol("text"), exit.text)?;
        }
    }
    Ok(hash)
}

fn os_string(arg: Value) -> Result<OsString, Error> {
    let string = RString::try_convert(arg)?;
    Ok(OsString::from_vec(text::copy(string)))
}

fn to_ruby(ruby: &Ruby, value: cli::Value) -> Result<Value, Error> {
    Ok(match value {
        cli::Value::Flag(on) => on.into_value_with(ruby),
        cli::Value::Integer(number) => number.into_value_with(ruby),
        cli::Value::Text(text) => {
            let string = ruby.str_from_slice(text.as_bytes());
            string.enc_associate(ruby.filesystem_encindex())?;
            string.into_value_with(ruby)
        }
        cli::Value::List(values) => {
            let array = ruby.ary_new_capa(values.len());
            for value in values {
                array.push(to_ruby(ruby, value)?)?;
            }
            array.into_value_with(ruby)
        }
    })
}
