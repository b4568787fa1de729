//! Worker 0 under `fork_worker`: it forks all others, and cannot serve while it does.

/// What worker 0 is doing, as far as the master has told it.
///
/// It boots without serving, so that the cluster's first forks need no pause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mold {
    /// No worker 0, or not booted, or on its way out: nobody to fork from.
    Absent,
    /// Ready to fork. `reforking` when it served before, and so ran `before_refork`.
    Paused { reforking: bool },
    /// Serving requests.
    Serving,
}
