//! The rows of data in a dump: untouched, but counted, and to their last line.

use super::Script;
use super::lexer::{State, lines};
use memchr::memmem;

/// How much of the line that ends the data has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Start,
    Backslash,
    Dot,
    Return,
    Other,
}

impl Row {
    pub(super) fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (_, b'\n') => Self::Start,
            (Self::Start, b'\\') => Self::Backslash,
            (Self::Backslash, b'.') => Self::Dot,
            (Self::Dot, b'\r') => Self::Return,
            _ => Self::Other,
        }
    }
}

impl Script {
    pub(super) fn data(&mut self, dump: &[u8]) -> usize {
        let State::Data(mut row) = self.state else {
            return 0;
        };
        let mut count = 0;
        // To the next line that starts like the last one, and along that.
        loop {
            if row == Row::Other {
                const LAST: &[u8] = b"\n\\.";
                let rest = &dump[count..];
                match memmem::find(rest, LAST) {
                    Some(at) => {
                        count += at + LAST.len();
                        row = Row::Dot;
                    }
                    None => {
                        let tail = rest.len().saturating_sub(LAST.len());
                        row = rest[tail..].iter().fold(row, |row, &byte| row.next(byte));
                        count = dump.len();
                    }
                }
            }
            let Some(&byte) = dump.get(count) else {
                break;
            };
            count += 1;
            let is_last = matches!(row, Row::Dot | Row::Return) && byte == b'\n';
            row = row.next(byte);
            if is_last {
                self.add_rows(lines(&dump[..count]).saturating_sub(1));
                self.state = State::Plain;
                self.is_after_data = true;
                return count;
            }
        }
        self.add_rows(lines(&dump[..count]));
        self.state = State::Data(row);
        count
    }

    fn add_rows(&mut self, count: u64) {
        if let Some(rows) = self.rows.get_mut(&self.table) {
            *rows += count;
        }
    }
}
