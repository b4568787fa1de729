//! What a telemetry has, written down: metrics as Prometheus reads them, and the threads as JSON. What is written is a
//! function of a [`Snapshot`] and of how much memory the workers take.

mod format;
mod memory;
mod table;
mod threads;

use crate::telemetry::{Snapshot, Telemetry};

pub use format::Format;
pub use memory::{Memory, MemoryUse};
pub use table::{Kind, Metric, TABLE};
pub use threads::threads;

use format::Text;

/// What the metrics are made of.
pub struct Readings<'a> {
    /// All that the processes say of themselves.
    pub snapshot: &'a Snapshot,
    /// The memory of workers whose process could be looked at, by index.
    pub memory: &'a [(u32, MemoryUse)],
}

/// All metrics in `format`.
pub fn text(readings: &Readings<'_>, format: Format) -> String {
    let mut text = Text::new(format);
    for metric in TABLE {
        metric.write(readings, &mut text);
    }
    text.finish()
}

/// Writes the metrics again and again; to be kept, as it remembers how much memory the workers take.
#[derive(Debug, Default)]
pub struct Exposition {
    memory: Memory,
}

impl Exposition {
    /// All metrics at this moment.
    pub fn text(&mut self, telemetry: &Telemetry, format: Format) -> String {
        let snapshot = telemetry.read();
        let memory = self.memory.of_workers(&snapshot);
        text(&Readings { snapshot: &snapshot, memory }, format)
    }
}

#[cfg(test)]
mod tests;
