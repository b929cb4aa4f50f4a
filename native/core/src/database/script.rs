//! The SQL of a dump, as `psql` reads it: what is loaded, what is left out, what is refused, and
//! whether it is whole.
//!
//! The dump goes by in pieces of any length; no line or statement of it is held in memory as a whole.
//! Rows of data pass untouched, at the speed of memory. What is left out leaves its line breaks behind:
//! a line of what `psql` gets is the same line of the dump. After all that was executed come settings on
//! the same line (`Script::reset`), since it could have changed how the server reads strings.

mod check;
mod data;
mod lexer;
mod psql;

pub(crate) use check::watch_dump;
pub use check::{check_dump, check_script, loaded_of};

use super::statement::{Schema, Verdict};
use super::token::{Token, is_copy_in, table};
use crate::archive::Contents;
use crate::error::{Error, harmless};
use lexer::{State, is_space, lines};
use memchr::{memchr, memchr_iter};
use psql::Statement;
use std::collections::{BTreeMap, VecDeque};

/// Why a dump is not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{NO_DUMP}")]
    NoDump,
    #[error("line {line} of the dump is not loaded: {reason}")]
    Line { line: u64, reason: String },
    /// It may be a good one of another site.
    #[error(
        "{reason}: set schema to {seen:?} in [database] (dbschema in Zotonic), or take the backup of this site"
    )]
    OtherSchema { reason: String, seen: String },
    #[error("the dump goes on after its end, in line {0}")]
    GoesOn(u64),
    #[error("the dump holds nothing of the site's schema")]
    Nothing,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let words = refused.to_string();
        match refused {
            Refused::OtherSchema { .. } => Self::Usage(harmless(&words)),
            _ => Self::Database(words),
        }
    }
}

const TOO_LONG: &str = "it is part of a statement of more than 256 MiB, for which psql would take many times \
                        that in memory";
const NO_DUMP: &str = "it is not a dump of PostgreSQL: its first lines are others";
const START: &[u8] = b"--\n-- PostgreSQL database dump\n--\n";
const END: [&[u8]; 3] = [b"--", b"-- PostgreSQL database dump complete", b"--"];

/// What happens with the bytes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Hold,
    LeaveOut,
}

/// A statement that was passed on: where it starts, and how.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) line: u64,
    pub(super) start: String,
    /// The table whose data follow.
    pub(super) table: Option<String>,
    /// The line after it, where they start.
    pub(super) data: u64,
}

/// A dump that goes by.
pub(super) struct Script {
    /// Without it only the end of the dump is looked for.
    schema: Option<Schema>,
    /// What is refused is remembered, and from there on only the end is looked for.
    is_watched: bool,
    refusal: Option<Refused>,
    start: Vec<u8>,
    state: State,
    /// The start of a token whose rest is still to come.
    rest: Vec<u8>,
    statement: Option<Statement>,
    mode: Mode,
    held: Vec<u8>,
    /// The name, string or comment that is being read, as far as it matters.
    value: Vec<u8>,
    value_is_line: bool,
    at_line_start: bool,
    /// Whose data are read.
    table: String,
    /// The token of a `\restrict` line, which a whole dump takes back in its last line.
    restricted: Option<Vec<u8>>,
    has_statements: bool,
    /// How many lines of [`END`] have been seen; all of them: this was the end.
    end: usize,
    line: u64,
    bytes: u64,
    /// What `psql` has to hold until it can send it: a statement, its line, the comments before it.
    unsent: u64,
    /// A statement was complete since a line began.
    has_ended: bool,
    passed: VecDeque<Passed>,
    rows: BTreeMap<String, u64>,
    /// What the strings of the dump are encoded in.
    encoding: String,
    /// The last line was the end of data.
    is_after_data: bool,
}

