//! `Rserve::Native.early_hints`: a `103 Early Hints` response (RFC 8297) from pairs of names and values.

use magnus::{Error, Object, RArray, RModule, RString, Ruby, TryConvert, Value, function};
use rserve_http1::encode::EarlyHints;

use crate::vm::{buffer, text};

/// The response's octets; empty when no field is fit to be sent.
fn early_hints(ruby: &Ruby, pairs: RArray) -> Result<RString, Error> {
    let mut out = buffer::take();
    let mut name_octets = Vec::new();
    let mut hints = EarlyHints::new(&mut out);
    for pair in pairs.into_iter() {
        let (name, value): (Value, Value) = TryConvert::try_convert(pair)?;
        let (name, values) = (text::to_s(name)?, RArray::from_value(value));
        let values = values.unwrap_or_else(|| ruby.ary_new_from_values(&[value]));
        for value in values.into_iter() {
            let value = text::to_s(value)?;
            name_octets.clear();
            text::append(name, &mut name_octets);
            text::with_octets(value, |value| hints.field(&name_octets, value));
        }
    }
    hints.finish();
    let octets = ruby.str_from_slice(&out);
    buffer::give(out);
    Ok(octets)
}

pub(crate) fn init(native: RModule) -> Result<(), Error> {
    native.define_singleton_method("early_hints", function!(early_hints, 1))
}
