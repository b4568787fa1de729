//! How the restarts of a server have gone, for operators.

use std::time::{Duration, Instant};

use super::Takeover;
use super::generation::Generation;
use crate::succession::Number;
use crate::telemetry::RestartResult;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The generation that serves.
    serves: Option<Number>,
    /// Restarts that were asked for.
    asked: u32,
    /// How many of these have been answered: by the generation that began last after they were asked for.
    answered: u32,
    /// In the order of [`RestartResult::ALL`].
    results: [u32; RestartResult::COUNT],
    under_way: Option<Attempt>,
    last: Option<Outcome>,
}

#[derive(Clone, Debug, PartialEq)]
struct Attempt {
    number: Number,
    answers: u32,
    began: Instant,
}

/// Why a restart has failed.
pub(super) struct Failure {
    pub(super) result: RestartResult,
    /// For the log.
    pub(super) line: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    number: Number,
    failure: Option<String>,
    took: Duration,
}

impl Standing {
    pub(super) fn asked(&mut self) {
        self.asked += 1;
    }

    pub(super) fn serves(&mut self, number: Number) {
        self.serves = Some(number);
    }

    pub(super) fn begun(&mut self, number: Number, now: Instant) {
        self.under_way = Some(Attempt { number, answers: self.asked, began: now });
    }

    pub(super) fn last_failure(&self) -> Option<&str> {
        self.last.as_ref()?.failure.as_deref()
    }

    /// It has no result of its own: who asked for it gets the newer one's.
    pub(super) fn superseded(&mut self, number: Number) {
        self.under_way.take_if(|attempt| attempt.number == number);
    }

    /// `true` if this was the attempt that is under way.
    pub(super) fn ended(&mut self, number: Number, failure: Option<Failure>, now: Instant) -> bool {
        let Some(attempt) = self.under_way.take_if(|attempt| attempt.number == number) else { return false };
        let result = failure.as_ref().map_or(RestartResult::Completed, |failure| failure.result);
        let failure = failure.map(|failure| failure.line);
        self.results[result as usize] += 1;
        self.answered = attempt.answers;
        self.last = Some(Outcome { number, failure, took: now.saturating_duration_since(attempt.began) });
        true
    }
}

impl Takeover {
    /// How the restarts have gone and which generations there are, as a JSON object.
    pub fn standing(&self) -> String {
        let Standing { serves, asked, answered, results, last, .. } = &self.standing;
        let succeeded = results[RestartResult::Completed as usize];
        let failed: u32 = results.iter().sum::<u32>() - succeeded;
        let failures = RestartResult::ALL.iter().zip(results).skip(1);
        let failures: Vec<String> =
            failures.map(|(result, count)| format!(r#""{}":{count}"#, result.label())).collect();
        let failures = failures.join(",");
        let generations: Vec<String> = self.generations.iter().map(describe).collect();
        let last = last.as_ref().map_or("null".into(), |last| {
            let failure = last.failure.as_ref().map_or("null".into(), |text| quoted(text));
            let seconds = last.took.as_secs_f64();
            format!(r#"{{"generation":{},"failure":{failure},"seconds":{seconds:.3}}}"#, last.number)
        });
        let serves = serves.map_or("null".into(), |number| number.to_string());
        format!(
            r#"{{"generation":{serves},"asked":{asked},"answered":{answered},"restarts":{{"succeeded":{succeeded},"failed":{failed}}},"failures":{{{failures}}},"last_restart":{last},"generations":[{}]}}"#,
            generations.join(",")
        )
    }
}

fn describe(generation: &Generation) -> String {
    let pid = generation.pid.map_or("null".into(), |pid| pid.to_string());
    let (number, state, workers) = (generation.number, generation.name(), generation.staff.workers);
    format!(r#"{{"generation":{number},"pid":{pid},"state":"{state}","workers":{workers}}}"#)
}

/// As a string of JSON.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
