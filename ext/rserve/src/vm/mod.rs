//! Ways of dealing with Ruby's VM that every other part of the bridge uses; [`gvl`] and [`protect`] are the two dangerous
//! borders.

pub(crate) mod buffer;
pub(crate) mod error;
pub(crate) mod garbage;
pub(crate) mod gvl;
pub(crate) mod marked;
pub(crate) mod protect;
pub(crate) mod text;
