//! Which events are heard: `info`, or `warn,rserve_core::net=debug`.

use tracing::level_filters::LevelFilter;

/// The level of each part of the program. Of several names that begin a part's name the longest one counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    /// Longest name first; the level of everything else is last, with an empty name.
    levels: Vec<(String, LevelFilter)>,
}

/// A text that is no filter. Its message names the part that is wrong.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no log level: say off, error, warn, info, debug or trace, or NAME=LEVEL")]
pub struct InvalidFilter(String);

impl Default for Filter {
    fn default() -> Self {
        Self::from(LevelFilter::OFF)
    }
}

impl From<LevelFilter> for Filter {
    fn from(level: LevelFilter) -> Self {
        Self { levels: vec![(String::new(), level)] }
    }
}

impl Filter {
    /// Reads levels that are separated by commas. Without one for everything, the rest is off.
    ///
    /// # Errors
    ///
    /// A part is neither a level nor `NAME=LEVEL`.
    pub fn parse(text: &str) -> Result<Self, InvalidFilter> {
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, level) = part.split_once('=').unwrap_or(("", part));
            let level = level.trim();
            let level = Some(level).filter(|level| !level.is_empty()).and_then(|level| level.parse().ok());
            let level = level.ok_or_else(|| InvalidFilter(part.to_owned()))?;
            filter.set(name.trim(), level);
        }
        Ok(filter)
    }

    /// From here on `name`, and what it contains, has this level.
    pub fn set(&mut self, name: &str, level: LevelFilter) {
        self.levels.retain(|(known, _)| known != name);
        let place = self.levels.partition_point(|(known, _)| known.len() >= name.len() && !known.is_empty());
        self.levels.insert(place, (name.to_owned(), level));
    }

    /// The level of the part of the program called `target`.
    pub fn level_of(&self, target: &str) -> LevelFilter {
        let within = |name: &str| {
            target
                .strip_prefix(name)
                .is_some_and(|rest| name.is_empty() || rest.is_empty() || rest.starts_with("::"))
        };
        self.levels.iter().find(|(name, _)| within(name)).map_or(LevelFilter::OFF, |(_, level)| *level)
    }

    /// The most talkative of its levels.
    pub fn most(&self) -> LevelFilter {
        self.levels.iter().map(|(_, level)| *level).max().unwrap_or(LevelFilter::OFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_decides() {
        let filter = Filter::parse("warn, rserve_core::net=debug,rserve_core::net::tls=off,").unwrap();
        for (target, level) in [
            ("rserve", LevelFilter::WARN),
            ("rserve_core::net", LevelFilter::DEBUG),
            ("rserve_core::net::stream", LevelFilter::DEBUG),
            ("rserve_core::network", LevelFilter::WARN),
            ("rserve_core::net::tls::context", LevelFilter::OFF),
        ] {
            assert_eq!(filter.level_of(target), level, "{target}");
        }
        assert_eq!(filter.most(), LevelFilter::DEBUG);
    }

    #[test]
    fn the_rest_is_off_and_the_last_word_counts() {
        let filter = Filter::parse("a=info,a=trace").unwrap();
        assert_eq!((filter.level_of("a"), filter.level_of("b")), (LevelFilter::TRACE, LevelFilter::OFF));
        assert_eq!(Filter::parse("").unwrap().most(), LevelFilter::OFF);
    }

    #[test]
    fn what_is_no_level_is_named() {
        for text in ["loud", "info,net=loud", "=", "net="] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
        assert_eq!(Filter::parse("info,net=loud").unwrap_err(), InvalidFilter("net=loud".into()));
    }
}
