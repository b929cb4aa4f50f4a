//! Rows of a `COPY`: handed on untouched, at the speed of memory, up to the line `\.` that ends them.

use super::lexer::lines;
use super::{DumpFilter, Event, Place, Refused};
use memchr::memmem;

/// How much of the line that ends the rows the current line starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Start,
    Backslash,
    Dot,
    Return,
    Other,
}

impl Row {
    /// The longest text that is held back, since the last line may start with it.
    const LAST: &'static [u8] = b"\\.\r";

    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (_, b'\n') => Self::Start,
            (Self::Start, b'\\') => Self::Backslash,
            (Self::Backslash, b'.') => Self::Dot,
            (Self::Dot, b'\r') => Self::Return,
            _ => Self::Other,
        }
    }

    /// Returns how many bytes of [`Self::LAST`] were read.
    fn held(self) -> usize {
        match self {
            Self::Start | Self::Other => 0,
            Self::Backslash => 1,
            Self::Dot => 2,
            Self::Return => 3,
        }
    }
}

impl DumpFilter {
    /// Reads what stands between `COPY … FROM stdin;` and the end of its line.
    pub(super) fn before_rows(&mut self, byte: u8) -> Result<(), Refused> {
        match byte {
            b'\n' => {
                self.line += 1;
                self.place = Place::Rows(Row::Start);
                Ok(())
            }
            b' ' | b'\t' | b'\r' => Ok(()),
            _ if self.allow_list.is_none() => Ok(()),
            _ => self.refuse(self.refused(self.line, "something follows COPY on its line")),
        }
    }

    /// Hands on the rows in `block`, and returns how many bytes were read.
    pub(super) fn rows_of<E>(
        &mut self,
        mut row: Row,
        block: &[u8],
        out: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        // Bytes of earlier blocks that were held back.
        let mut held = row.held();
        let mut at = 0;
        while at < block.len() {
            if row == Row::Other {
                const START: &[u8] = b"\n\\.";
                match memmem::find(&block[at..], START) {
                    Some(found) => {
                        at += found + START.len();
                        row = Row::Dot;
                    }
                    None => {
                        let tail = at.max(block.len().saturating_sub(START.len()));
                        row = block[tail..].iter().fold(row, |row, &byte| row.next(byte));
                        at = block.len();
                    }
                }
                continue;
            }
            let byte = block[at];
            if matches!(row, Row::Dot | Row::Return) && byte == b'\n' {
                self.hand_on(&block[..at - (row.held() - held)], out)?;
                self.line += 1;
                self.at_line_start = true;
                self.place = Place::Text;
                if self.allow_list.is_some() {
                    out(Event::RowsEnd)?;
                }
                return Ok(at + 1);
            }
            row = row.next(byte);
            at += 1;
            if row.held() == 0 && held > 0 {
                self.hand_on(&Row::LAST[..held], out)?;
                held = 0;
            }
        }
        self.hand_on(&block[..at - (row.held() - held)], out)?;
        self.place = Place::Rows(row);
        Ok(at)
    }

    fn hand_on<E>(
        &mut self,
        rows: &[u8],
        out: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if rows.is_empty() {
            return Ok(());
        }
        let count = lines(rows);
        self.line += count;
        if let Some(rows) = self.rows.get_mut(&self.table) {
            *rows += count;
        }
        match self.allow_list {
            Some(_) => out(Event::Rows(rows)),
            None => Ok(()),
        }
    }
}
