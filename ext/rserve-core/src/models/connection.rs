//! A connection's owner × the poller, which sees its edges.

use std::sync::Arc;

use super::{every_order, thread};
use crate::connection::ownership::{NEVER, Ownership};
use crate::net::edges::{READABLE, WRITABLE};
use crate::sync::Mutex;

fn busy() -> Arc<Ownership> {
    let owner = Ownership::new();
    owner.occupy();
    Arc::new(owner)
}

#[test]
fn an_edge_is_seen_by_one_of_the_two() {
    every_order(|| {
        let owner = busy();
        let pool_thread = thread(&owner, |owner| {
            let mut seen = 0;
            owner.let_go(|edges| {
                seen |= edges;
                true
            });
            seen & READABLE != 0
        });
        let polls_on = owner.saw(READABLE);
        let seen = pool_thread.join().unwrap();
        assert!(polls_on != seen, "{polls_on} {seen}");
        assert!(!owner.is_busy());
    });
}

#[test]
fn no_deadline_is_left_when_the_next_request_comes_while_it_lets_go() {
    every_order(|| {
        let owner = busy();
        let pool_thread = thread(&owner, |owner| {
            owner.let_go(|edges| {
                let waits = edges & READABLE == 0;
                if waits {
                    owner.set_deadline(10);
                }
                waits
            });
        });
        let polls_on = owner.saw(READABLE);
        pool_thread.join().unwrap();
        assert_eq!(owner.is_busy(), !polls_on);
        assert_eq!(owner.deadline(), if polls_on { 10 } else { NEVER });
    });
}

#[test]
fn a_socket_that_takes_more_is_not_forgotten_between_who_has_the_exchange_and_the_poller() {
    every_order(|| {
        let shared = Arc::new((busy(), Mutex::new(0)));
        let makes_response = thread(&shared, |(owner, sent)| {
            drop(sent.lock().unwrap());
            // As `Server::make_up_for`.
            Ownership::see_each_other();
            while owner.take_writable() {
                *sent.lock().unwrap() += 1;
            }
        });
        let (owner, sent) = &*shared;
        // As `Poller::go_on`.
        assert!(!owner.saw(WRITABLE));
        Ownership::see_each_other();
        if let Ok(mut sent) = sent.try_lock() {
            owner.take_writable();
            *sent += 1;
        }
        makes_response.join().unwrap();
        assert!(*sent.lock().unwrap() > 0);
    });
}
