//! A request body as it comes in: memory first, an unlinked file when it grows (Puma's `MAX_BODY`).

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// Bodies up to this many octets stay in memory; Puma's `MAX_BODY`, 112 KiB.
pub const MEMORY_LIMIT: usize = 112 * 1024;

/// Pieces up to this size are put together before they go to a file: it is not written to for every octet that somebody
/// sends as a chunk, or as a frame.
const GATHERED: usize = 16 * 1024;

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
        /// Octets so far.
        len: u64,
        /// The last of them, which are still to be written.
        unwritten: Vec<u8>,
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
            _ => {
                let file = crate::sys::unlinked_file(folder)?;
                Ok(Body::File { file, len: 0, unwritten: Vec::new() })
            }
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
                *self = Body::File { file, len, unwritten: Vec::new() };
            }
            Body::File { file, len, unwritten } => {
                *len += octets.len() as u64;
                if unwritten.len() + octets.len() > GATHERED {
                    file.write_all(unwritten)?;
                    unwritten.clear();
                }
                if octets.len() < GATHERED {
                    unwritten.extend_from_slice(octets);
                } else {
                    file.write_all(octets)?;
                }
            }
            Body::Streamed => {}
        }
        Ok(())
    }

    /// The body is whole: sets a file's position back to its start, for the reader.
    ///
    /// # Errors
    ///
    /// The file's own.
    pub fn rewind(&mut self) -> io::Result<()> {
        if let Body::File { file, unwritten, .. } = self {
            file.write_all(&std::mem::take(unwritten))?;
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
    fn small_pieces_are_written_together() {
        let folder = std::env::temp_dir();
        let mut body = Body::expecting(1 << 20, &folder).unwrap();
        let large = vec![b'y'; GATHERED];
        let mut want = Vec::new();
        for (piece, written) in [(&b"x"[..], 0), (b"x", 0), (&large, 2 + GATHERED), (b"z", 2 + GATHERED)] {
            body.append(piece, &folder).unwrap();
            want.extend_from_slice(piece);
            let Body::File { file, .. } = &body else { panic!("in memory") };
            assert_eq!((file.metadata().unwrap().len(), body.len()), (written as u64, want.len() as u64));
        }
        body.rewind().unwrap();
        let Body::File { mut file, .. } = body else { panic!("in memory") };
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, want);
    }

    #[test]
    fn an_announced_body_takes_the_place_that_fits_it() {
        let folder = std::env::temp_dir();
        assert!(matches!(Body::expecting(0, &folder).unwrap(), Body::Empty));
        assert!(matches!(Body::expecting(10_000, &folder).unwrap(), Body::Memory(_)));
        assert!(matches!(Body::expecting(1 << 40, &folder).unwrap(), Body::File { .. }));
    }
}
