//! Complete requests that wait, and the Ruby threads that serve them: who is called, and when.

pub mod backlog;
pub mod large;
pub mod staffing;
