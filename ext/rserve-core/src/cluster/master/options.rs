//! What the operator asked of the cluster.

use std::time::Duration;

use super::RetirementOptions;

/// Which worker goes first when there are more than asked for
/// (`worker_culling_strategy`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CullingStrategy {
    /// The worker that was forked last. The default.
    #[default]
    Youngest,
    /// The worker that was forked first.
    Oldest,
}

/// The options that the cluster's decisions depend on, named as in the
/// configuration file; the defaults are Puma 6's.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many workers to start with; TTIN and TTOU change it afterwards. The default is 1.
    pub workers: u32,
    /// `Some` when worker 0 forks the others. The number is how many requests
    /// worker 0 serves before the one automatic refork; 0 means never. The default is `None`.
    pub fork_worker: Option<u64>,
    /// After how many requests of a worker the first refork from a mold comes, the second, and so on; the last number
    /// holds for all that follow. Empty for never, and with `fork_worker`. The default is empty.
    pub refork_after: Vec<u64>,
    /// HUP reopens redirected output; without a redirect it stops the cluster. The default is `false`.
    pub redirects_io: bool,
    /// The default is [`CullingStrategy::Youngest`].
    pub worker_culling_strategy: CullingStrategy,
    /// The longest time between two looks at the workers. The default is 5 s.
    pub worker_check_interval: Duration,
    /// A booted worker that has not pinged for this long is killed. The default is 60 s.
    pub worker_timeout: Duration,
    /// A worker that has not booted after this long is killed. The default is 60 s.
    pub worker_boot_timeout: Duration,
    /// A worker that has not exited this long after TERM is killed. The default is 30 s.
    pub worker_shutdown_timeout: Duration,
    /// After TERM everything goes on for so long, for whoever sends requests here to be told. The default is 0.
    pub shutdown_delay: Duration,
    /// When workers are replaced that do nothing wrong. The default is never.
    pub retirement: RetirementOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            fork_worker: None,
            refork_after: Vec::new(),
            redirects_io: false,
            worker_culling_strategy: CullingStrategy::default(),
            worker_check_interval: Duration::from_secs(5),
            worker_timeout: Duration::from_secs(60),
            worker_boot_timeout: Duration::from_secs(60),
            worker_shutdown_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::ZERO,
            retirement: RetirementOptions::default(),
        }
    }
}
