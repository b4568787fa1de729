//! A server's figures for Ruby: Hashes with all of them, in the core's order, and which of them a compat level tells.

use magnus::{Error, Object, RArray, RHash, RModule, Ruby, function};
use rserve_core::config::compat::Compat;
use rserve_core::server::ServerStats;

/// The figures under their names.
pub(crate) fn to_hash(ruby: &Ruby, stats: &ServerStats) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    for (name, value) in stats.named() {
        hash.aset(ruby.to_symbol(name), value)?;
    }
    Ok(hash)
}

/// The figures of a server that does not run yet.
fn idle_stats(ruby: &Ruby, max_threads: u64) -> Result<RHash, Error> {
    to_hash(ruby, &ServerStats::of_empty_pool(max_threads))
}

fn stat_names(ruby: &Ruby, level: u8, tls: bool, files: bool, fibers: bool) -> RArray {
    let names = ServerStats::names(Compat::from_number(level), tls, files, fibers);
    ruby.ary_from_iter(names.into_iter().map(|name| ruby.to_symbol(name)))
}

pub(crate) fn init(native: RModule) -> Result<(), Error> {
    native.define_singleton_method("idle_stats", function!(idle_stats, 1))?;
    native.define_singleton_method("stat_names", function!(stat_names, 4))
}
