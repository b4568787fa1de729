//! The processes of a cluster, for Ruby: the master's decisions and a worker's ways to the others.

pub(crate) mod master;
pub(crate) mod worker;
