//! Which Puma is imitated, and what hangs on it. No other file compares levels.

/// Which Puma a server imitates where Puma's versions contradict each other. It has no order for others to compare by.
#[derive(Clone, Copy, Debug, Default)]
pub enum Compat {
    /// Puma 6: the default.
    #[default]
    Puma6,
    /// Puma 7.
    Puma7,
    /// Puma 8.
    Puma8,
    /// Puma 9, as far as it is known: a preview.
    Puma9,
}

impl Compat {
    /// The level that `number` means; what is unknown is the default.
    pub fn from_number(number: u8) -> Self {
        match number {
            7 => Self::Puma7,
            8 => Self::Puma8,
            9 => Self::Puma9,
            _ => Self::default(),
        }
    }

    /// Is it this Puma or a later one?
    pub(crate) fn follows(self, puma: Self) -> bool {
        self as u8 >= puma as u8
    }

    /// `busy_threads` is the last of Puma's figures.
    pub(crate) fn tells_busy_threads_last(self) -> bool {
        !self.follows(Self::Puma7)
    }

    /// Names of the server's own fields are in lower case.
    pub fn spells_in_lower_case(self) -> bool {
        self.follows(Self::Puma7)
    }

    /// `rack.hijack` is a Proc, and not the client.
    pub fn hijacks_by_proc(self) -> bool {
        self.follows(Self::Puma7)
    }

    /// IPv4 clients on an IPv6 socket have IPv4 addresses.
    pub fn unmaps_addresses(self) -> bool {
        self.follows(Self::Puma8)
    }

    /// The answer to a body that is too large says that the connection is closed. It is in any case.
    pub fn says_close_after_too_large(self) -> bool {
        self.follows(Self::Puma8)
    }

    /// The environment tells which fields have a name with an underscore, seen by the app or not.
    pub fn tells_underscores(self) -> bool {
        self.follows(Self::Puma9)
    }
}
