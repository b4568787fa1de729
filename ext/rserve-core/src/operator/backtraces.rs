//! `/threads?backtrace=1`: what every thread does, and where it is, as each worker says. Who does not answer in time is
//! listed as one that does not.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, Inquiry};
use crate::backtraces::Backtraces;
use crate::metrics;
use crate::telemetry::Snapshot;

/// How long a worker may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct BacktraceInquiry {
    backtraces: Arc<Backtraces>,
    threads: String,
    asked_at: u64,
    until: Instant,
    workers: Vec<Asked>,
}

struct Asked {
    index: u32,
    place: u32,
    pid: u32,
    /// A JSON array.
    answer: Option<Vec<u8>>,
}

impl BacktraceInquiry {
    /// Asks the workers of `snapshot`.
    ///
    /// # Errors
    ///
    /// As write(2).
    pub(super) fn begin(backtraces: &Arc<Backtraces>, snapshot: &Snapshot, now: Instant) -> io::Result<Self> {
        let present = snapshot.present().filter_map(|worker| {
            Some(Asked { index: worker.index, place: worker.place, pid: worker.pid?, answer: None })
        });
        Ok(Self {
            backtraces: Arc::clone(backtraces),
            threads: metrics::threads(snapshot),
            workers: present.collect(),
            asked_at: backtraces.ring()?,
            until: now + PATIENCE,
        })
    }

    fn json(&self) -> Vec<u8> {
        let mut entries = Vec::new();
        for worker in &self.workers {
            let answer = match &worker.answer {
                Some(answer) => answer.strip_prefix(b"[").and_then(|answer| answer.strip_suffix(b"]")),
                None => None,
            };
            match answer {
                Some([]) => {}
                Some(answer) => entries.push(answer.to_vec()),
                None => entries.push(worker.silence().into_bytes()),
            }
        }
        let mut json = self.threads.trim_end_matches('}').as_bytes().to_vec();
        json.extend_from_slice(b",\"backtraces\":[");
        json.extend_from_slice(&entries.join(&b','));
        json.extend_from_slice(b"]}");
        json
    }
}

impl Asked {
    /// As the control server has it.
    fn silence(&self) -> String {
        let (index, pid, seconds) = (self.index, self.pid, PATIENCE.as_secs());
        format!(
            r#"{{"name":"Worker {index} (PID: {pid})","backtrace":["<does not answer within {seconds} s>"],"worker":{index},"pid":{pid}}}"#
        )
    }
}

impl Inquiry for BacktraceInquiry {
    fn look(&mut self, now: Instant) -> Option<Answer> {
        for worker in self.workers.iter_mut().filter(|worker| worker.answer.is_none()) {
            let pid = i32::try_from(worker.pid).unwrap_or(-1);
            worker.answer = self.backtraces.answer(worker.place, pid, self.asked_at).ok().flatten();
        }
        let complete = self.workers.iter().all(|worker| worker.answer.is_some());
        (complete || now >= self.until).then(|| Answer::json(self.json()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtraces::Listener;
    use crate::cluster::{Index, Phase, PlaceId};
    use crate::telemetry::Telemetry;

    #[test]
    fn who_answers_is_told_and_who_does_not_is_named_in_the_end() {
        let telemetry = Telemetry::new().unwrap();
        for place in 0..2 {
            telemetry.prepare(PlaceId(place), Index(place), Phase(0));
        }
        let mut snapshot = telemetry.read();
        for (worker, pid) in snapshot.workers.iter_mut().zip([10, 11]) {
            worker.pid = Some(pid);
        }
        let backtraces = Arc::new(Backtraces::new().unwrap());
        let listener = Listener::new(&backtraces).unwrap();
        let now = Instant::now();
        let mut inquiry = BacktraceInquiry::begin(&backtraces, &snapshot, now).unwrap();
        assert!(listener.is_asked());
        assert_eq!(inquiry.look(now), None);
        listener.answer(1, 11, listener.begin(), br#"[{"name":"a"},{"name":"b"}]"#).unwrap();
        assert_eq!(inquiry.look(now), None, "one is missing");
        let text = String::from_utf8(inquiry.look(now + PATIENCE).unwrap().content).unwrap();
        let silent = r#"{"name":"Worker 0 (PID: 10)","backtrace":["<does not answer within 1 s>"],"worker":0,"pid":10}"#;
        let end = format!(r#","threads":[],"backtraces":[{silent},{{"name":"a"}},{{"name":"b"}}]}}"#);
        assert!(text.ends_with(&end), "{text}");
        listener.answer(0, 10, listener.begin(), b"[]").unwrap();
        let text = String::from_utf8(inquiry.look(now).unwrap().content).unwrap();
        assert!(text.ends_with(r#","backtraces":[{"name":"a"},{"name":"b"}]}"#), "{text}");
    }
}