impl Script {
    /// What is kept of a name or a string.
    const VALUE: usize = 1 << 10;
    /// A statement that could be left out is shorter.
    const HELD: usize = 1 << 20;
    /// `psql` may be so many statements behind.
    const PASSED: usize = 10_000;
    const TABLES: usize = 100_000;
    /// `psql` takes six times the memory of a statement. Rows of data are not held by it.
    const LONGEST: u64 = 256 << 20;

    /// Passes on what a restore loads, and refuses what it does not.
    pub(super) fn to_load(schema: Schema) -> Self {
        Self::new(schema, false)
    }

    /// Reads to the end, and remembers what a restore would refuse.
    pub(super) fn watched(schema: Schema) -> Self {
        Self::new(schema, true)
    }

    fn new(schema: Schema, is_watched: bool) -> Self {
        Self {
            schema: Some(schema),
            is_watched,
            refusal: None,
            start: Vec::new(),
            state: State::Plain,
            rest: Vec::new(),
            statement: None,
            mode: Mode::Pass,
            held: Vec::new(),
            value: Vec::new(),
            value_is_line: false,
            table: String::new(),
            at_line_start: true,
            restricted: None,
            has_statements: false,
            end: 0,
            line: 1,
            bytes: 0,
            unsent: 0,
            has_ended: false,
            passed: VecDeque::new(),
            rows: BTreeMap::new(),
            encoding: "UTF8".into(),
            is_after_data: false,
        }
    }

    /// Sent after all that was executed: functions could have changed how the server reads strings, and
    /// `psql` and we would no longer see the same end of a statement.
    fn reset(&self) -> String {
        format!(
            " SET standard_conforming_strings=on; SET client_encoding='{}';",
            self.encoding
        )
    }

    /// Reads on, and gives what is loaded of it to `out`.
    pub(super) fn pass<E: From<Refused>>(
        &mut self,
        dump: &[u8],
        out: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes += dump.len() as u64;
        let room = START.len().saturating_sub(self.start.len());
        self.start.extend(dump.iter().take(room));
        if !START.starts_with(&self.start) {
            return Err(Refused::NoDump.into());
        }
        if self.rest.is_empty() {
            return self.read(dump, out);
        }
        let mut joined = std::mem::take(&mut self.rest);
        joined.extend_from_slice(dump);
        self.read(&joined, out)
    }

