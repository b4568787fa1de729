//! Octets to Ruby strings and back.

use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::value::ReprValue;
use magnus::{RArray, RString, Ruby, Symbol, Value};
use rb_sys::VALUE;

/// A new unfrozen ASCII-8BIT string.
///
/// # Safety
///
/// It may raise `NoMemoryError`: to be called under `protect`, in frames that have nothing that needs dropping.
pub(crate) unsafe fn binary(octets: &[u8]) -> VALUE {
    // A Rust empty slice's pointer is no address; Ruby must not see it.
    let pointer = if octets.is_empty() { c"".as_ptr() } else { octets.as_ptr().cast() };
    // SAFETY: `pointer` is valid for `octets.len()` octets, which are copied.
    unsafe { rb_sys::rb_str_new(pointer, octets.len() as _) }
}

/// A frozen, deduplicated string in UTF-8 (or US-ASCII, as Ruby sees fit).
pub(crate) fn interned(ruby: &Ruby, text: &str) -> Value {
    ruby.str_new(text).to_interned_str().as_value()
}

/// Lets `read` have the octets of `string`, where they are.
///
/// They may be gone or elsewhere as soon as Ruby runs or allocates: so `read` must do neither, and the compiler sees to it
/// that it has nothing to do it with. Ruby's values and `Ruby` itself are not `Send`. Nor can the octets leave it.
pub(crate) fn with_octets<T>(string: RString, read: impl FnOnce(&[u8]) -> T + Send) -> T {
    // SAFETY: what `read` can reach runs no Ruby, and the string is kept until after it.
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    let outcome = read(unsafe { string.as_slice() });
    std::hint::black_box(string.as_raw());
    outcome
}

/// As [`with_octets`], with the Strings among the elements of `array`, `most` at a time.
pub(crate) fn with_parts(array: RArray, most: usize, mut read: impl FnMut(&[&[u8]]) + Send) {
    let mut parts: Vec<&[u8]> = Vec::with_capacity(most.min(array.len()));
    for part in elements(array).filter_map(RString::from_value) {
        // SAFETY: `array` keeps its Strings, and nothing here runs Ruby: see `with_octets`.
        #[expect(clippy::disallowed_methods, reason = "as above")]
        let octets = unsafe { std::slice::from_raw_parts(part.as_slice().as_ptr(), part.len()) };
        parts.push(octets);
        if parts.len() == most {
            read(&parts);
            parts.clear();
        }
    }
    read(&parts);
    std::hint::black_box(array.as_raw());
}

/// Appends a copy of the octets of `string`.
pub(crate) fn append(string: RString, out: &mut Vec<u8>) {
    with_octets(string, |octets| out.extend_from_slice(octets));
}

/// A copy of the octets of `string`.
pub(crate) fn copy(string: RString) -> Vec<u8> {
    with_octets(string, <[u8]>::to_vec)
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
