//! The fields of a header.

use super::Incomplete;
use super::entries::{BLOCK, damage};

/// What an archive is made of.
pub(super) type Block = [u8; BLOCK as usize];

/// The length of an entry's data.
pub(super) fn size(header: &Block, at: u64) -> Result<u64, Incomplete> {
    let size = number(&header[124..136]).flatten();
    size.and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| {
            damage(format!(
                "not a tar archive at byte {at}: an entry without a length"
            ))
        })
}

/// The name in a header, where no other is before it.
pub(super) fn short_name(header: &Block) -> Vec<u8> {
    let name = text(&header[..100]);
    let prefix = text(&header[345..500]);
    // GNU has other things there.
    if header[257..263] == *b"ustar\0" && !prefix.is_empty() {
        [prefix, b"/", name].concat()
    } else {
        name.to_vec()
    }
}

/// Up to a NUL, if there is one.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number in a header: octal digits, or binary as GNU writes those that have too many. `Some(None)`
/// where there is nothing.
pub(super) fn number(field: &[u8]) -> Option<Option<i64>> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let start = if first & 0x40 == 0 { 0 } else { -1 };
        let start = (start << 6) | i128::from(first & 0x3f);
        let value = rest
            .iter()
            .fold(start, |value, &byte| (value << 8) | i128::from(byte));
        return i64::try_from(value).ok().map(Some);
    }
    let text = text(field).trim_ascii();
    if text.is_empty() {
        return Some(None);
    }
    text.iter()
        .try_fold(0_i64, |value, &byte| {
            let digit = (b'0'..=b'7').contains(&byte).then(|| byte - b'0')?;
            value.checked_mul(8)?.checked_add(i64::from(digit))
        })
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_headers() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(Some(0o644))),
            (b"   644 \0", Some(Some(0o644))),
            (b"777777777777", Some(Some(0o777_777_777_777))),
            (b"\0\0\0\0", Some(None)),
            (b"    ", Some(None)),
            (b"0000648\0", None),
            (b"-1\0\0", None),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\x01", Some(Some((2 << 32) + 1))),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
                Some(Some(-2)),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }
}
