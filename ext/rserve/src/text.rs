//! Octets to Ruby strings and back.

use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::value::ReprValue;
use magnus::{RArray, RString, Ruby, Symbol, Value};
use rb_sys::VALUE;

/// A new unfrozen ASCII-8BIT string. May raise `NoMemoryError`: to be called under `protect`.
pub(crate) fn binary(octets: &[u8]) -> VALUE {
    // A Rust empty slice's pointer is no address; Ruby must not see it.
    let pointer = if octets.is_empty() { c"".as_ptr() } else { octets.as_ptr().cast() };
    // SAFETY: `pointer` is valid for `octets.len()` octets, which are copied.
    unsafe { rb_sys::rb_str_new(pointer, octets.len() as _) }
}

/// A frozen, deduplicated string in UTF-8 (or US-ASCII, as Ruby sees fit).
pub(crate) fn interned(ruby: &Ruby, text: &str) -> Value {
    let string = ruby.str_new(text);
    // SAFETY: `string` is a string.
    unsafe { Value::from_raw(rb_sys::rb_str_to_interned_str(string.as_raw())) }
}

/// The octets of `value` when it is a string.
///
/// # Safety
///
/// They are valid as long as the string is neither changed nor collected: no Ruby code may run meanwhile, and the
/// caller keeps `value` reachable.
pub(crate) unsafe fn octets<'a>(value: Value) -> Option<&'a [u8]> {
    let string = RString::from_value(value)?;
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(string.as_slice().as_ptr(), string.len()) })
}

/// `to_s`, for header values and chunks that are no strings.
pub(crate) fn to_s(value: Value) -> Result<RString, magnus::Error> {
    match RString::from_value(value) {
        Some(string) => Ok(string),
        None => value.funcall("to_s", ()),
    }
}

/// The text of a field's name: a String, or a Symbol (as of `{ "content-type": … }`).
pub(crate) fn of_name(name: Value) -> Option<RString> {
    RString::from_value(name).or_else(|| {
        let symbol = Symbol::from_value(name)?;
        // SAFETY: the String of a Symbol, which keeps it; raises nothing.
        RString::from_value(unsafe { Value::from_raw(rb_sys::rb_sym2str(symbol.as_raw())) })
    })
}

/// The elements of `array`, which is not to be changed meanwhile: unlike magnus' own iterator, this one makes no copy.
pub(crate) fn elements(array: RArray) -> impl Iterator<Item = Value> {
    (0..array.len()).map(move |index| {
        // SAFETY: `array` is an Array; an index beyond its end gives nil. Raises nothing.
        unsafe { Value::from_raw(rb_sys::rb_ary_entry(array.as_raw(), index as _)) }
    })
}
