//! Classes of characters, as PostgreSQL has them.

use memchr::memchr_iter;

/// Returns the number of lines that end in `text`.
pub(in super::super) fn lines(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

/// Returns the length of the number at the start of `text`.
pub(super) fn number_length(text: &[u8]) -> usize {
    let digits = |at: usize| {
        at + run(text.get(at..).unwrap_or_default(), |byte| {
            byte.is_ascii_digit()
        })
    };
    let mut end = digits(0);
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

pub(super) fn run(text: &[u8], is_part: impl Fn(u8) -> bool) -> usize {
    let end = text.iter().position(|&byte| !is_part(byte));
    end.unwrap_or(text.len())
}

pub(in super::super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

pub(super) fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

pub(super) fn is_name(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
