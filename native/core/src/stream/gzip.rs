//! Blocks as gzip members (RFC 1952), each complete in itself, so that they can be made on all cores
//! and simply follow each other: that is a gzip file too (section 2.2), and every reader takes it.

use super::BLOCK;
use crate::error::{Error, Result};
use libdeflater::{CompressionLvl, Compressor, crc32};

/// What is looked at as one, to tell whether it compresses.
const PIECE: usize = 128 << 10;
/// In a piece that is of both kinds, as of many small files, this much is.
const GRAIN: usize = 4 << 10;
/// A look is at so many bytes: enough to tell text, whose bytes are spread unevenly, from noise.
const LOOK: usize = 256;
/// How many looks there are at a piece.
const LOOKS: usize = 16;
/// With so many looks at text in it a piece is deflated whole: what is cut off has no history to refer to.
const MOSTLY: usize = LOOKS * 3 / 4;
/// The sum of the squares of how often each byte comes in a look: 511 on average for noise, with a standard
/// deviation of 22; 1 200 for base64, more than 2 000 for text.
const TEXT: u32 = 900;
/// How much of a piece without text is tried.
const SAMPLE: usize = 2 << 10;
/// It is worth deflating when its sample becomes smaller than this many 64ths.
const WORTH: usize = 63;
/// A sample whose bytes are spread as evenly as those of noise is not tried: the sum of the squares is 18 424
/// on average for noise, with a standard deviation of 181.
const NOISE: u32 = 19_200;

/// A gzip header without name and time: same data, same bytes. Its last byte says "Unix".
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// The largest stored block of deflate (RFC 1951, section 3.2.4).
const STORED: usize = 0xffff;

/// Of so many blocks one is compressed quickly also by a thorough effort: libdeflate has nothing between
/// its levels 1 and 2, of which one makes too large files and the other takes longer than it has to.
const MIX: u64 = 4;

/// What sparse files are made of.
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// How hard to try. Measured in `docs/decisions/0002-compression.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For what compresses well: no larger than by `gzip -6`, in a third of the time.
    Thorough,
    /// For media, most of which does not compress: what the rest would gain by more effort is little
    /// beside that, and takes most of the time.
    Quick,
}

/// Compresses blocks; keeps the memory that this takes from one to the next.
pub(super) struct Gzip {
    /// libdeflate's level 1.
    quick: Compressor,
    /// Its level 2, for a thorough effort.
    thorough: Option<Compressor>,
    scratch: Vec<u8>,
    /// [`ZEROS`], compressed.
    zeros: Vec<u8>,
}

impl Gzip {
    pub(super) fn new(effort: Effort) -> Result<Self> {
        let compressor = |level| {
            CompressionLvl::new(level)
                .map(Compressor::new)
                .map_err(|_| Error::Internal("no such compression level".into()))
        };
        Ok(Self {
            quick: compressor(1)?,
            thorough: match effort {
                Effort::Quick => None,
                Effort::Thorough => Some(compressor(2)?),
            },
            scratch: Vec::new(),
            zeros: Vec::new(),
        })
    }

    /// Appends block `index`, which is `data`, to `out` as gzip members: one for each stretch of it that
    /// compresses, or that does not. At least one, also for no data.
    pub(super) fn append(&mut self, index: u64, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if data == ZEROS {
            if self.zeros.is_empty() {
                let mut zeros = Vec::new();
                self.deflate(false, data, &mut zeros)?;
                self.zeros = zeros;
            }
            out.extend_from_slice(&self.zeros);
            return Ok(());
        }
        let is_quick = index % MIX == MIX - 1;
        let mut run = 0..0;
        let mut kind = true;
        for piece in data.chunks(PIECE) {
            let looks = looks(piece).filter(|look| is_text(look)).count();
            let (parts, whole) = match looks {
                0 => (piece.len(), Some(self.compresses(piece))),
                MOSTLY.. => (piece.len(), Some(true)),
                _ => (GRAIN, None),
            };
            for part in piece.chunks(parts) {
                let compresses = whole.unwrap_or_else(|| is_text(middle(part, LOOK)));
                if compresses != kind && !run.is_empty() {
                    self.put(&data[run.clone()], kind, is_quick, out)?;
                    run.start = run.end;
                }
                kind = compresses;
                run.end += part.len();
            }
        }
        self.put(&data[run], kind, is_quick, out)
    }

