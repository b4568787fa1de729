//! Requests by what Prometheus calls labels: a table of bounded size, in which nobody waits for anybody.

use std::sync::atomic::{AtomicU64, Ordering};

use rserve_http1::Version;

use super::histogram::{self, Histogram, OF_REQUESTS};

/// Combinations of a worker's that are told apart; all others are one.
const SERIES: usize = 64;

const ENTRY: usize = 1 + histogram::WORDS;

/// Words of the table.
pub(super) const WORDS: usize = (SERIES + 1) * ENTRY;

/// Methods that are told apart (OpenTelemetry's conventions for HTTP).
const METHODS: [&str; 10] =
    ["_OTHER", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// What kind of request it was, and how it was answered.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Labels {
    method: u8,
    https: bool,
    version: Version,
    /// 0 when there was no response.
    status: u16,
}

impl Labels {
    /// Of requests that the table has no room for.
    const OVERFLOW: Self = Self { method: 0, https: false, version: Version::Http11, status: 0 };

    /// Of a request, which has no response yet.
    pub fn new(method: &[u8], https: bool, version: Version) -> Self {
        let known = METHODS.iter().position(|known| known.as_bytes() == method);
        let method = known.and_then(|at| u8::try_from(at).ok()).unwrap_or(0);
        Self { method, https, version, status: 0 }
    }

    /// The response has this status.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// `http_request_method`
    pub fn method(self) -> &'static str {
        METHODS.get(usize::from(self.method)).copied().unwrap_or(METHODS[0])
    }

    /// `http_response_status_code`; `None` of a request without a response.
    pub fn status(self) -> Option<u16> {
        (self.status > 0).then_some(self.status)
    }

    /// `url_scheme`
    pub fn scheme(self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// `network_protocol_version`
    pub fn version(self) -> &'static str {
        match self.version {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        }
    }

    /// Never 0.
    fn word(self) -> u64 {
        let version = match self.version {
            Version::Http11 => 0,
            Version::Http10 => 1,
            Version::Http2 => 2,
        };
        let flags = u64::from(self.https) << 1 | version << 2;
        1 | flags | u64::from(self.method) << 8 | u64::from(self.status) << 16
    }

    fn of_word(word: u64) -> Self {
        let [flags, method, low, high, ..] = word.to_le_bytes();
        let status = u16::from_le_bytes([low, high]);
        let version = match flags >> 2 & 3 {
            0 => Version::Http11,
            1 => Version::Http10,
            _ => Version::Http2,
        };
        Self { method, https: flags & 2 != 0, version, status }
    }
}

/// Counts a request.
pub(super) fn observe(table: &[AtomicU64], labels: Labels, nanoseconds: u64) {
    let words = &table[entry(table, labels.word()) * ENTRY..][..ENTRY];
    histogram::observe(&words[1..], &OF_REQUESTS, nanoseconds);
}

/// Where requests like this are counted: in the place that they have, or in a free one, else in the last one.
fn entry(table: &[AtomicU64], word: u64) -> usize {
    let hash = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize;
    for at in (0..SERIES).map(|step| (hash + step) % SERIES) {
        let key = &table[at * ENTRY];
        match key.load(Ordering::Relaxed) {
            known if known == word => return at,
            0 => match key.compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return at,
                Err(taken) if taken == word => return at,
                Err(_) => {}
            },
            _ => {}
        }
    }
    SERIES
}

/// All requests that were counted, by their labels.
pub(super) fn read(table: &[AtomicU64]) -> Vec<(Labels, Histogram)> {
    let entries = table.chunks_exact(ENTRY).enumerate().map(|(at, words)| {
        let word = words[0].load(Ordering::Relaxed);
        let labels = if at == SERIES { Labels::OVERFLOW } else { Labels::of_word(word) };
        (labels, Histogram::read(&words[1..]))
    });
    entries.filter(|(_, histogram)| histogram.count() > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn labels(method: &str, status: u16) -> Labels {
        let mut labels = Labels::new(method.as_bytes(), true, Version::Http10);
        labels.answered(status);
        labels
    }

    #[test]
    fn requests_are_counted_by_their_labels() {
        let table = table();
        for (method, status) in [("GET", 200), ("BREW", 418), ("GET", 200), ("get", 200), ("_OTHER", 0)] {
            observe(&table, labels(method, status), 1);
        }
        let mut counted: Vec<_> = read(&table)
            .into_iter()
            .map(|(labels, histogram)| (labels.method(), labels.status(), histogram.count()))
            .collect();
        counted.sort_unstable();
        let want =
            [("GET", Some(200), 2), ("_OTHER", None, 1), ("_OTHER", Some(200), 1), ("_OTHER", Some(418), 1)];
        assert_eq!(counted, want);
        assert!(
            read(&table).iter().all(|(labels, _)| (labels.scheme(), labels.version()) == ("https", "1.0"))
        );
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_together() {
        let table = table();
        for status in 100..600 {
            observe(&table, labels("GET", status), 1);
            observe(&table, labels("GET", 100 + status % 3), 1);
        }
        let counted = read(&table);
        assert_eq!(counted.len(), SERIES + 1);
        assert_eq!(counted.iter().map(|(_, histogram)| histogram.count()).sum::<u64>(), 1000);
        assert_eq!(counted.last().map(|(labels, _)| *labels), Some(Labels::OVERFLOW));
    }
}
