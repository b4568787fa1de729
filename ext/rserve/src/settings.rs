//! A server's options as Ruby gives them, checked by `lib/rserve/` already.

use std::time::Duration;

use magnus::{Error, RHash, Ruby, TryConvert};
use rserve_core::cluster::master as cluster;
use rserve_core::config::compat::Compat;
use rserve_core::config::options::{
    self, Compression, ContentOptions, FiberOptions, Options, Paths, ProxyProtocol, QueueLimits,
    RequestTimeout, StaticFolder,
};
use rserve_http1::content::codings::Coding;

use crate::core::env::RemoteAddress;
use crate::core::thread_events;

/// The option `name`, if it is set.
pub(crate) fn get<T: TryConvert>(settings: RHash, name: &str) -> Result<Option<T>, Error> {
    let ruby = Ruby::get_with(settings);
    settings.lookup::<_, Option<T>>(ruby.to_symbol(name))
}

fn seconds(settings: RHash, name: &str, into: &mut Duration) -> Result<(), Error> {
    if let Some(seconds) = get(settings, name)? {
        *into = options::seconds(seconds);
    }
    Ok(())
}

/// `true` when the option `name` is set and true.
pub(crate) fn flag(settings: RHash, name: &str) -> Result<bool, Error> {
    Ok(get::<bool>(settings, name)?.unwrap_or(false))
}

/// The options of `settings`, a Hash with Symbol keys; what is missing has Puma's default.
pub(crate) fn server(ruby: &Ruby, settings: RHash) -> Result<Options, Error> {
    let mut options = Options { suspensions_told: thread_events::ARE_TOLD, ..Options::default() };
    if let Some(threads) = get(settings, "min_threads")? {
        options.min_threads = threads;
    }
    if let Some(threads) = get::<usize>(settings, "max_threads")? {
        options.max_threads = threads.max(1);
    }
    if let Some(threads) = get(settings, "max_io_threads")? {
        options.max_io_threads = threads;
    }
    seconds(settings, "first_data_timeout", &mut options.first_data_timeout)?;
    seconds(settings, "persistent_timeout", &mut options.persistent_timeout)?;
    seconds(settings, "write_timeout", &mut options.write_timeout)?;
    seconds(settings, "drain_grace", &mut options.drain_grace)?;
    if let Some(limit) = get::<f64>(settings, "stuck_after")? {
        options.stuck_after = (limit > 0.0).then(|| options::seconds(limit));
    }
    options.request_timeout = RequestTimeout {
        soft: get(settings, "request_timeout")?.map(options::seconds),
        hard: get(settings, "hard_request_timeout")?.map(options::seconds),
    };
    options.queue = QueueLimits {
        time: get(settings, "queue_time_limit")?.map(options::seconds),
        length: get(settings, "queue_limit")?,
        exempt: Paths(get(settings, "shed_exempt")?.unwrap_or_default()),
    };
    options.fibers = get::<(Option<Vec<String>>, usize)>(settings, "fibers")?
        .map(|(routes, max)| FiberOptions { routes: routes.map(Paths), max });
    options.stream_uploads = get(settings, "stream_uploads")?.map(Paths);
    if let Some(octets) = get(settings, "unread_limit")? {
        options.unread_limit = octets;
    }
    options.idle_timeout = get(settings, "idle_timeout")?.map(options::seconds);
    if let Some(enabled) = get(settings, "enable_keep_alives")? {
        options.enable_keep_alives = enabled;
    }
    if let Some(queue) = get(settings, "queue_requests")? {
        options.queue_requests = queue;
    }
    options.proxy_protocol = match get::<u8>(settings, "proxy_protocol")? {
        Some(1) => Some(ProxyProtocol::V1),
        Some(2) => Some(ProxyProtocol::V2),
        _ => None,
    };
    if let Some(proxies) = get::<Vec<String>>(settings, "proxies")? {
        options.proxies = proxies
            .iter()
            .map(|network| {
                network.parse().map_err(|failure| {
                    Error::new(
                        ruby.exception_arg_error(),
                        format!("proxy_protocol from {network}: {failure}"),
                    )
                })
            })
            .collect::<Result<_, Error>>()?;
    }
    options.limits.strict = flag(settings, "strict")?;
    options.limits.strict_host = flag(settings, "strict_host")?;
    options.limits.strict_framing = flag(settings, "strict_framing")?;
    options.limits.show_version = flag(settings, "show_version")?;
    options.limits.hide_underscores = flag(settings, "hide_underscores")?;
    options.poses_as_puma = flag(settings, "poses_as_puma")?;
    options.http2 = flag(settings, "http2")?;
    options.methods = get(settings, "supported_http_methods")?;
    options.max_keep_alive = get(settings, "max_keep_alive")?;
    options.limits.body = get(settings, "http_content_length_limit")?;
    if let Some(folder) = get::<String>(settings, "temp_folder")? {
        options.temp_folder = folder.into();
    }
    options.content = content(settings)?;
    options.limits.hide_sendfile = !options.content.storage.is_empty();
    options.compat = get(settings, "compat")?.map(Compat::from_number).unwrap_or_default();
    Ok(options)
}

