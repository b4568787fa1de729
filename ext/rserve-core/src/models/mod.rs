//! What threads tell each other without a lock, in every order that Rust's memory allows, by loom (`make models`): the
//! server's own types, and around them no more than who calls what. Loom fails a model in which all threads sleep.
//! Without loom each runs once, in whatever order.

mod balance;
mod connection;
mod deadlines;
mod monitor;
mod pool;

use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "loom")]
use loom::thread as threads;
#[cfg(not(feature = "loom"))]
use std::thread as threads;

use crate::pool::queue::Entry;

/// Runs `model` in every order of its threads.
fn every_order(model: impl Fn() + Sync + Send + 'static) {
    #[cfg(feature = "loom")]
    loom::model(model);
    #[cfg(not(feature = "loom"))]
    model();
}

/// As [`every_order`], for more threads: in every order in which a thread is interrupted no more than twice.
fn most_orders(model: impl Fn() + Sync + Send + 'static) {
    #[cfg(feature = "loom")]
    {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(2);
        builder.check(model);
    }
    #[cfg(not(feature = "loom"))]
    model();
}

/// A request that has just become complete.
fn request(large: bool) -> Entry<()> {
    Entry { request: (), since: Instant::now(), large, exempt: false }
}

/// A thread of a model, with `shared`.
fn thread<S: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<S>,
    run: impl FnOnce(&S) -> T + Send + 'static,
) -> threads::JoinHandle<T> {
    let shared = Arc::clone(shared);
    threads::spawn(move || run(&shared))
}
