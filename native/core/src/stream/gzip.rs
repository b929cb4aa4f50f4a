//! Blocks as gzip members (RFC 1952), each complete in itself, so that they can be made on all cores
//! and simply follow each other: that is a gzip file too (section 2.2), and every reader takes it.

use super::BLOCK;
use crate::error::{Error, Result};
use libdeflater::{CompressionLvl, Compressor, crc32};

/// What is looked at as one, to tell whether it compresses.
const PIECE: usize = 128 << 10;
/// How much of a piece is tried.
const SAMPLE: usize = 2 << 10;
/// A piece is worth deflating when its sample becomes smaller than this many 64ths.
const WORTH: usize = 63;
/// A sample whose bytes are spread as evenly as those of noise is not tried: the sum of the squares of
/// how often each value comes is 18 424 on average for noise, with a standard deviation of 181. For text
/// it is more than 60 000.
const NOISE: u32 = 19_200;

/// A gzip header without name and time: same data, same bytes. Its last byte says "Unix".
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// The largest stored block of deflate (RFC 1951, section 3.2.4).
const STORED: usize = 0xffff;

/// What sparse files are made of.
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// How hard to try. Measured in `docs/decisions/0002-compression.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For what compresses well: libdeflate's level 6 makes smaller files than zlib's, in less time.
    Thorough,
    /// For media, most of which does not compress: what the rest would gain by more effort is little
    /// beside that, and takes most of the time.
    Quick,
}

impl Effort {
    fn level(self) -> i32 {
        match self {
            Self::Thorough => 6,
            Self::Quick => 1,
        }
    }
}

/// Compresses blocks; keeps the memory that this takes from one to the next.
pub(super) struct Gzip {
    compressor: Compressor,
    trial: Compressor,
    scratch: Vec<u8>,
    /// [`ZEROS`], compressed.
    zeros: Vec<u8>,
}

impl Gzip {
    pub(super) fn new(effort: Effort) -> Result<Self> {
        let level = |level| {
            CompressionLvl::new(level)
                .map_err(|_| Error::Internal("no such compression level".into()))
        };
        Ok(Self {
            compressor: Compressor::new(level(effort.level())?),
            trial: Compressor::new(level(1)?),
            scratch: Vec::new(),
            zeros: Vec::new(),
        })
    }

    /// Appends `data` to `out` as gzip members: one for each stretch of it that compresses, or that
    /// does not. At least one, also for no data.
    pub(super) fn append(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if data == ZEROS {
            if self.zeros.is_empty() {
                let mut zeros = Vec::new();
                self.deflate(data, &mut zeros)?;
                self.zeros = zeros;
            }
            out.extend_from_slice(&self.zeros);
            return Ok(());
        }
        let mut rest = data;
        loop {
            let (run, compresses) = self.run(rest);
            let (now, later) = rest.split_at(run);
            if compresses {
                self.deflate(now, out)?;
            } else {
                store(now, out);
            }
            rest = later;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// The length of the stretch at the start of `data` that is of one kind, and whether it compresses.
    fn run(&mut self, data: &[u8]) -> (usize, bool) {
        let mut pieces = data.chunks(PIECE);
        let Some(first) = pieces.next() else {
            return (0, true);
        };
        let kind = self.compresses(first);
        let mut run = first.len();
        for piece in pieces {
            if self.compresses(piece) != kind {
                break;
            }
            run += piece.len();
        }
        (run, kind)
    }

    /// Whether deflating a piece pays, tried on a sample from its middle. Photos, films and archives
    /// do not shrink, whatever their names are, and trying to deflate them is what takes the time.
    fn compresses(&mut self, piece: &[u8]) -> bool {
        let start = piece.len().saturating_sub(SAMPLE) / 2;
        let sample = &piece[start..piece.len().min(start + SAMPLE)];
        if sample.len() == SAMPLE && is_noise(sample) {
            return false;
        }
        let enough = sample.len() * WORTH / 64;
        self.scratch.resize(SAMPLE, 0);
        // It fails when the result does not fit into the room it is given.
        self.trial
            .deflate_compress(sample, &mut self.scratch[..enough])
            .is_ok()
    }

    fn deflate(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + self.compressor.gzip_compress_bound(data.len()), 0);
        let length = self
            .compressor
            .gzip_compress(data, &mut out[start..])
            .map_err(|error| Error::Internal(format!("cannot deflate: {error}")))?;
        out.truncate(start + length);
        Ok(())
    }
}

/// Whether the bytes of a sample are spread as evenly as those of noise: 64 times faster to see than to
/// try. What has been compressed or encrypted mostly is.
fn is_noise(sample: &[u8]) -> bool {
    let mut counts = [0_u32; 256];
    for &byte in sample {
        counts[usize::from(byte)] += 1;
    }
    counts.iter().map(|count| count * count).sum::<u32>() < NOISE
}

/// Appends `data` as a gzip member of stored blocks.
fn store(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len() + data.len() / STORED * 5 + 32);
    out.extend_from_slice(&HEADER);
    let mut blocks = data.chunks(STORED).peekable();
    while let Some(block) = blocks.next() {
        // chunks() gives at most 65 535 bytes.
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&crc32(data).to_le_bytes());
    // The length modulo 2^32 is what the format asks for.
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;
    use std::io::Read;

    fn round(data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut packed = Vec::new();
        Gzip::new(Effort::Quick)
            .unwrap()
            .append(data, &mut packed)
            .unwrap();
        let mut back = Vec::new();
        MultiGzDecoder::new(&packed[..])
            .read_to_end(&mut back)
            .unwrap();
        (packed, back)
    }

    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        std::iter::repeat_with(|| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 32) as u8
        })
        .take(length)
        .collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(
            pieces in prop::collection::vec((0..200_000_usize, any::<bool>(), 1..u64::MAX), 0..6),
        ) {
            let mut data = Vec::new();
            for (length, random, seed) in pieces {
                if random {
                    data.extend(noise(length, seed));
                } else {
                    data.resize(data.len() + length, seed as u8);
                }
            }
            prop_assert!(round(&data).1 == data);
        }
    }

    #[test]
    fn no_data_is_a_gzip_file_too() {
        let (packed, back) = round(&[]);
        assert!(!packed.is_empty());
        assert!(back.is_empty());
    }

    #[test]
    fn noise_is_stored_and_text_beside_it_is_not() {
        let noise = noise(512 << 10, 7);
        let (packed, _) = round(&noise);
        assert!(packed.len() < noise.len() + noise.len() / 1000);
        let text = b"the quick brown fox ".repeat(20_000);
        let (alone, _) = round(&text);
        assert!(alone.len() < text.len() / 20);
        let (both, back) = round(&[&noise[..], &text].concat());
        assert!(both.len() < packed.len() + text.len() / 5);
        assert_eq!(back.len(), noise.len() + text.len());
    }
}
