//! The connections of one server by id.

use std::sync::Arc;

use crate::connection::{Connection, ConnectionId};

/// A table whose ids are never used twice, so that a late event cannot hit the wrong connection.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// How many are sockets; the others are requests that one of them carries.
    len: usize,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Arc<Connection>>,
}

impl Slots {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds what `make` builds for the id that it gets.
    pub(crate) fn insert(&mut self, make: impl FnOnce(ConnectionId) -> Connection) -> Arc<Connection> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let entry = &mut self.slots[slot as usize];
        let connection = Arc::new(make(ConnectionId { slot, generation: entry.generation }));
        entry.connection = Some(Arc::clone(&connection));
        self.len += usize::from(connection.carrier().is_none());
        connection
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Arc<Connection>> {
        let entry = self.slots.get(id.slot as usize)?;
        (entry.generation == id.generation).then_some(entry.connection.as_ref()).flatten()
    }

    /// Forgets `id`; `false` when it was unknown.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> bool {
        let Some(is_socket) = self.get(id).map(|connection| connection.carrier().is_none()) else {
            return false;
        };
        self.len -= usize::from(is_socket);
        let entry = &mut self.slots[id.slot as usize];
        entry.connection = None;
        // The token also carries the generation: 31 bits keep it clear of the reserved tokens at the top.
        entry.generation = (entry.generation + 1) & 0x7fff_ffff;
        self.free.push(id.slot);
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.slots.iter().filter_map(|slot| slot.connection.as_ref())
    }
}
