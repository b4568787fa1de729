//! Numbers that were tuned: what each was measured against, on Ruby 3.3 and two cores at 2.6 GHz, and what becomes of it
//! when it is too small or too large. The test below fails for each that is off by ten. Limits and time-outs that clients
//! or operators are promised stand where they are kept.

use std::time::Duration;

/// Time between two looks of the monitor while requests are being served. A look is two context switches: every
/// millisecond they were 1.3 % of the processor. A request that nobody saw waits for the next one.
pub const TICK: Duration = Duration::from_millis(1);

/// The longest time between two looks, when Ruby's threads see to everything themselves, all of them serve, or one
/// computes. A request that computes for 1 ms came to 2.3 context switches with [`TICK`], to 0.6 with this; one of 60 ms to
/// 111 and 74.
pub const LONGEST_TICK: Duration = Duration::from_millis(4);

/// Requests in a millisecond above which the monitor rests for up to [`LONGEST_TICK`] even where Ruby does not tell of
/// absences. Hello by fifty clients cost 3 to 7 % less without its looks.
pub const BRISK: u64 = 4;

/// Time without anything to do after which the monitor parks: a server that nobody uses costs nothing, and one that is
/// used now and then need not wake it for each request.
pub const IDLE_AFTER: Duration = Duration::from_millis(50);

/// What another thread costs that serves meanwhile, in nanoseconds: two context switches, cold caches, the GVL's way there
/// and back. Looking at a file takes a few thousand, asking a database some hundred thousand. With a thread called at each
/// absence, a Rails page that looks at nine files took 18 context switches instead of 0.2.
pub const RELIEF: u64 = 12_000;

/// An absence is worth another thread when it takes more than one part in so many of the time that is computed before: a page
/// that asks a database five times. Redmine's logs a dozen lines, of which one in ten took long because others had begun: without
/// this each worker had four of its pages at once, and they took the lock of the log from each other.
pub const WORTH: u64 = 32;

/// Longer stretches count as this long, in nanoseconds, so that a single one changes little. With 6 ms a page that computes for
/// 70 between two dozen lines of log seemed to be away for a tenth of the time.
pub const LONGEST_STRETCH: u64 = 100_000_000;

/// Longer absences count as this long, in nanoseconds, so that a single one (the machine had something else to do) changes
/// little.
pub const LONGEST_ABSENCE: u64 = 200_000;

/// How many absences their average is over, or so: few enough that a handful of queries is noticed.
pub const AVERAGED: u64 = 64;

/// In one of so many absences nobody is called, so as to see how long it takes by itself: a thread that serves meanwhile may have
/// the processor when the absent thread wants to come back. Learnt from all of them, a page took 25 switches instead of 6.
pub const PROBE_EVERY: u64 = 16;

/// How long requests wait for a thread that computes before a second one is to compete with it. Ruby's own patience
/// with such a thread is 100 ms; most pages are done before (one of Rails with ERB takes 7 ms).
pub const COMPETE_AFTER: Duration = Duration::from_millis(25);

/// How long requests wait for each of several threads that compute before one more is to compete with them: the turn that Ruby
/// gives each, so that what is begun sooner only waits elsewhere. Redmine's /issues, of 75 ms, took a quarter less memory with
/// two threads than with five, and its p99 was 0.6 times as long.
pub const TURN_OF_EACH: Duration = Duration::from_millis(100);

/// How long a thread polls without sleeping when the last requests came so soon. To sleep and to be woken takes 28 µs of
/// processor time: hello by one client took 38 µs in all and was answered 12,650 times a second, and looking on takes 37 and comes to
/// 20,500.
pub const SPIN: Duration = Duration::from_micros(50);

/// How long it may take, for each request that it brings, to offer the processor before a sleep. Clients who are about to send
/// take some 20 µs. Another program that computes takes a millisecond or more: beside one, hello by one client was answered 680
/// times a second while every sleep began with an offer, by Puma 5400 times.
pub const OFFER: Duration = Duration::from_micros(100);

