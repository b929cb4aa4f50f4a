//! The filter that a dump of `pg_dump` goes through before it is loaded: which statements are executed, left out or
//! refused, and whether the dump is whole.
//!
//! A statement is handed on only as a whole, after all of its tokens were judged. One statement is in memory at a time,
//! rows of data are not. How the bytes of a dump are cut into blocks changes nothing.

mod allow_list;
mod check;
mod data;
mod event;
mod frame;
mod kinds;
mod lexer;
mod schema;
mod statement;

pub(crate) use check::watch_dump;
pub use check::{check_dump, check_script, loaded_of};
pub(super) use event::{Event, Kind, Refused};
pub(super) use schema::Schema;

use crate::archive::Contents;
use allow_list::AllowList;
use data::Row;
use event::NO_DUMP;
use frame::{Frame, START};
use lexer::{Item, Lexer, is_space, lines};
use memchr::memchr;
use statement::Cursor;
use std::collections::BTreeMap;

const TOO_LONG: &str =
    "it is part of a statement of more than 256 MiB, for which there may not be enough memory";
const TOO_MANY: &str = "it is part of a statement of more than 8 million words, for which there may not be enough memory";

/// Where in a dump the filter is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In or between statements.
    Text,
    /// After `COPY … FROM stdin;`, on its line.
    BeforeRows,
    Rows(Row),
}

/// Reads a dump, block by block.
pub(super) struct DumpFilter {
    /// `None` after a refusal: only the end of the dump is looked for.
    allow_list: Option<AllowList>,
    /// A refusal is remembered, and the dump is read on.
    is_watched: bool,
    refusal: Option<Refused>,
    frame: Frame,
    lexer: Lexer,
    place: Place,
    /// The statement that is read, as far as it came with earlier blocks.
    carried: Vec<u8>,
    statement_line: u64,
    at_line_start: bool,
    line: u64,
    bytes: u64,
    /// The table whose rows are read.
    table: String,
    rows: BTreeMap<String, u64>,
}

impl DumpFilter {
    /// Maximum length of a statement.
    const MAX_STATEMENT: usize = 256 << 20;
    /// Maximum number of tokens of a statement, for which 96 MiB are needed.
    const MAX_TOKENS: usize = 8 << 20;
    /// Maximum length of a statement that is only read to see whether rows follow.
    const MAX_COPY: usize = 1 << 20;
    /// Maximum number of tables whose rows are counted.
    const MAX_TABLES: usize = 100_000;

    /// Returns a filter that hands on what a restore loads, and refuses what it does not.
    pub(super) fn to_load(schema: Schema) -> Self {
        Self::new(schema, false)
    }

    /// Returns a filter that reads to the end, and remembers the first thing that a restore would refuse.
    pub(super) fn watched(schema: Schema) -> Self {
        Self::new(schema, true)
    }

    fn new(schema: Schema, is_watched: bool) -> Self {
        Self {
            allow_list: Some(AllowList::new(schema)),
            is_watched,
            refusal: None,
            frame: Frame::default(),
            lexer: Lexer::new(),
            place: Place::Text,
            carried: Vec::new(),
            statement_line: 1,
            at_line_start: true,
            line: 1,
            bytes: 0,
            table: String::new(),
            rows: BTreeMap::new(),
        }
    }

