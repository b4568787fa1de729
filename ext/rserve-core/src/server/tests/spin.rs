//! Looking on for a moment before one sleeps.

use super::*;
use crate::tuning::{OFFER, SPIN};

/// How often the server has polled, once it has or `patience` is over, while a thread of it has nothing to do after such
/// gaps, and after an offer of the processor that took so long. Nothing ends a sleep in between.
fn turns_of_an_idle_thread(gap: Duration, offer: Duration, patience: Duration) -> u64 {
    let (server, _) = server(Options { min_threads: 1, max_threads: 1, ..Options::default() });
    (0..100).for_each(|_| server.lock_poller().gaps.note(gap));
    server.lock_poller().offers.note(offer, 1);
    let seat = Arc::new(Seat::default());
    thread::scope(|scope| {
        scope.spawn(|| server.wait(&seat));
        let turns = || server.shared.polling.turns.load(Ordering::SeqCst);
        let began = Instant::now();
        while turns() == 0 && began.elapsed() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        let seen = turns();
        server.interrupt(&seat);
        seen
    })
}

#[test]
fn a_thread_looks_on_for_a_moment_only_where_gaps_have_been_short() {
    assert!(turns_of_an_idle_thread(SPIN / 2, OFFER, Duration::from_secs(60)) > 0);
    assert_eq!(turns_of_an_idle_thread(SPIN, OFFER, Duration::from_millis(50)), 0);
}

#[test]
fn a_thread_does_not_look_on_where_another_program_wants_the_processor() {
    assert_eq!(turns_of_an_idle_thread(SPIN / 2, OFFER * 2, Duration::from_millis(50)), 0);
}
