//! Complete requests that wait, and the Ruby threads that serve them: which are called, and when.

pub(crate) mod backlog;
pub(crate) mod fiber_lane;
pub mod large;
pub(crate) mod queue;
mod seat;
mod size;
mod spending;
pub mod staffing;

pub use seat::Seat;
pub(crate) use size::PoolSize;