    /// Reads a block of the dump, and gives what is loaded of it to `out`.
    pub(super) fn pass<E: From<Refused>>(
        &mut self,
        block: &[u8],
        out: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes += block.len() as u64;
        let missing = START.len().saturating_sub(self.frame.start.len());
        self.frame.start.extend(block.iter().take(missing));
        if !START.starts_with(&self.frame.start) {
            return Err(Refused::NoDump.into());
        }
        if self.carried.is_empty() {
            let read = self.read(block, out)?;
            self.carried.extend_from_slice(&block[read..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.carried);
        joined.extend_from_slice(block);
        let read = self.read(&joined, out)?;
        if read < joined.len() {
            joined.drain(..read);
            self.carried = joined;
        }
        Ok(())
    }

    /// Reads on, and returns how many bytes are no longer needed.
    fn read<E: From<Refused>>(
        &mut self,
        dump: &[u8],
        out: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.refuse_zero(&dump[self.lexer.at..])?;
        let mut start = 0;
        while start + self.lexer.at < dump.len() {
            let text = &dump[start..];
            let is_more = match self.place {
                Place::Rows(row) => {
                    start += self.rows_of(row, text, out)?;
                    false
                }
                Place::BeforeRows => {
                    self.before_rows(text[0])?;
                    start += 1;
                    false
                }
                Place::Text => self.step(text, out)? == Item::More,
            };
            if !self.lexer.is_begun || self.lexer.is_dropped {
                start += std::mem::take(&mut self.lexer.at);
            }
            if is_more {
                break;
            }
        }
        Ok(start)
    }

    /// PostgreSQL takes no zero byte, and a statement would end there for some programs.
    fn refuse_zero(&mut self, dump: &[u8]) -> Result<(), Refused> {
        let zero = match self.allow_list {
            Some(_) => memchr(0, dump),
            None => None,
        };
        match zero {
            None => Ok(()),
            Some(at) => self.refuse(Refused::Line {
                line: self.line + lines(&dump[..at]),
                reason: "it holds a zero byte".into(),
            }),
        }
    }

    /// Reads a token, or what stands between statements.
    fn step<E: From<Refused>>(
        &mut self,
        text: &[u8],
        out: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<Item, E> {
        let before = self.lexer.at;
        let was_begun = self.lexer.is_begun;
        if !self.lexer.is_in_comment() {
            self.frame.comment_is_line = self.at_line_start && !was_begun;
        }
        let is_after_end = self.frame.is_at_end() && self.lexer.is_plain();
        if is_after_end && !is_space(text[before]) && text[before] != b'\\' {
            return Err(Refused::GoesOn(self.line).into());
        }
        let item = match self
            .lexer
            .next(text)
            .and_then(|item| self.after(item, text))
        {
            Ok(item) => item,
            Err(reason) => {
                self.refuse(self.refused(self.line, reason))?;
                return Ok(Item::Space);
            }
        };
        let read = &text[before..self.lexer.at];
        if self.lexer.is_begun || item == Item::Semicolon {
            self.frame.add_statement();
            if !was_begun {
                self.statement_line = self.line;
            }
        } else if item == Item::LineComment {
            self.frame
                .add_comment(&self.lexer.comment, text[self.lexer.at]);
        } else {
            self.frame.add(item, read, self.at_line_start);
        }
        self.line += lines(read);
        if let Some(&last) = read.last() {
            self.at_line_start = last == b'\n';
        }
        self.limit()?;
        if item == Item::Semicolon {
            self.end_statement(&text[..self.lexer.at - 1], out)?;
        }
        Ok(item)
    }

    /// Reads a line for `psql` where the lexer has stopped at one.
    fn after(&mut self, item: Item, text: &[u8]) -> Result<Item, String> {
        if item != Item::Backslash {
            return Ok(item);
        }
        Ok(match self.command_line(&text[self.lexer.at..])? {
            None => Item::More,
            Some(count) => {
                self.lexer.at += count;
                Item::Backslash
            }
        })
    }

    /// Refuses a statement that is too long.
    fn limit(&mut self) -> Result<(), Refused> {
        if !self.lexer.is_begun {
            return Ok(());
        }
        if self.allow_list.is_some() {
            let reason = match (self.lexer.at, self.lexer.tokens.len()) {
                (Self::MAX_STATEMENT.., _) => TOO_LONG,
                (_, Self::MAX_TOKENS..) => TOO_MANY,
                _ => return Ok(()),
            };
            self.refuse(self.refused(self.statement_line, reason))?;
        }
        if self.lexer.at > Self::MAX_COPY {
            self.lexer.drop_text();
        }
        Ok(())
    }

    fn end_statement<E: From<Refused>>(
        &mut self,
        text: &[u8],
        out: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = self.statement_line;
        let cursor = Cursor::new(text, &self.lexer.tokens);
        let table = cursor.copy_from_stdin();
        let judged = match &mut self.allow_list {
            Some(allow_list) if !cursor.is_end() => allow_list.judge(cursor),
            _ => Ok(None),
        };
        self.lexer.end_statement();
        match judged {
            Err(reason) => {
                let schema = self.allow_list.as_ref().map(|list| &list.schema);
                let refused = match schema.and_then(Schema::other) {
                    Some(seen) => Refused::OtherSchema {
                        reason,
                        seen: seen.to_owned(),
                    },
                    None => self.refused(line, reason),
                };
                self.refuse(refused)?;
            }
            Ok(None) => {}
            Ok(Some(mut kind)) => {
                if let Kind::StringsSetting(is_on) = kind {
                    self.lexer.has_escapes = !is_on;
                }
                if let Kind::Copy { first_row_line, .. } = &mut kind {
                    *first_row_line = self.line + 1;
                }
                out(Event::Statement { text, line, kind })?;
            }
        }
        if let Some(table) = table {
            self.place = Place::BeforeRows;
            if self.rows.len() < Self::MAX_TABLES {
                self.rows.entry(table.clone()).or_default();
            }
            self.table = table;
        }
        Ok(())
    }

    fn refused(&self, line: u64, reason: impl Into<String>) -> Refused {
        Refused::Line {
            line,
            reason: reason.into(),
        }
    }

    fn refuse(&mut self, refused: Refused) -> Result<(), Refused> {
        if !self.is_watched || self.allow_list.is_none() {
            return Err(refused);
        }
        self.refusal = Some(refused);
        self.allow_list = None;
        self.lexer.is_strict = false;
        Ok(())
    }

    /// Returns why a restore would not load what was watched.
    pub(super) fn refusal(&self) -> Option<&Refused> {
        self.refusal.as_ref()
    }

    /// Returns what a person should hear of what the dump has and is not loaded. Owners and privileges are given anew.
    pub(super) fn left_out(&self) -> Option<String> {
        let labels = self.allow_list.as_ref().map_or(0, |list| list.labels);
        (labels > 0).then(|| {
            format!(
                "security labels are not restored: the dump has {labels} (SECURITY LABEL), which a superuser can \
                 give again"
            )
        })
    }

    /// Returns the number of rows of each table, by its name.
    pub(super) fn rows(&self) -> &BTreeMap<String, u64> {
        &self.rows
    }

    /// Checks that the dump that was read is whole.
    pub(super) fn finish(&mut self) -> Result<Contents, String> {
        if self.frame.start.len() < START.len() {
            return Err(NO_DUMP.into());
        }
        let rest = std::mem::take(&mut self.carried);
        // A last line without a line break is there all the same.
        let is_last_line = self.frame.is_at_end() && rest.starts_with(b"\\");
        if !(rest.is_empty() || is_last_line && self.command(&rest).is_ok()) {
            self.frame.is_no_end();
        }
        if !self.frame.is_at_end() || self.frame.is_restricted() {
            let place = match self.place {
                Place::BeforeRows | Place::Rows(_) => {
                    format!("in the data of the table \"{}\"", self.table)
                }
                Place::Text if self.lexer.is_begun => {
                    format!(
                        "in the statement that starts in line {}",
                        self.statement_line
                    )
                }
                Place::Text => "its last line is not that of a whole dump".into(),
            };
            return Err(format!(
                "the dump is cut off after {} bytes: {place}",
                self.bytes
            ));
        }
        let is_nothing = self
            .allow_list
            .as_ref()
            .is_some_and(|list| list.schema.is_missing());
        if is_nothing {
            self.refuse(Refused::Nothing)
                .map_err(|refused| refused.to_string())?;
        }
        Ok(Contents {
            entries: self.line - 1 + u64::from(!rest.is_empty()),
            bytes: self.bytes,
        })
    }
}

#[cfg(test)]
mod tests;
