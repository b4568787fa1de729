//! The receiving side of a connection: requests in sequence, without a socket.

use std::ops::Range;

use crate::body::{Decoded, Decoder};
use crate::head::{Framing, Head, HeadReader, Read};
use crate::{Error, Limits};

/// Reads the requests of one connection, one after the other.
///
/// It goes through *head, body, end* for each request. The caller owns the octets: it passes all that was
/// received and not yet consumed, drops what [`Progress`] reports as consumed, and calls again until the answer
/// is [`Progress::Partial`], which means "not without more octets".
///
/// ```
/// use rserve_http1::{Head, Limits, Progress, Receiver};
///
/// let mut octets: &[u8] = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n";
/// let (mut receiver, mut head) = (Receiver::new(Limits::default()), Head::default());
///
/// let Progress::Head { consumed } = receiver.advance(octets, &mut head)? else { panic!() };
/// assert_eq!(head.path.of(octets), b"/a");
/// octets = &octets[consumed..];
/// assert_eq!(receiver.advance(octets, &mut head)?, Progress::Data { consumed: 2, data: 0..2 });
/// octets = &octets[2..];
/// assert_eq!(receiver.advance(octets, &mut head)?, Progress::End { consumed: 0 });
/// // The next request is not complete yet.
/// assert_eq!(receiver.advance(octets, &mut head)?, Progress::Partial { consumed: 0 });
/// # Ok::<(), rserve_http1::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Receiver {
    limits: Limits,
    awaiting: Awaiting,
}

#[derive(Clone, Debug)]
enum Awaiting {
    Head(HeadReader),
    /// This many octets of a body with Content-Length are missing; 0 also stands for no body.
    Length(u64),
    Chunked(Decoder),
    Failed(Error),
}

/// What [`Receiver::advance`] found. `consumed` counts octets from the start of what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More octets are needed. While a head is awaited `consumed` is 0, except for an empty line with nothing
    /// after it.
    Partial {
        /// Octets to drop.
        consumed: usize,
    },
    /// The head is complete: its spans are positions in the octets passed to this call.
    Head {
        /// Octets of the head; what follows them is passed to the next call.
        consumed: usize,
    },
    /// A piece of the body.
    Data {
        /// Octets to drop; at least `data.end`.
        consumed: usize,
        /// Where in the octets passed to this call the piece is; never empty.
        data: Range<usize>,
    },
    /// The request is complete. Every request has an end, also one without a body.
    End {
        /// Octets to drop.
        consumed: usize,
    },
}

impl Receiver {
    /// A receiver that awaits the first head of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, awaiting: Awaiting::Head(HeadReader::default()) }
    }

    /// Goes on to the next event in `octets`: everything that was received and not yet consumed.
    ///
    /// `head` is filled while a head is awaited, also before it is complete, and must be the same one until
    /// then; while a body is read it is not touched. The work is linear in the octets received, however they
    /// are cut: nothing is scanned twice.
    ///
    /// # Errors
    ///
    /// [`Error`], and the same one at each call after it. The connection has lost its framing: answer and close.
    #[inline]
    pub fn advance(&mut self, octets: &[u8], head: &mut Head) -> Result<Progress, Error> {
        self.advance_up_to(octets, usize::MAX, head)
    }

    /// As [`Receiver::advance`], for who has room for `most` octets of the body, at least one: a piece of it is no longer.
    ///
    /// # Errors
    ///
    /// As [`Receiver::advance`].
    #[inline]
    pub fn advance_up_to(&mut self, octets: &[u8], most: usize, head: &mut Head) -> Result<Progress, Error> {
        let result = match &mut self.awaiting {
            Awaiting::Head(reader) => match reader.read(octets, head, &self.limits) {
                Ok(Read::Partial { blank }) => return Ok(Progress::Partial { consumed: blank }),
                Ok(Read::Complete { octets }) => {
                    self.awaiting = match head.framing {
                        Framing::None => Awaiting::Length(0),
                        Framing::Length(length) => Awaiting::Length(length),
                        Framing::Chunked => Awaiting::Chunked(Decoder::default()),
                    };
                    return Ok(Progress::Head { consumed: octets });
                }
                Err(error) => Err(error),
            },
            Awaiting::Length(0) => {
                self.awaiting = Awaiting::Head(HeadReader::default());
                return Ok(Progress::End { consumed: 0 });
            }
            Awaiting::Length(missing) => {
                let length = usize::try_from(*missing).unwrap_or(usize::MAX).min(octets.len()).min(most);
                *missing -= length as u64;
                return Ok(match length {
                    0 => Progress::Partial { consumed: 0 },
                    _ => Progress::Data { consumed: length, data: 0..length },
                });
            }
            Awaiting::Chunked(decoder) => match decoder.decode_up_to(octets, most, &self.limits) {
                Ok(Decoded::Partial { consumed }) => return Ok(Progress::Partial { consumed }),
                Ok(Decoded::Data { consumed, data }) => return Ok(Progress::Data { consumed, data }),
                Ok(Decoded::End { consumed }) => {
                    self.awaiting = Awaiting::Head(HeadReader::default());
                    return Ok(Progress::End { consumed });
                }
                Err(error) => Err(error),
            },
            Awaiting::Failed(error) => return Err(error.clone()),
        };
        if let Err(error) = &result {
            self.awaiting = Awaiting::Failed(error.clone());
        }
        result
    }

    /// Whether the next event is the end of a body with Content-Length.
    pub fn is_at_end(&self) -> bool {
        matches!(self.awaiting, Awaiting::Length(0))
    }

    /// Whether the next event is a head: between requests, and before the first one.
    pub fn awaits_head(&self) -> bool {
        matches!(self.awaiting, Awaiting::Head(_))
    }
}
