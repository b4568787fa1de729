//! A request body as it comes in: memory first, an unlinked file when it grows (Puma's `MAX_BODY`).

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// Bodies up to this many octets stay in memory; Puma's `MAX_BODY`, 112 KiB.
pub const MEMORY_LIMIT: usize = 112 * 1024;

/// The body of one request.
#[derive(Debug, Default)]
pub enum Body {
    /// No octet of body.
    #[default]
    Empty,
    /// All of it.
    Memory(Vec<u8>),
    /// In a file that has no name; its position is where the next octet is written until [`Body::rewind`].
    File {
        /// Open for reading and writing.
        file: File,
        /// Octets written so far.
        len: u64,
    },
    /// Still to come: whoever serves the request reads it from the connection.
    Streamed,
}

impl Body {
    /// A body that announced `expected` octets; chosen so that no octet is copied twice.
    ///
    /// # Errors
    ///
    /// No file could be made in `folder` (a full or read-only disk).
    pub fn expecting(expected: u64, folder: &Path) -> io::Result<Self> {
        match usize::try_from(expected) {
            Ok(0) => Ok(Body::Empty),
            // What was announced is not yet there: a liar must not make us reserve it.
            Ok(small) if small <= MEMORY_LIMIT => Ok(Body::Memory(Vec::with_capacity(small.min(16 * 1024)))),
            _ => Ok(Body::File { file: crate::sys::unlinked_file(folder)?, len: 0 }),
        }
    }

    /// Adds octets at the end.
    ///
    /// # Errors
    ///
    /// The file could not be made or written.
    pub fn append(&mut self, octets: &[u8], folder: &Path) -> io::Result<()> {
        match self {
            Body::Empty => *self = Body::Memory(octets.to_vec()),
            Body::Memory(memory) if memory.len() + octets.len() <= MEMORY_LIMIT => {
                memory.extend_from_slice(octets);
            }
            Body::Memory(memory) => {
                let mut file = crate::sys::unlinked_file(folder)?;
                file.write_all(memory)?;
                file.write_all(octets)?;
                let len = (memory.len() + octets.len()) as u64;
                *self = Body::File { file, len };
            }
            Body::File { file, len } => {
                file.write_all(octets)?;
                *len += octets.len() as u64;
            }
            Body::Streamed => {}
        }
        Ok(())
    }

    /// Sets a file's position back to its start, for the reader.
    ///
    /// # Errors
    ///
    /// The file's own.
    pub fn rewind(&mut self) -> io::Result<()> {
        if let Body::File { file, .. } = self {
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(())
    }

    /// Octets received so far.
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty | Body::Streamed => 0,
            Body::Memory(memory) => memory.len() as u64,
            Body::File { len, .. } => *len,
        }
    }

    /// Whether no octet came.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_growing_body_moves_to_a_file_and_reads_back_whole() {
        let folder = std::env::temp_dir();
        let mut body = Body::default();
        let part = vec![b'x'; 40 * 1024];
        for _ in 0..4 {
            body.append(&part, &folder).unwrap();
        }
        assert_eq!(body.len(), 160 * 1024);
        body.rewind().unwrap();
        let Body::File { mut file, .. } = body else { panic!("still in memory") };
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, part.repeat(4));
    }

    #[test]
    fn an_announced_body_takes_the_place_that_fits_it() {
        let folder = std::env::temp_dir();
        assert!(matches!(Body::expecting(0, &folder).unwrap(), Body::Empty));
        assert!(matches!(Body::expecting(10_000, &folder).unwrap(), Body::Memory(_)));
        assert!(matches!(Body::expecting(1 << 40, &folder).unwrap(), Body::File { .. }));
    }
}
