//! What workers show each other in shared memory.

use std::sync::Arc;

use super::{every_order, thread};
use crate::cluster::Index;
use crate::cluster::balance::{Board, Place};
use crate::sync::atomic::{AtomicUsize, Ordering};

fn places() -> [Arc<Place>; 2] {
    let board = Board::new().unwrap();
    [0, 1].map(|index| {
        let place = board.place(Index(index).into()).unwrap();
        place.open(1);
        Arc::new(place)
    })
}

#[test]
fn two_workers_do_not_begin_large_requests_without_seeing_each_other() {
    every_order(|| {
        let [one, other] = places();
        let begin = |place: &Place| place.begin_large(|serving, _| serving == 0);
        let other = thread(&other, begin);
        let begins = [begin(&one), other.join().unwrap()];
        assert_ne!(begins, [true, true]);
    });
}

#[test]
fn a_worker_shows_its_latest_figure_whoever_shows_it() {
    every_order(|| {
        let [place, _] = places();
        let shared = Arc::new((place, AtomicUsize::new(0)));
        let show = |(place, busy): &(Arc<Place>, AtomicUsize)| {
            busy.fetch_add(1, Ordering::SeqCst);
            place.show_work(|| busy.load(Ordering::SeqCst));
        };
        let other = thread(&shared, show);
        show(&shared);
        other.join().unwrap();
        assert_eq!(shared.0.own().work, 2);
    });
}