    /// Appends a stretch that compresses, or does not, as a gzip member.
    fn put(
        &mut self,
        stretch: &[u8],
        compresses: bool,
        is_quick: bool,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if compresses {
            self.deflate(is_quick, stretch, out)
        } else {
            store(stretch, out);
            Ok(())
        }
    }

    /// Whether deflating a piece pays, tried on a sample from its middle. Photos, films and archives
    /// do not shrink, whatever their names are, and trying to deflate them is what takes the time.
    fn compresses(&mut self, piece: &[u8]) -> bool {
        let sample = middle(piece, SAMPLE);
        if sample.len() == SAMPLE && squares(sample) < NOISE {
            return false;
        }
        let enough = sample.len() * WORTH / 64;
        self.scratch.resize(SAMPLE, 0);
        // It fails when the result does not fit into the room it is given.
        self.quick
            .deflate_compress(sample, &mut self.scratch[..enough])
            .is_ok()
    }

    fn deflate(&mut self, is_quick: bool, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let compressor = match &mut self.thorough {
            Some(thorough) if !is_quick => thorough,
            _ => &mut self.quick,
        };
        let start = out.len();
        out.resize(start + compressor.gzip_compress_bound(data.len()), 0);
        let length = compressor
            .gzip_compress(data, &mut out[start..])
            .map_err(|error| Error::Internal(format!("cannot deflate: {error}")))?;
        out.truncate(start + length);
        Ok(())
    }
}

/// Stretches of a piece, evenly spread. None where it is too short for them.
fn looks(piece: &[u8]) -> impl Iterator<Item = &[u8]> {
    let step = piece.len() / LOOKS;
    let enough = step >= LOOK;
    let parts = piece.chunks_exact(step.max(1)).take(LOOKS);
    parts.filter(move |_| enough).map(|part| middle(part, LOOK))
}

/// As much as `length` from the middle.
fn middle(data: &[u8], length: usize) -> &[u8] {
    let start = data.len().saturating_sub(length) / 2;
    &data[start..data.len().min(start + length)]
}

fn is_text(look: &[u8]) -> bool {
    squares(look) > TEXT
}

/// How evenly bytes are spread, the sum of the squares of how often each comes: 64 times faster to see than
/// to try. Those of what has been compressed or encrypted mostly are.
fn squares(sample: &[u8]) -> u32 {
    let mut counts = [0_u32; 256];
    for &byte in sample {
        counts[usize::from(byte)] += 1;
    }
    counts.iter().map(|count| count * count).sum()
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

    fn pack(effort: Effort, index: u64, data: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut gzip = Gzip::new(effort).unwrap();
        gzip.append(index, data, &mut packed).unwrap();
        packed
    }

    fn unpack(packed: &[u8]) -> Vec<u8> {
        let mut back = Vec::new();
        MultiGzDecoder::new(packed).read_to_end(&mut back).unwrap();
        back
    }

    fn round(data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let packed = pack(Effort::Quick, 0, data);
        let back = unpack(&packed);
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
    fn every_fourth_block_of_a_thorough_effort_is_quick() {
        let text: String = (0..20_000).map(|n| format!("{} apples, ", n * n)).collect();
        let text = text.as_bytes();
        let quick = pack(Effort::Quick, 0, text);
        let sizes = (0..8).map(|index| {
            let packed = pack(Effort::Thorough, index, text);
            assert!(unpack(&packed) == text);
            packed.len()
        });
        let (small, large): (Vec<usize>, Vec<usize>) = sizes.partition(|&size| size < quick.len());
        assert_eq!((small.len(), large), (6, vec![quick.len(); 2]));
        assert_eq!(unpack(&pack(Effort::Thorough, 3, b"")), b"");
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

    #[test]
    fn of_small_files_the_text_is_deflated_and_the_noise_is_not() {
        let text = &b"the quick brown fox ".repeat(205)[..4096];
        let mut files = Vec::new();
        for seed in 1..=50 {
            let one = if seed % 5 == 0 {
                text
            } else {
                &noise(4096, seed)
            };
            files.extend([&[0; 512], one].concat());
        }
        let (packed, back) = round(&files);
        assert!(back == files);
        // A fifth is text; of what is cut in the middle some is missed.
        assert!(packed.len() < files.len() * 85 / 100, "{}", packed.len());
        assert!(packed.len() > files.len() * 7 / 10);
    }
}
