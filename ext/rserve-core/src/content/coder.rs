//! Coding a content, all at once or part by part.

use std::io;
use std::sync::Arc;

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct};
use flate2::{Crc, FlushCompress, Status};
use rserve_http1::content::codings::Coding;
use zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::compression::is_long;
use super::encoders::{Encoders, Gzip, Zstd};

/// Octets that are coded at once.
const PIECE: usize = 16 * 1024;

/// A window of 256 KiB: more finds little in a page, and costs each response that is on its way its memory.
const WINDOW_BITS: u32 = 18;

/// What a gzip begins with (RFC 1952 §2.3): deflate, with a comment, of no time and no system.
const GZIP_BEGINS: [u8; 10] = [0x1f, 0x8b, 8, 16, 0, 0, 0, 0, 0, 255];

/// A frame that decoders pass over (RFC 8878 §3.1.2).
const SKIPPABLE: u32 = 0x184D_2A50;

/// One content that is being coded.
pub struct Coder {
    kind: Kind,
    coding: Coding,
    level: u32,
    encoders: Arc<Encoders>,
}

type BrotliState = BrotliEncoderStateStruct<StandardAlloc>;

enum Kind {
    Gzip(Box<Gzipping>),
    Brotli(Box<BrotliState>, u64),
    Zstd(Zstd, u64),
}

struct Gzipping {
    encoder: Gzip,
    /// What is still to be told before the content.
    begins: Vec<u8>,
    sum: Crc,
}

impl Coder {
    /// Begins, by one of the `encoders` if one of them waits. The coded content is `jitter` octets longer than it need be, or a few more. `length` is the content's, if that is
    /// known.
    ///
    /// # Errors
    ///
    /// No memory is left.
    pub fn new(
        encoders: &Arc<Encoders>,
        coding: Coding,
        level: u32,
        jitter: u64,
        length: Option<u64>,
    ) -> io::Result<Self> {
        let kind = match coding {
            Coding::Gzip => {
                let mut begins = GZIP_BEGINS.to_vec();
                begins.resize(begins.len() + jitter as usize, b' ');
                begins.push(0);
                Kind::Gzip(Box::new(Gzipping { encoder: encoders.gzip(level), begins, sum: Crc::new() }))
            }
            Coding::Brotli => {
                let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
                state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, level);
                state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window_bits(length));
                if let Some(length) = length.and_then(|length| u32::try_from(length).ok()) {
                    state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, length);
                }
                Kind::Brotli(Box::new(state), jitter)
            }
            Coding::Zstd => {
                let mut zstd = encoders.zstd()?;
                let context = &mut zstd.context;
                context.set_parameter(CParameter::CompressionLevel(level as i32)).map_err(failed)?;
                if length.is_none() {
                    context.set_parameter(CParameter::WindowLog(WINDOW_BITS)).map_err(failed)?;
                }
                context.set_pledged_src_size(length).map_err(failed)?;
                Kind::Zstd(zstd, jitter)
            }
        };
        Ok(Self { kind, coding, level, encoders: Arc::clone(encoders) })
    }

    /// Whether a part of so many octets takes long, see [`is_long`].
    pub fn takes_long(&self, octets: usize) -> bool {
        is_long(self.coding, self.level, octets)
    }

    /// Codes `part`, and appends what there is of it so far; all of it, if `flush`.
    ///
    /// # Errors
    ///
    /// No memory is left.
    pub fn code(&mut self, part: &[u8], flush: bool, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.kind {
            Kind::Gzip(gzip) => {
                out.append(&mut gzip.begins);
                gzip.sum.update(part);
                deflate(
                    &mut gzip.encoder,
                    if flush { FlushCompress::Sync } else { FlushCompress::None },
                    part,
                    out,
                )
            }
            Kind::Brotli(state, _) => {
                let operation = match flush {
                    true => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
                    false => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
                };
                brotli(state, operation, part, out)
            }
            Kind::Zstd(zstd, _) => {
                let directive = if flush { Directive::ZSTD_e_flush } else { Directive::ZSTD_e_continue };
                code_by_zstd(&mut zstd.context, directive, part, out)
            }
        }
    }

    /// Appends the end.
    ///
    /// # Errors
    ///
    /// No memory is left.
    pub fn end(self, out: &mut Vec<u8>) -> io::Result<()> {
        match self.kind {
            Kind::Gzip(mut gzip) => {
                out.append(&mut gzip.begins);
                deflate(&mut gzip.encoder, FlushCompress::Finish, &[], out)?;
                out.extend_from_slice(&gzip.sum.sum().to_le_bytes());
                out.extend_from_slice(&gzip.sum.amount().to_le_bytes());
                self.encoders.take_gzip(gzip.encoder);
                Ok(())
            }
            Kind::Brotli(mut state, jitter) => {
                // Metadata, which decoders pass over (RFC 7932 §9.2).
                // The encoder says of one octet that there is none, and the end of the content is taken for it.
                let filling = vec![0; 2 + jitter as usize];
                brotli(&mut state, BrotliEncoderOperation::BROTLI_OPERATION_EMIT_METADATA, &filling, out)?;
                brotli(&mut state, BrotliEncoderOperation::BROTLI_OPERATION_FINISH, &[], out)
            }
            Kind::Zstd(mut zstd, jitter) => {
                code_by_zstd(&mut zstd.context, Directive::ZSTD_e_end, &[], out)?;
                self.encoders.take_zstd(zstd);
                out.extend_from_slice(&SKIPPABLE.to_le_bytes());
                out.extend_from_slice(&(jitter as u32).to_le_bytes());
                out.resize(out.len() + jitter as usize, 0);
                Ok(())
            }
        }
    }
}