/// `static`, `x_sendfile` and `compress`.
fn content(settings: RHash) -> Result<ContentOptions, Error> {
    type Static = (String, String, Vec<(String, String)>, bool);
    let folders = get::<Vec<Static>>(settings, "static")?.unwrap_or_default();
    let folders = folders.into_iter().map(|(folder, at, fields, immutable)| StaticFolder {
        folder: folder.into(),
        at,
        fields,
        immutable,
    });
    let storage = get::<Vec<(String, Vec<String>)>>(settings, "storage")?.unwrap_or_default();
    let compression = get::<CompressionSetting>(settings, "compression")?;
    Ok(ContentOptions {
        folders: folders.collect(),
        media_types: get(settings, "media_types")?.unwrap_or_default(),
        storage: storage.into_iter().map(|(folder, names)| (folder.into(), names)).collect(),
        compression: compression.map(compression_of),
    })
}

type CompressionSetting = (Vec<(String, u32)>, u64, u64);

fn compression_of((codings, min, key): CompressionSetting) -> Compression {
    let known = |(name, level): (String, u32)| Coding::of_name(name.as_bytes()).map(|coding| (coding, level));
    Compression { codings: codings.into_iter().filter_map(known).collect(), min, key }
}

/// `set_remote_address`.
pub(crate) fn remote_address(settings: RHash) -> Result<RemoteAddress, Error> {
    if let Some(value) = get(settings, "remote_address_value")? {
        return Ok(RemoteAddress::Value(value));
    }
    Ok(get(settings, "remote_address_header")?.map_or(RemoteAddress::Socket, RemoteAddress::Header))
}

/// Whether a keeper is to hear of the workers.
pub(crate) fn reports_staff(settings: RHash) -> Result<bool, Error> {
    flag(settings, "reports_staff")
}

/// The options of a cluster, from a Hash with Symbol keys.
pub(crate) fn cluster(settings: RHash) -> Result<cluster::Options, Error> {
    let mut options = cluster::Options {
        fork_worker: get(settings, "fork_worker")?,
        refork_after: get(settings, "refork_after")?.unwrap_or_default(),
        redirects_io: flag(settings, "redirects_io")?,
        ..cluster::Options::default()
    };
    if let Some(workers) = get(settings, "workers")? {
        options.workers = workers;
    }
    if flag(settings, "cull_oldest")? {
        options.worker_culling_strategy = cluster::CullingStrategy::Oldest;
    }
    options.retirement = retirement(settings)?;
    seconds(settings, "worker_check_interval", &mut options.worker_check_interval)?;
    seconds(settings, "worker_timeout", &mut options.worker_timeout)?;
    seconds(settings, "worker_boot_timeout", &mut options.worker_boot_timeout)?;
    seconds(settings, "worker_shutdown_timeout", &mut options.worker_shutdown_timeout)?;
    seconds(settings, "shutdown_delay", &mut options.shutdown_delay)?;
    Ok(options)
}

/// `worker_max_memory`, `max_requests`, `worker_lifetime`.
fn retirement(settings: RHash) -> Result<cluster::RetirementOptions, Error> {
    let memory = get::<RHash>(settings, "worker_max_memory")?.map(memory_limit).transpose()?;
    let lifetime = get::<(f64, f64)>(settings, "worker_lifetime")?;
    Ok(cluster::RetirementOptions {
        memory,
        requests: get(settings, "max_requests")?,
        lifetime: lifetime.map(|(length, jitter)| (options::seconds(length), jitter)),
        seed: get(settings, "seed")?.unwrap_or_default(),
    })
}

fn memory_limit(settings: RHash) -> Result<cluster::MemoryLimit, Error> {
    let mut every = Duration::from_secs(30);
    seconds(settings, "every", &mut every)?;
    Ok(cluster::MemoryLimit {
        limit: get(settings, "limit")?.unwrap_or(u64::MAX),
        samples: get(settings, "samples")?.unwrap_or(1),
        every,
        hard: get(settings, "hard")?,
    })
}
