//! `X-Request-Start`: when somebody in front of the server had a request, who says so as routers and proxies do:
//! `t=1700000000.123` (seconds, nginx), `1700000000123` (milliseconds, Heroku), `t=1700000000123456` (microseconds,
//! Apache). Which of them it is, the size of the number tells.

use std::time::Duration;

/// The field.
pub const FIELD: &[u8] = b"X-Request-Start";

/// A request that is said to be older was stamped by a clock that is wrong.
const OLDEST: Duration = Duration::from_secs(60 * 60);

/// How long ago the request was with whoever wrote `value`; both times are since 1970. `None` for what is no such time,
/// or cannot be true.
pub fn age(value: &[u8], now: Duration) -> Option<Duration> {
    let age = now.checked_sub(stamp(value)?)?;
    (age <= OLDEST).then_some(age)
}

fn stamp(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let number = text.strip_prefix("t=").unwrap_or(text);
    // Else `inf`, `1e9`, `-1` and the like were numbers, too.
    if !number.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let seconds = match number {
        seconds if seconds < 1e11 => seconds,
        millis if millis < 1e14 => millis / 1e3,
        micros => micros / 1e6,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_the_request_before_says_when_in_one_of_three_units() {
        let now = Duration::from_millis(1_700_000_000_500);
        for (value, want) in [
            ("t=1700000000.25", Some(250)),
            ("t=1700000000", Some(500)),
            ("1700000000.5", Some(0)),
            ("1700000000250", Some(250)),
            ("t=1700000000250.75", Some(249)),
            ("t=1700000000250000", Some(250)),
            (" t=1699999999.5 ", Some(1000)),
            ("t=1699996400.5", Some(3_600_000)),
            ("t=1699996400.4", None),
            ("t=1700000000.6", None),
            ("", None),
            ("t=", None),
            ("t=0", None),
            ("t=-1700000000", None),
            ("t=1.7e9", None),
            ("t=inf", None),
            ("t=1.2.3", None),
            ("t=17000000002500000000", None),
            ("yesterday", None),
            ("\u{e9}", None),
        ] {
            let age = age(value.as_bytes(), now).map(|age| age.as_millis());
            // A double is as exact as a microsecond.
            let near = |got: u128, want: u128| got.abs_diff(want) <= 1;
            match (age, want) {
                (None, None) => {}
                (Some(got), Some(want)) => assert!(near(got, want), "{value:?}: {got}"),
                (got, want) => panic!("{value:?}: {got:?}, not {want:?}"),
            }
        }
    }
}