/// After this a turn of the poller ends; what is left comes first in the next one. Without an end, twenty uploads took 400 ms
/// in which a complete page waited.
pub const TURN: Duration = Duration::from_micros(300);

/// Octets of one connection that are read before other connections get their turn. With a MiB, those twenty took the 400 ms
/// in one round.
pub const READ_BUDGET: usize = 64 * 1024;

/// So long uploads rest after a turn that was late, if a request has begun meanwhile or an upload waits for its answer: a
/// page is done in that time, and twenty may still come at 160 MB/s.
pub const UPLOADS_REST: Duration = Duration::from_millis(8);

/// A turn that took so long waited for the disk, and has left its processor to others.
pub const SLOW_TURN: Duration = Duration::from_millis(1);

/// How often the monitor looks whether more large requests may be served at a time: by the share of the processor that was
/// used since the last look, in which a checksum may have had it for 10 ms at a time.
pub const WEIGH_LARGE_EVERY: Duration = Duration::from_millis(25);

/// One in so many names that are not known is remembered, a power of two: what is in use comes again, and most of what is
/// invented costs nothing. One that is not known takes 0.5 µs more than one that is, a tenth of it for remembering.
pub const ADMITTED: u32 = 16;

/// Octets of a stack that are overwritten before a thread sleeps, where Ruby's collector would take what calls left there
/// for references: to a request and all that hangs on it.
pub const WIPED_STACK: usize = 4096;

/// How soon a worker looks again at a connection that it left to others.
pub const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A worker that has not moved while a connection waited for it this long is taken for stuck: stopped, starved or dead. On
/// a machine with more to do than it can, a healthy one may take some ten milliseconds to wake up; taken for stuck after 10,
/// its sibling took everything.
pub const STUCK_AFTER: Duration = Duration::from_millis(50);

/// A connection that nobody took for this long is taken by a worker whose threads are all busy, but get on: the p99 of 20
/// keep-alive clients of two workers that compute for 1 ms was 22 ms instead of 1.5 s.
pub const LONGEST_LEFT: Duration = Duration::from_millis(30);

/// The threads of a worker that has begun no request for so long are not about to.
pub const STALLED: Duration = Duration::from_millis(10);

/// A worker that has computed for so long at one request is likely to go on with it: what comes meanwhile is passed on to one
/// that has nothing to do, which costs less than a tenth of a millisecond.
pub const OCCUPIED: Duration = Duration::from_millis(3);

