//! Who forks the others: worker 0 under `fork_worker`, which cannot serve while it does, or the mold under
//! `refork_after`, which never serves.

/// What it is doing, as far as the master has told it.
///
/// Worker 0 boots without serving, so that the cluster's first forks need no pause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mold {
    /// There is none, or it has not booted, or is on its way out: nobody to fork from.
    Absent,
    /// Ready to fork. `reforking` when it served before, and so ran `before_refork`.
    Paused { reforking: bool },
    /// Serving requests; a mold rests.
    Serving,
}
