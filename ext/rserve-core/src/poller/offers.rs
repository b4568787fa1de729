//! Whether the thread that polls offers its processor before it sleeps.

use std::time::Duration;

use crate::tuning::OFFER;

/// After a first offer that was in vain, so many occasions pass before the next one; twice as many after each further one.
const FIRST_REST: u16 = 16;
const LONGEST_REST: u16 = 1024;

/// What came of offers lately. Clients on the same processor take one to send what they are about to send, and give it
/// back; another program keeps it for its whole turn, in which whoever did not sleep waits, too.
#[derive(Default)]
pub(crate) struct Offers {
    /// Occasions until the next offer, and how many there were after the last one that was in vain.
    left: u16,
    rest: u16,
}

impl Offers {
    /// To be asked once on each occasion: whether to offer.
    pub(crate) fn are_due(&mut self) -> bool {
        let due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        due
    }

    /// One took so long, and so many requests have come.
    pub(crate) fn note(&mut self, taken: Duration, come: usize) {
        let in_vain = taken > OFFER * u32::try_from(come.max(1)).unwrap_or(u32::MAX);
        self.rest = if in_vain { (self.rest * 2).clamp(FIRST_REST, LONGEST_REST) } else { 0 };
        self.left = self.rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the next occasions pass without an offer.
    fn rest(offers: &mut Offers) -> usize {
        (0..).find(|_| offers.are_due()).unwrap()
    }

    #[test]
    fn offers_that_are_in_vain_become_rare_and_one_that_is_not_brings_them_back() {
        let mut offers = Offers::default();
        for _ in 0..2 {
            assert_eq!(rest(&mut offers), 0);
            for doubled in 0..20 {
                offers.note(OFFER * 2, 1);
                let expected = (FIRST_REST << doubled.min(6)).min(LONGEST_REST);
                assert_eq!(rest(&mut offers), usize::from(expected));
            }
            offers.note(OFFER, 1);
        }
    }

    #[test]
    fn an_offer_may_take_longer_the_more_it_brings() {
        for (come, in_vain) in [(0, true), (1, true), (9, true), (10, false), (50, false)] {
            let mut offers = Offers::default();
            offers.note(OFFER * 10, come);
            assert_eq!(rest(&mut offers) > 0, in_vain, "{come} have come");
        }
    }
}
