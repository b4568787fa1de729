//! What threads tell each other without a lock, in every order that Rust's memory allows, by loom (`make models`): the
//! server's own types, and around them no more than who calls what. Loom fails a model in which all threads sleep.

mod balance;
mod connection;
mod deadlines;
mod monitor;
mod pool;

use std::sync::Arc;
use std::time::Instant;

use crate::pool::queue::Entry;

/// Runs `model` in every order of its threads.
fn every_order(model: impl Fn() + Sync + Send + 'static) {
    loom::model(model);
}

/// As [`every_order`], for more threads: in every order in which a thread is interrupted no more than twice.
fn most_orders(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// A request that has just become complete.
fn request(large: bool) -> Entry<()> {
    Entry { request: (), since: Instant::now(), large, exempt: false }
}

/// A thread of a model, with `shared`.
fn thread<S: Send + Sync + 'static, T: 'static>(
    shared: &Arc<S>,
    run: impl FnOnce(&S) -> T + 'static,
) -> loom::thread::JoinHandle<T> {
    let shared = Arc::clone(shared);
    loom::thread::spawn(move || run(&shared))
}