/// The smallest window that `length` octets have room in, no larger than [`WINDOW_BITS`].
fn window_bits(length: Option<u64>) -> u32 {
    let bits = length.map_or(WINDOW_BITS, |length| u64::BITS - length.leading_zeros());
    bits.clamp(10, WINDOW_BITS)
}

fn brotli(
    state: &mut BrotliState,
    operation: BrotliEncoderOperation,
    part: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut piece = [0; PIECE];
    let (mut left, mut at) = (part.len(), 0);
    loop {
        let (mut room, mut end) = (piece.len(), 0);
        let done = state.compress_stream(
            operation,
            &mut left,
            part,
            &mut at,
            &mut room,
            &mut piece,
            &mut end,
            &mut None,
            &mut |_, _, _, _| (),
        );
        out.extend_from_slice(&piece[..end]);
        if !done {
            return Err(io::Error::other("brotli failed"));
        }
        let over = operation != BrotliEncoderOperation::BROTLI_OPERATION_FINISH || state.is_finished();
        if left == 0 && !state.has_more_output() && over {
            return Ok(());
        }
    }
}

fn deflate(gzip: &mut Gzip, flush: FlushCompress, part: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let before = gzip.deflate.total_in();
    loop {
        if out.len() == out.capacity() {
            out.reserve(PIECE);
        }
        let at = (gzip.deflate.total_in() - before) as usize;
        let status = gzip.deflate.compress_vec(&part[at..], out, flush)?;
        let over = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => out.len() < out.capacity(),
        };
        if over {
            return Ok(());
        }
    }
}

fn code_by_zstd(
    context: &mut CCtx<'_>,
    directive: Directive,
    part: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut piece = [0; PIECE];
    let mut input = InBuffer::around(part);
    loop {
        let mut output = OutBuffer::around(&mut piece[..]);
        let left = context.compress_stream2(&mut output, &mut input, directive).map_err(failed)?;
        out.extend_from_slice(output.as_slice());
        let over = match directive {
            Directive::ZSTD_e_continue => input.pos == part.len(),
            _ => left == 0,
        };
        if over {
            return Ok(());
        }
    }
}

