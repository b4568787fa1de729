//! Writing a Hash's entries by their places, by the table that Ruby gives out. Ruby means to take that away.

#[cfg(not(hash_table))]
use rb_sys::VALUE;

/// Whether this Ruby gives out a Hash's table.
pub(crate) const CAN_BE_WRITTEN: bool = cfg!(hash_table);

#[cfg(hash_table)]
pub(crate) use table::replace_first;

/// # Safety
///
/// Not to be called where [`CAN_BE_WRITTEN`] is false.
#[cfg(not(hash_table))]
pub(crate) unsafe fn replace_first(_hash: VALUE, _values: &[VALUE]) {
    unreachable!("this Ruby gives out no table");
}

#[cfg(hash_table)]
mod table {
    use std::os::raw::c_int;

    use rb_sys::{VALUE, st_data_t, st_retval};

    /// Gives the first entries of a Hash these values.
    ///
    /// # Safety
    ///
    /// `hash` is a Hash with at least as many entries, and a table. There is no write barrier: `rb_hash_tbl` tells the
    /// garbage collector, once, that this Hash has none.
    pub(crate) unsafe fn replace_first(hash: VALUE, values: &[VALUE]) {
        let mut left = values.iter();
        // SAFETY: the caller's promise; the callbacks have `left` while this frame lives, and neither allocate nor raise.
        unsafe {
            let table = rb_sys::rb_hash_tbl(hash, c"hash_places.rs".as_ptr(), 0);
            let left = std::ptr::from_mut(&mut left) as st_data_t;
            rb_sys::rb_st_foreach_with_replace(table, Some(choose), Some(replace), left);
        }
    }

    unsafe extern "C" fn choose(
        _key: st_data_t,
        _value: st_data_t,
        _left: st_data_t,
        _error: c_int,
    ) -> c_int {
        st_retval::ST_REPLACE as c_int
    }

    unsafe extern "C" fn replace(
        _key: *mut st_data_t,
        value: *mut st_data_t,
        left: st_data_t,
        _existing: c_int,
    ) -> c_int {
        // SAFETY: `left` is the iterator of `replace_first`, and `value` points to the entry's value.
        let left = unsafe {
            let left = &mut *(left as *mut std::slice::Iter<'_, VALUE>);
            if let Some(own) = left.next() {
                *value = *own as st_data_t;
            }
            left
        };
        if left.as_slice().is_empty() { st_retval::ST_STOP as c_int } else { st_retval::ST_CONTINUE as c_int }
    }
}