/// A new worker that has not answered its first request after so long is given others beside it: the first page of Rails
/// takes 30 ms, and one that waits for news never ends.
pub const FIRST_TAKES: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    // What was measured, in nanoseconds (docs/performance.md, docs/decisions.md).
    const FILE_LOOKED_AT: u64 = 3_000;
    const DATABASE_ASKED: u64 = 100_000;
    /// 1.3 % of the processor, a thousand times a second.
    const MONITOR_LOOKS: u64 = 13_000;
    /// Of a hello's 8.4 µs the kernel takes 60 to 65 %, half of it to send.
    const REQUEST_READ: u64 = 2_600;
    const HELLO: u64 = 8_400;
    /// Twenty in 400 ms.
    const MEBIBYTE_STORED: u64 = 20 * MS;
    /// With ERB.
    const RAILS_PAGE: u64 = 7_200_000;
    /// What hello takes with one client more than with many.
    const SLEEP: u64 = 28_000;
    /// By the first thread of a new worker of a preloaded app.
    const FIRST_RAILS_PAGE: u64 = 30 * MS;
    /// The workload's.
    const APP_SLEEPS: u64 = 5 * MS;
    const CHECKSUM_HAS_PROCESSOR: u64 = 10 * MS;
    const HEALTHY_WAKES_UP: u64 = 10 * MS;
    const PASSED_ON: u64 = 100_000;
    const RUBYS_PATIENCE: u64 = 100 * MS;
    /// Octets of the largest frame below a pool thread's loop, the one that accepts, by the compiled library.
    const LARGEST_FRAME: u64 = 1_480;

    // What is wanted.
    const UPLOADS: u64 = 20;
    const CLIENTS: u64 = 50;
    /// Octets a second of all uploads while they rest in between: a network of a gigabit.
    const UPLOADS_RATE: u64 = 100_000_000;
    /// People who wait for an answer notice it.
    const NOTICED: u64 = 100 * MS;

    /// Looking so often takes no more than this share of a processor.
    fn share_of_looks(every: u64, percent: f64) -> bool {
        MONITOR_LOOKS as f64 / every as f64 * 100.0 <= percent
    }

    /// The average after `times` absences of one length.
    fn average(mut usual: f64, absence: u64, times: u64, over: u64) -> f64 {
        for _ in 0..times {
            usual += (absence as f64 - usual) / over as f64;
        }
        usual
    }

    fn nanos(time: Duration) -> u64 {
        u64::try_from(time.as_nanos()).unwrap()
    }

    /// A name, its number, and whether a number is right in its place.
    type Tuned = (&'static str, u64, fn(u64) -> bool);

    fn tuned() -> Vec<Tuned> {
        vec![
            ("TICK", nanos(TICK), |it| share_of_looks(it, 5.0) && it < APP_SLEEPS),
            ("LONGEST_TICK", nanos(LONGEST_TICK), |it| share_of_looks(it, 0.5) && it < nanos(COMPETE_AFTER)),
            ("BRISK", BRISK, |it| {
                // A thread among five that sleeps for an absence does not come to so many; hello does on a machine that
                // has twice as much to do.
                (1 + 5 * MS / APP_SLEEPS..=MS / (4 * HELLO)).contains(&it)
            }),
            // Of a server that is asked once in a second it is up for no more than a tenth of the time.
            ("IDLE_AFTER", nanos(IDLE_AFTER), |it| (nanos(COMPETE_AFTER)..=100 * MS).contains(&it)),
            ("RELIEF", RELIEF, |it| (2 * FILE_LOOKED_AT..DATABASE_ASKED).contains(&it)),
            ("LONGEST_ABSENCE", LONGEST_ABSENCE, |it| {
                let once = average(FILE_LOOKED_AT as f64, it, 1, AVERAGED);
                let one_of_ten = (it + 9 * FILE_LOOKED_AT) / 10;
                once < RELIEF as f64 && one_of_ten > RELIEF
            }),
            ("WORTH", WORTH, |it| {
                // Five questions and nine files in a page of 20 ms, and a dozen lines in one of 75, of which one is kept.
                let asks = (5 * LONGEST_ABSENCE + 9 * FILE_LOOKED_AT) / 14;
                let logs = (LONGEST_ABSENCE + 11 * FILE_LOOKED_AT) / 12;
                asks * it > 20 * MS / 14 && logs * it < 75 * MS / 14
            }),
            ("LONGEST_STRETCH", LONGEST_STRETCH, |it| {
                // The page counts nearly as a whole; and once so long ends nothing for who asks a database each half a millisecond.
                it >= 70 * MS && LONGEST_ABSENCE * WORTH > MS / 2 + it / AVERAGED
            }),
            ("AVERAGED", AVERAGED, |it| {
                let of_files = |times| average(FILE_LOOKED_AT as f64, LONGEST_ABSENCE, times, it);
                of_files(1) < RELIEF as f64 && of_files(6) > RELIEF as f64
            }),
            ("PROBE_EVERY", PROBE_EVERY, |it| {
                // Those who wait longer for it are no more than a tenth; and what was long is forgotten when it is not.
                let mut probes = 0;
                while average(LONGEST_ABSENCE as f64, FILE_LOOKED_AT, probes, AVERAGED) > RELIEF as f64 {
                    probes += 1;
                }
                let pages = probes * it / 9;
                it >= 10 && pages <= 1000
            }),
            ("COMPETE_AFTER", nanos(COMPETE_AFTER), |it| (RAILS_PAGE..RUBYS_PATIENCE).contains(&it)),
            ("TURN_OF_EACH", nanos(TURN_OF_EACH), |it| (RUBYS_PATIENCE..=2 * RUBYS_PATIENCE).contains(&it)),
            // As long as a sleep costs, for the one who waits for the wrong thing has then paid no more than twice.
            ("SPIN", nanos(SPIN), |it| (SLEEP..=2 * SLEEP).contains(&it)),
            // What a client takes, even a slow one, and less than a tick of any kernel.
            ("OFFER", nanos(OFFER), |it| (2 * SLEEP..MS).contains(&it)),
            ("TURN", nanos(TURN), |it| (CLIENTS * REQUEST_READ..=nanos(TICK)).contains(&it)),
            ("READ_BUDGET", READ_BUDGET as u64, |it| {
                // A record of TLS at least; no more than two ticks of the disk's time.
                it >= 16 * 1024 && MEBIBYTE_STORED * it / (1 << 20) <= 2 * nanos(TICK)
            }),
            ("UPLOADS_REST", nanos(UPLOADS_REST), |it| {
                let rate = UPLOADS * READ_BUDGET as u64 * 1000 * MS / it.max(1);
                it >= RAILS_PAGE && rate >= UPLOADS_RATE
            }),
            ("SLOW_TURN", nanos(SLOW_TURN), |it| {
                it > nanos(TURN) && it < MEBIBYTE_STORED * READ_BUDGET as u64 / (1 << 20)
            }),
            ("WEIGH_LARGE_EVERY", nanos(WEIGH_LARGE_EVERY), |it| {
                // Ten looks within the second after which another one is begun beside one that waits.
                (CHECKSUM_HAS_PROCESSOR..=100 * MS).contains(&it)
            }),
            ("ADMITTED", u64::from(ADMITTED), |it| {
                // Of what is invented a tenth is remembered at most; what is in use, when it has come fifty times.
                (10..=50).contains(&it)
            }),
            ("WIPED_STACK", WIPED_STACK as u64, |it| {
                // Two pages at most that the thread would not have used.
                (LARGEST_FRAME..=2 * 4096).contains(&it)
            }),
            ("LOOK_AGAIN", nanos(LOOK_AGAIN), |it| share_of_looks(it, 5.0) && it < APP_SLEEPS),
            ("STUCK_AFTER", nanos(STUCK_AFTER), |it| (2 * HEALTHY_WAKES_UP..=NOTICED).contains(&it)),
            ("LONGEST_LEFT", nanos(LONGEST_LEFT), |it| (20 * MS / 2..nanos(STUCK_AFTER)).contains(&it)),
            ("FIRST_TAKES", nanos(FIRST_TAKES), |it| {
                (4 * FIRST_RAILS_PAGE..20 * FIRST_RAILS_PAGE).contains(&it)
            }),
            ("OCCUPIED", nanos(OCCUPIED), |it| (10 * PASSED_ON..RAILS_PAGE).contains(&it)),
            ("STALLED", nanos(STALLED), |it| (RAILS_PAGE..nanos(STUCK_AFTER)).contains(&it)),
        ]
    }

    #[test]
    fn each_is_right_as_it_is_and_would_not_be_ten_times_as_large_or_as_small() {
        for (name, number, is_right) in tuned() {
            assert!(is_right(number), "{name} is {number}");
            assert!(!is_right(number * 10), "{name} may be ten times {number}: what was it tuned for?");
            assert!(!is_right(number / 10), "{name} may be a tenth of {number}: what was it tuned for?");
        }
    }
}