fn failed(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::super::compression::JITTER;
    use super::*;
    use std::io::Read;

    fn decoded(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut content).map(drop),
            Coding::Brotli => brotli::BrotliDecompress(&mut &*coded, &mut content),
            Coding::Zstd => unzstd(coded, &mut content),
        }
        .unwrap();
        content
    }

    /// All frames, as clients read them.
    fn unzstd(coded: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
        let mut context = zstd_safe::DCtx::create();
        let mut input = InBuffer::around(coded);
        while input.pos < coded.len() {
            let mut piece = [0; PIECE];
            let mut output = OutBuffer::around(&mut piece[..]);
            context.decompress_stream(&mut output, &mut input).map_err(failed)?;
            content.extend_from_slice(output.as_slice());
        }
        Ok(())
    }

    fn content(length: usize) -> Vec<u8> {
        (0..)
            .flat_map(|n: u32| {
                format!("<li>{} of the list</li>\n", n.wrapping_mul(2_654_435_761)).into_bytes()
            })
            .take(length)
            .collect()
    }

    #[test]
    fn what_was_coded_is_what_it_was() {
        for coding in Coding::ALL {
            for length in [1, 1024, 100_000, 3_000_000] {
                let content = content(length);
                let mut coded = Vec::new();
                let mut coder = Coder::new(&Arc::default(), coding, 4, 7, Some(length as u64)).unwrap();
                coder.code(&content, false, &mut coded).unwrap();
                coder.end(&mut coded).unwrap();
                assert!(decoded(coding, &coded) == content, "{coding:?} {length}");
                assert!(length < 1024 || coded.len() < length / 2, "{coding:?} {length}: {}", coded.len());
            }
        }
    }

    #[test]
    fn a_content_that_is_longer_than_it_need_be_is_complete() {
        for coding in Coding::ALL {
            for jitter in 0..=JITTER {
                for length in [None, Some(1), Some(999), Some(5000)] {
                    let content = content(length.unwrap_or(777) as usize);
                    let mut coded = Vec::new();
                    let mut coder = Coder::new(&Arc::default(), coding, 4, jitter, length).unwrap();
                    coder.code(&content, length.is_none(), &mut coded).unwrap();
                    coder.end(&mut coded).unwrap();
                    assert!(decoded(coding, &coded) == content, "{coding:?} {jitter} {length:?}");
                }
            }
        }
    }

    #[test]
    fn a_part_that_is_flushed_can_be_read() {
        for coding in Coding::ALL {
            let (mut coded, mut content) = (Vec::new(), Vec::new());
            let mut coder = Coder::new(&Arc::default(), coding, 4, 7, None).unwrap();
            for number in 0..100 {
                let part = format!("part {number}\n");
                content.extend_from_slice(part.as_bytes());
                let before = coded.len();
                coder.code(part.as_bytes(), true, &mut coded).unwrap();
                assert!(coded.len() > before, "{coding:?} {number}");
                let mut so_far = vec![0; content.len()];
                match coding {
                    Coding::Gzip => flate2::read::GzDecoder::new(&*coded).read_exact(&mut so_far),
                    Coding::Brotli => brotli::Decompressor::new(&*coded, PIECE).read_exact(&mut so_far),
                    Coding::Zstd => {
                        so_far.clear();
                        unzstd(&coded, &mut so_far)
                    }
                }
                .unwrap();
                assert_eq!(so_far, content, "{coding:?}");
            }
            coder.end(&mut coded).unwrap();
            assert_eq!(decoded(coding, &coded), content, "{coding:?}");
        }
    }

    #[test]
    fn a_content_is_as_much_longer_as_it_is_told() {
        for coding in Coding::ALL {
            let length = |jitter| {
                let mut coded = Vec::new();
                let mut coder = Coder::new(&Arc::default(), coding, 4, jitter, Some(5000)).unwrap();
                coder.code(&content(5000), false, &mut coded).unwrap();
                coder.end(&mut coded).unwrap();
                coded.len()
            };
            let lengths: Vec<_> = (1..=32).map(length).collect();
            assert!(lengths.windows(2).all(|pair| pair[1] - pair[0] == 1), "{coding:?}: {lengths:?}");
        }
    }
}
