//! Which worker takes a connection: [`Balancer`] decides by what the workers show each other on the [`Board`], the poller asks at
//! the [`Gate`].

mod board;
mod collecting;
mod gate;
mod large_turns;
mod verdict;

pub use board::{Board, Place};
pub use collecting::{Need, Step};
pub use gate::Gate;
pub(crate) use large_turns::LargeTurns;
pub use large_turns::Turn;
pub use verdict::{Balancer, Verdict, WorkerLoad};