    fn read<E: From<Refused>>(
        &mut self,
        dump: &[u8],
        out: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.schema.is_some()
            && let Some(nul) = memchr(0, dump)
        {
            let mut refused = self.refused("it holds a zero byte");
            if let Refused::Line { line, .. } = &mut refused {
                *line += lines(&dump[..nul]);
            }
            self.refuse(refused)?;
        }
        let mut at = 0;
        // What comes before has been passed on, held or left out.
        let mut settled = 0;
        while let Some(&byte) = dump.get(at) {
            let is_after_end = self.end == END.len() && matches!(self.state, State::Plain);
            if is_after_end && !is_space(byte) && byte != b'\\' {
                return Err(Refused::GoesOn(self.line).into());
            }
            if self.is_after_data && self.schema.is_some() {
                self.is_after_data = false;
                self.settle(&dump[settled..at], self.mode, out)?;
                settled = at;
                out(self.reset().as_bytes())?;
                if byte != b'\n' {
                    // psql has decided by the start of a line how it reads strings. An empty one comes after
                    // the data that pg_dump writes; here the lines of errors are one more from now on.
                    out(b"\n")?;
                }
            }
            let mode = self.mode;
            let is_data = matches!(self.state, State::Data(_));
            let count = match self.step(&dump[at..]) {
                Ok(Some(count)) => count,
                Ok(None) => break,
                Err(reason) => {
                    self.refuse(self.refused(reason))?;
                    continue;
                }
            };
            // It began with these bytes: what came before is not part of it.
            if self.mode != mode {
                self.settle(&dump[settled..at], mode, out)?;
                settled = at;
            }
            let step = &dump[at..at + count];
            at += count;
            self.line += lines(step);
            if let Some(&last) = step.last() {
                self.at_line_start = last == b'\n';
            }
            self.unsent = if is_data {
                0
            } else {
                self.unsent + count as u64
            };
            if self.unsent > Self::LONGEST && self.schema.is_some() {
                self.refuse(self.refused_statement(TOO_LONG))?;
            }
            if let Some(statement) = &mut self.statement {
                let room = Statement::START.saturating_sub(statement.start.len());
                statement.start.extend(step.iter().take(room));
            }
            if self.mode == Mode::Hold {
                let is_long = self.held.len() + (at - settled) > Self::HELD;
                let verdict = match self.judge(is_long) {
                    Ok(verdict) => verdict,
                    Err(reason) => {
                        self.refuse(self.refused_verdict(reason))?;
                        None
                    }
                };
                if let Some(mode) = verdict {
                    self.settle(&dump[settled..at], Mode::Hold, out)?;
                    settled = at;
                    self.mode = mode;
                    let held = std::mem::take(&mut self.held);
                    self.settle(&held, mode, out)?;
                }
            }
            if let Some(statement) = self.statement.take_if(|statement| statement.is_complete) {
                self.end_statement(&statement);
                self.has_ended = true;
                let is_executed = self.mode == Mode::Pass && matches!(self.state, State::Plain);
                if is_executed && self.schema.is_some() {
                    self.settle(&dump[settled..at], Mode::Pass, out)?;
                    settled = at;
                    out(self.reset().as_bytes())?;
                }
            }
            if self.has_ended && self.at_line_start && self.statement.is_none() {
                self.has_ended = false;
                self.unsent = 0;
            }
            if self.statement.is_none() && self.mode == Mode::LeaveOut {
                self.settle(&dump[settled..at], Mode::LeaveOut, out)?;
                settled = at;
                self.mode = Mode::Pass;
            }
        }
        self.settle(&dump[settled..at], self.mode, out)?;
        self.rest.extend_from_slice(&dump[at..]);
        Ok(())
    }

    fn settle<E>(
        &mut self,
        part: &[u8],
        mode: Mode,
        out: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match mode {
            _ if part.is_empty() => {}
            Mode::Pass => out(part)?,
            Mode::Hold => self.held.extend_from_slice(part),
            Mode::LeaveOut => {
                const BREAKS: [u8; 64] = [b'\n'; 64];
                let mut count = memchr_iter(b'\n', part).count();
                while count > 0 {
                    let some = count.min(BREAKS.len());
                    out(&BREAKS[..some])?;
                    count -= some;
                }
            }
        }
        Ok(())
    }

    fn refused(&self, reason: impl Into<String>) -> Refused {
        Refused::Line {
            line: self.line,
            reason: reason.into(),
        }
    }

    /// The same of the statement that is read, with its first line.
    fn refused_statement(&self, reason: impl Into<String>) -> Refused {
        let statement = self.statement.as_ref();
        Refused::Line {
            line: statement.map_or(self.line, |statement| statement.line),
            reason: reason.into(),
        }
    }

    /// The same, when that is what the judge said of it.
    fn refused_verdict(&self, reason: String) -> Refused {
        match self.schema.as_ref().and_then(Schema::other) {
            Some(seen) => Refused::OtherSchema {
                reason,
                seen: seen.to_owned(),
            },
            None => self.refused_statement(reason),
        }
    }

    fn refuse(&mut self, refused: Refused) -> Result<(), Refused> {
        if !self.is_watched || self.schema.is_none() {
            return Err(refused);
        }
        self.refusal = Some(refused);
        self.schema = None;
        self.held.clear();
        if self.mode == Mode::Hold {
            self.mode = Mode::Pass;
        }
        Ok(())
    }

    /// Why a restore would not load what was watched.
    pub(super) fn refusal(&self) -> Option<&Refused> {
        self.refusal.as_ref()
    }

