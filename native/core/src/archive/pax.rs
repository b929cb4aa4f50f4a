//! The properties that PAX puts before an entry.

use super::Incomplete;
use super::entries::damage;
use rustix::fs::Timespec;

/// How a file with holes is stored, as far as PAX tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Sparse {
    #[default]
    No,
    /// The map is before the data.
    Mapped,
    /// An older way.
    Old,
}

/// The properties of an entry that stand before it.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) modified: Option<Timespec>,
    pub(super) sparse: Sparse,
    pub(super) sparse_name: Option<Vec<u8>>,
    pub(super) sparse_length: Option<u64>,
}

impl Pax {
    /// Each is a line `<its length> <key>=<value>`; a value may have the end of a line in it.
    pub(super) fn parse(mut data: &[u8], at: u64) -> Result<Self, Incomplete> {
        let bad = || damage(format!("the PAX header at byte {at} is not right"));
        let mut pax = Self::default();
        let mut is_mapped = false;
        // Some fill it up.
        while data.first().is_some_and(|&byte| byte != 0) {
            let space = data.iter().take(20).position(|&byte| byte == b' ');
            let space = space.ok_or_else(bad)?;
            let length = decimal(&data[..space]).ok_or_else(bad)?;
            let length = usize::try_from(length).map_err(|_| bad())?;
            let line = data.get(space + 1..length).ok_or_else(bad)?;
            data = &data[length..];
            let line = line.strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = line.iter().position(|&byte| byte == b'=');
            let (key, value) = line.split_at(equals.ok_or_else(bad)?);
            let value = &value[1..];
            match key {
                // An empty value takes back what was said for all.
                _ if value.is_empty() => {}
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.target = Some(value.to_vec()),
                b"size" => pax.size = Some(decimal(value).ok_or_else(bad)?),
                b"mtime" => pax.modified = Some(time(value).ok_or_else(bad)?),
                b"GNU.sparse.name" => pax.sparse_name = Some(value.to_vec()),
                b"GNU.sparse.realsize" => {
                    pax.sparse_length = Some(decimal(value).ok_or_else(bad)?);
                    pax.sparse = Sparse::Old;
                }
                b"GNU.sparse.major" => {
                    is_mapped = value == b"1";
                    pax.sparse = Sparse::Old;
                }
                _ if key.starts_with(b"GNU.sparse.") => pax.sparse = Sparse::Old,
                _ => {}
            }
        }
        if is_mapped {
            pax.sparse = Sparse::Mapped;
        }
        Ok(pax)
    }

    pub(super) fn names_something(&self) -> bool {
        self.path.is_some()
            || self.target.is_some()
            || self.size.is_some()
            || self.sparse != Sparse::No
            || self.sparse_name.is_some()
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(text).ok()?.parse().ok())?
}

/// Seconds since 1970, maybe with a fraction, maybe before.
fn time(text: &[u8]) -> Option<Timespec> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let mut seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = parts.next() {
        let mut digits = fraction.to_vec();
        digits.resize(9, b'0');
        nanoseconds = i64::try_from(decimal(&digits)?).ok()?;
    }
    if is_negative {
        seconds = -seconds;
        if nanoseconds > 0 {
            seconds -= 1;
            nanoseconds = 1_000_000_000 - nanoseconds;
        }
    }
    Some(Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_pax() {
        for (text, expected) in [
            (&b"0"[..], Some((0, 0))),
            (b"1700000000.25", Some((1_700_000_000, 250_000_000))),
            (b"12.1234567899", Some((12, 123_456_789))),
            (b"-1", Some((-1, 0))),
            (b"-1.5", Some((-2, 500_000_000))),
            (b"", None),
            (b"-", None),
            (b"1.x", None),
            (b"99999999999999999999", None),
        ] {
            let time = time(text).map(|time| (time.tv_sec, time.tv_nsec));
            assert_eq!(time, expected, "{}", text.escape_ascii());
        }
    }
}