    /// What to do with the statement that is held, when that can be said.
    fn judge(&mut self, is_long: bool) -> Result<Option<Mode>, String> {
        let (Some(schema), Some(statement)) = (&mut self.schema, &mut self.statement) else {
            return Ok(None);
        };
        let is_full = is_long || statement.tokens.len() == Statement::TOKENS;
        let is_news = statement.judged < statement.tokens.len();
        // Nothing but a semicolon is no statement.
        if statement.tokens.is_empty() && statement.is_complete {
            return Ok(Some(Mode::Pass));
        }
        if !(is_news || is_full || statement.is_complete) {
            return Ok(None);
        }
        statement.judged = statement.tokens.len();
        let is_complete = is_full || statement.is_complete;
        Ok(match schema.judge(&statement.tokens, is_complete)? {
            Verdict::More => None,
            Verdict::Load => Some(Mode::Pass),
            Verdict::LeaveOut => Some(Mode::LeaveOut),
        })
    }

    fn end_statement(&mut self, statement: &Statement) {
        let is_copy = is_copy_in(&statement.tokens);
        if let [
            Token::Word(set),
            Token::Word(what),
            _,
            Token::Text(encoding),
        ] = &statement.tokens[..]
            && (set.as_str(), what.as_str()) == ("set", "client_encoding")
            && encoding
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        {
            encoding.clone_into(&mut self.encoding);
        }
        let name = table(&statement.tokens).unwrap_or_default();
        if is_copy {
            self.state = State::BeforeData;
            name.clone_into(&mut self.table);
            if self.rows.len() < Self::TABLES {
                self.rows.entry(name.to_owned()).or_default();
            }
        }
        if self.passed.len() == Self::PASSED {
            self.passed.pop_front();
        }
        let mut start = statement.start.split(|&byte| byte == b'\n');
        let start = String::from_utf8_lossy(start.next().unwrap_or_default());
        self.passed.push_back(Passed {
            line: statement.line,
            start: start.into_owned(),
            table: is_copy.then(|| name.to_owned()),
            data: self.line + 1,
        });
    }

    /// The statement that this line of the dump belongs to.
    pub(super) fn passed(&self, line: u64) -> Option<&Passed> {
        self.passed.iter().rev().find(|passed| passed.line <= line)
    }

    /// What a person should hear of what the dump has and was not loaded. Owners and privileges are given anew.
    pub(super) fn left_out(&self) -> Option<String> {
        let labels = self.schema.as_ref().map_or(0, Schema::labels);
        (labels > 0).then(|| {
            format!(
                "security labels are not restored: the dump has {labels} (SECURITY LABEL), which a superuser can \
                 give again"
            )
        })
    }

    /// How many rows of data there are for each table, by its name.
    pub(super) fn rows(&self) -> &BTreeMap<String, u64> {
        &self.rows
    }

    /// All was read: was it all?
    pub(super) fn finish(&mut self) -> Result<Contents, String> {
        if self.start.len() < START.len() {
            return Err(NO_DUMP.into());
        }
        let rest = std::mem::take(&mut self.rest);
        let is_end = self.end == END.len() && rest.first() == Some(&b'\\');
        if is_end && self.meta_command(&rest).is_ok() {
            // Without a line break, it is there all the same.
        } else if !rest.is_empty() {
            self.end = 0;
        }
        if self.end < END.len() || self.restricted.is_some() {
            let place = match (&self.state, &self.statement) {
                (State::Data(_) | State::BeforeData, _) => {
                    format!("in the data of the table \"{}\"", self.table)
                }
                (_, Some(statement)) => {
                    format!("in the statement that starts in line {}", statement.line)
                }
                _ => "its last line is not that of a whole dump".into(),
            };
            return Err(format!(
                "the dump is cut off after {} bytes: {place}",
                self.bytes
            ));
        }
        if self.schema.as_ref().is_some_and(Schema::is_missing) {
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
pub(super) mod tests;
