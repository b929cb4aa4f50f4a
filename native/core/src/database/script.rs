//! The SQL of a dump, as `psql` reads it: what is loaded, what is left out, what is refused, and
//! whether it is whole.
//!
//! The dump goes by in pieces of any length; no line or statement of it is held in memory as a whole.
//! Rows of data pass untouched, at the speed of memory. What is left out leaves its line breaks behind:
//! a line of what `psql` gets is the same line of the dump. After all that was executed come settings on
//! the same line (`Script::reset`), since it could have changed how the server reads strings.

use super::statement::{Schema, Token, Verdict, is_copy_in, table};
use crate::archive::{Contents, Incomplete};
use memchr::{memchr, memchr_iter, memchr2, memmem};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};

/// Reads a dump in the plain format of `pg_dump` to its end, and checks that it has one (`pg_dump`
/// writes a last comment when all is written) and that a restore would load it.
///
/// # Errors
/// `Structure` when it is not a whole dump, or holds what a restore refuses; `Read`.
pub fn check_dump(dump: impl Read) -> Result<Contents, Incomplete> {
    check(dump, Schema::default())
}

/// The same, for a dump that is to be loaded into this schema.
///
/// # Errors
/// As [`check_dump`], also when it is of another schema.
pub fn check_script(dump: impl Read, schema: &str) -> Result<Contents, Incomplete> {
    check(dump, Schema::of_site(schema))
}

fn check(mut dump: impl Read, schema: Schema) -> Result<Contents, Incomplete> {
    let mut script = Script::to_load(schema);
    let mut block = vec![0; 64 << 10];
    loop {
        match dump.read(&mut block) {
            Ok(0) => break,
            Ok(count) => script
                .pass(&block[..count], &mut |_| Ok(()))
                .map_err(|error: Refused| Incomplete::Structure(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    script.finish().map_err(Incomplete::Structure)
}

/// Why a dump is not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{NO_DUMP}")]
    NoDump,
    #[error("line {line} of the dump is not loaded: {reason}")]
    Line { line: u64, reason: String },
    #[error("the dump goes on after its end, in line {0}")]
    GoesOn(u64),
}

const NO_DUMP: &str = "it is not a dump of PostgreSQL: its first lines are others";
const START: &[u8] = b"--\n-- PostgreSQL database dump\n--\n";
const END: [&[u8]; 3] = [b"--", b"-- PostgreSQL database dump complete", b"--"];

/// Where in the text we are.
#[derive(Debug)]
enum State {
    Plain,
    LineComment,
    BlockComment(u32),
    Text {
        escapes: bool,
    },
    Name,
    Dollar(Vec<u8>),
    /// After `COPY … FROM stdin;` on its line.
    BeforeData,
    /// In rows of data, of which the current one starts with so much of [`Row`].
    Data(Row),
}

/// How much of the line that ends the data has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Start,
    Backslash,
    Dot,
    Return,
    Other,
}

impl Row {
    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (_, b'\n') => Self::Start,
            (Self::Start, b'\\') => Self::Backslash,
            (Self::Backslash, b'.') => Self::Dot,
            (Self::Dot, b'\r') => Self::Return,
            _ => Self::Other,
        }
    }
}

/// What happens with the bytes that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Hold,
    LeaveOut,
}

#[derive(Debug, Default)]
struct Statement {
    line: u64,
    /// Its first line, for reading.
    start: Vec<u8>,
    tokens: Vec<Token>,
    /// So many of them were judged.
    judged: usize,
    is_complete: bool,
    brackets: u64,
    /// The words so far; and the first letters of those at its start that make a function.
    words: usize,
    maker: [u8; 4],
    /// Within `BEGIN ATOMIC … END` of a function.
    blocks: u64,
    /// The last word was `BEGIN`, and `ATOMIC` is to follow.
    is_begun: bool,
    /// The last token was a string with escapes, which another string would go on.
    after_escapes: bool,
}

impl Statement {
    /// More is not needed to judge what `pg_dump` writes.
    const TOKENS: usize = 40;
    const START: usize = 100;
    const BEGIN: &str = "a function with the word BEGIN in its head";

    /// The heuristic of `psql`, which tells a semicolon within a function from that at its end.
    fn word(&mut self, word: &str) -> Result<(), &'static str> {
        if self.is_begun && word != "atomic" {
            return Err(Self::BEGIN);
        }
        self.is_begun = false;
        if let Some(letter) = self.maker.get_mut(self.words)
            && ["create", "function", "procedure", "or", "replace"].contains(&word)
        {
            *letter = word.as_bytes()[0];
        }
        self.words += 1;
        let is_function = matches!(
            self.maker,
            [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p']
        );
        if is_function && self.brackets == 0 {
            match word {
                "begin" => {
                    self.blocks += 1;
                    self.is_begun = true;
                }
                "case" if self.blocks > 0 => self.blocks += 1,
                "end" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }
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
    passed: VecDeque<Passed>,
    rows: BTreeMap<String, u64>,
    /// What the strings of the dump are encoded in.
    encoding: String,
    /// The last line was the end of data.
    is_after_data: bool,
}

type Step = Result<Option<usize>, String>;

impl Script {
    /// What is kept of a name or a string.
    const VALUE: usize = 1 << 10;
    /// A statement that could be left out is shorter.
    const HELD: usize = 1 << 20;
    /// `psql` may be so many statements behind.
    const PASSED: usize = 10_000;
    const TABLES: usize = 100_000;

    /// Passes on what a restore loads, and refuses what it does not.
    pub(super) fn to_load(schema: Schema) -> Self {
        Self::new(Some(schema))
    }

    /// Passes on everything: only its end matters.
    pub(super) fn watched() -> Self {
        Self::new(None)
    }

    fn new(schema: Option<Schema>) -> Self {
        Self {
            schema,
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
            self.line += lines(&dump[..nul]);
            return Err(self.refused("it holds a zero byte").into());
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
            let Some(count) = self
                .step(&dump[at..])
                .map_err(|reason| self.refused(reason))?
            else {
                break;
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
            if let Some(statement) = &mut self.statement {
                let room = Statement::START.saturating_sub(statement.start.len());
                statement.start.extend(step.iter().take(room));
            }
            if self.mode == Mode::Hold {
                let is_long = self.held.len() + (at - settled) > Self::HELD;
                let verdict = self.judge(is_long).map_err(|reason| {
                    let line = self
                        .statement
                        .as_ref()
                        .map_or(0, |statement| statement.line);
                    Refused::Line { line, reason }
                })?;
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
                let is_executed = self.mode == Mode::Pass && matches!(self.state, State::Plain);
                if is_executed && self.schema.is_some() {
                    self.settle(&dump[settled..at], Mode::Pass, out)?;
                    settled = at;
                    out(self.reset().as_bytes())?;
                }
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
            return Err("the dump holds nothing of the site's schema".into());
        }
        Ok(Contents {
            entries: self.line - 1 + u64::from(!rest.is_empty()),
            bytes: self.bytes,
        })
    }

    /// Reads a token, or a part of one: how many bytes; `None` when the rest of it must come first.
    fn step(&mut self, dump: &[u8]) -> Step {
        match &mut self.state {
            State::Plain => self.plain(dump),
            State::LineComment => Ok(self.line_comment(dump)),
            State::BlockComment(depth) => {
                let count = block_comment(depth, dump);
                if *depth == 0 {
                    self.state = State::Plain;
                }
                Ok(count)
            }
            State::Text { escapes } => {
                let escapes = *escapes;
                Ok(self.quoted(dump, b'\'', escapes))
            }
            State::Name => Ok(self.quoted(dump, b'"', false)),
            State::Dollar(tag) => match memmem::find(dump, tag) {
                Some(at) => {
                    let count = at + tag.len();
                    self.state = State::Plain;
                    self.token(Token::Other);
                    Ok(Some(count))
                }
                // The tag may have begun.
                None => {
                    Ok(Some(dump.len().saturating_sub(tag.len() - 1)).filter(|&count| count > 0))
                }
            },
            State::BeforeData => match dump[0] {
                b'\n' => {
                    self.state = State::Data(Row::Start);
                    Ok(Some(1))
                }
                b' ' | b'\t' | b'\r' => Ok(Some(1)),
                _ => Err("something follows COPY on its line".into()),
            },
            State::Data(_) => Ok(Some(self.data(dump))),
        }
    }

    fn plain(&mut self, dump: &[u8]) -> Step {
        let next = dump.get(1).copied();
        match (dump[0], next) {
            (byte, _) if is_space(byte) => {
                let count = run(dump, is_space);
                // The lines of the end follow on each other.
                if self.end < END.len() && (self.at_line_start || dump[..count] != b"\n"[..]) {
                    self.end = 0;
                }
                return Ok(Some(count));
            }
            (b'-' | b'/' | b':', None) => return Ok(None),
            (b'-', Some(b'-')) => {
                self.state = State::LineComment;
                self.value.clear();
                self.value_is_line = self.at_line_start && self.statement.is_none();
                return Ok(self.line_comment(dump));
            }
            (b'/', Some(b'*')) => {
                self.end = 0;
                self.state = State::BlockComment(1);
                return Ok(Some(2));
            }
            (b'\\', _) => return self.meta_command_line(dump),
            _ => {}
        }
        // Nothing changes before all of the token is there.
        let count = match dump[0] {
            b'$' if next.is_none() => return Ok(None),
            b'$' if next.is_some_and(|byte| byte.is_ascii_digit()) => {
                1 + run(&dump[1..], |byte| byte.is_ascii_digit())
            }
            b'$' => 1 + run(&dump[1..], |byte| is_name(byte) && byte != b'$'),
            b'0'..=b'9' => run(dump, |byte| byte == b'.' || is_name(byte) && byte != b'$'),
            b':' if next == Some(b':') => 2,
            // A variable of psql, which has none of that name: no word of the statement to it.
            b':' => 1 + run(&dump[1..], |byte| is_name(byte) && byte != b'$'),
            byte if is_name_start(byte) => run(dump, is_name),
            _ => 1,
        };
        let is_run = count > 1 || is_name(dump[0]);
        if is_run && count == dump.len() {
            return match count > Self::VALUE {
                false => Ok(None),
                true if self.schema.is_some() => Err("a word that is too long".into()),
                true => Ok(Some(count)),
            };
        }
        let follows = dump.get(count).copied();
        if self.statement.is_none() {
            self.end = 0;
            self.has_statements = true;
            if self.schema.is_some() {
                self.mode = Mode::Hold;
            }
        }
        let line = self.line;
        let statement = self.statement.get_or_insert_with(|| Statement {
            line,
            ..Statement::default()
        });
        let after_escapes = std::mem::take(&mut statement.after_escapes);
        let strict = self.schema.is_some();
        if statement.is_begun && strict && !is_name_start(dump[0]) {
            return Err(Statement::BEGIN.into());
        }
        match dump[0] {
            b'\'' if after_escapes && strict => return Err("two strings on end".into()),
            b'\'' | b'"' => {
                self.value.clear();
                self.state = match dump[0] {
                    b'\'' => State::Text { escapes: false },
                    _ => State::Name,
                };
            }
            b'$' if follows == Some(b'$') && !next.is_some_and(|byte| byte.is_ascii_digit()) => {
                self.state = State::Dollar(dump[..=count].to_vec());
                return Ok(Some(count + 1));
            }
            b'$' | b'0'..=b'9' => {
                let is_odd = matches!(follows, Some(b'$' | b'\'' | b'"'))
                    || dump[0] == b'$' && !next.is_some_and(|byte| byte.is_ascii_digit());
                if is_odd && strict {
                    return Err("a number, and a quote right after it".into());
                }
                if strict && dump[0] != b'$' && !is_number(&dump[..count]) {
                    return Err("a number, and a word right after it".into());
                }
                self.token(Token::Other);
            }
            b':' => self.token(Token::Other),
            b'e' | b'E' if count == 1 && follows == Some(b'\'') => {
                self.value.clear();
                self.state = State::Text { escapes: true };
                return Ok(Some(2));
            }
            b'u' | b'U' if count == 1 && follows == Some(b'&') && strict => {
                return Err("a name or a string with U&".into());
            }
            byte if is_name_start(byte) => {
                let word = String::from_utf8_lossy(&dump[..count]).to_ascii_lowercase();
                statement.word(&word).or_else(|reason| match strict {
                    true => Err(reason),
                    false => Ok(()),
                })?;
                self.token(Token::Word(word));
            }
            b'(' => {
                self.token(Token::Sign(b'('));
                self.brackets(|brackets| brackets + 1);
            }
            b')' => {
                self.brackets(|brackets| brackets.saturating_sub(1));
                self.token(Token::Sign(b')'));
            }
            b';' if statement.brackets == 0 && statement.blocks == 0 => {
                statement.is_complete = true;
            }
            sign => self.token(Token::Sign(sign)),
        }
        Ok(Some(count))
    }

    fn brackets(&mut self, change: impl FnOnce(u64) -> u64) {
        if let Some(statement) = &mut self.statement {
            statement.brackets = change(statement.brackets);
        }
    }

    fn token(&mut self, token: Token) {
        if let Some(statement) = &mut self.statement {
            // Those in brackets matter in calls.
            let is_call =
                matches!(statement.tokens.first(), Some(Token::Word(word)) if word == "select");
            if (statement.brackets == 0 || is_call) && statement.tokens.len() < Statement::TOKENS {
                statement.tokens.push(token);
            }
        }
    }

    /// Until the end of the line, which is not part of it.
    fn line_comment(&mut self, dump: &[u8]) -> Option<usize> {
        let end = memchr2(b'\n', b'\r', dump);
        let count = end.unwrap_or(dump.len());
        let room = (2 * END[1].len()).saturating_sub(self.value.len());
        self.value.extend(dump.iter().take(count).take(room));
        if let Some(end) = end {
            self.state = State::Plain;
            let is_line = self.value_is_line && dump[end] == b'\n';
            self.end = if is_line && self.value == END[self.end] {
                self.end + 1
            } else {
                // The first line of the end may be the second of something else.
                usize::from(is_line && self.value == END[0])
            };
        }
        Some(count)
    }

    /// In a string or a name.
    fn quoted(&mut self, dump: &[u8], quote: u8, escapes: bool) -> Option<usize> {
        let special = match escapes {
            true => memchr2(quote, b'\\', dump),
            false => memchr(quote, dump),
        };
        let plain = special.unwrap_or(dump.len());
        self.keep(&dump[..plain]);
        match (dump.get(plain), dump.get(plain + 1)) {
            (None, _) => Some(plain),
            // What it is depends on what follows.
            (Some(_), None) => Some(plain).filter(|&count| count > 0),
            (Some(b'\\'), Some(_)) if escapes => {
                self.keep(&dump[plain..plain + 2]);
                Some(plain + 2)
            }
            (Some(_), Some(&next)) if next == quote => {
                self.keep(&[quote]);
                Some(plain + 2)
            }
            _ => {
                let value = std::mem::take(&mut self.value);
                let text = (value.len() <= Self::VALUE)
                    .then(|| String::from_utf8_lossy(&value).into_owned());
                self.token(match text {
                    Some(text) if quote == b'"' => Token::Name(text),
                    Some(text) if !escapes => Token::Text(text),
                    _ => Token::Other,
                });
                if let Some(statement) = &mut self.statement {
                    statement.after_escapes = escapes;
                }
                self.state = State::Plain;
                Some(plain + 1)
            }
        }
    }

    /// A little too much shows that it is too long.
    fn keep(&mut self, part: &[u8]) {
        let room = (Self::VALUE + 1).saturating_sub(self.value.len());
        self.value.extend(part.iter().take(room));
    }

    fn data(&mut self, dump: &[u8]) -> usize {
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

    /// A line that is for `psql` itself: only the two that `pg_dump` puts at both ends are let by.
    fn meta_command_line(&mut self, dump: &[u8]) -> Step {
        const LONGEST: usize = 256;
        let Some(end) = memchr(b'\n', dump) else {
            if dump.len() < LONGEST {
                return Ok(None);
            }
            return self.meta_command(dump).map(|()| None);
        };
        self.meta_command(&dump[..end])?;
        self.mode = Mode::LeaveOut;
        Ok(Some(end))
    }

    fn meta_command(&mut self, line: &[u8]) -> Result<(), String> {
        let token = |command: &[u8]| {
            line.strip_prefix(command)
                .filter(|token| token.iter().all(u8::is_ascii_alphanumeric) && !token.is_empty())
        };
        let is_whole = self.at_line_start && self.statement.is_none();
        if let Some(token) = token(b"\\restrict ")
            && is_whole
            && self.restricted.is_none()
            && !self.has_statements
        {
            self.end = 0;
            self.restricted = Some(token.to_vec());
            return Ok(());
        }
        if let Some(token) = token(b"\\unrestrict ")
            && is_whole
            && self.end == END.len()
            && self.restricted.as_deref() == Some(token)
        {
            self.restricted = None;
            return Ok(());
        }
        if self.schema.is_none() {
            self.end = 0;
            return Ok(());
        }
        let command: String = String::from_utf8_lossy(line)
            .chars()
            .take_while(|c| !c.is_whitespace())
            .take(20)
            .collect();
        Err(format!(
            "{command} is a command for psql itself, which a dump has no need of"
        ))
    }
}

fn block_comment(depth: &mut u32, dump: &[u8]) -> Option<usize> {
    let Some(at) = memchr2(b'*', b'/', dump) else {
        return Some(dump.len());
    };
    match (dump[at], dump.get(at + 1)) {
        (_, None) => Some(at).filter(|&count| count > 0),
        (b'*', Some(b'/')) => {
            *depth -= 1;
            Some(at + 2)
        }
        (b'/', Some(b'*')) => {
            *depth = depth.saturating_add(1);
            Some(at + 2)
        }
        _ => Some(at + 1),
    }
}

fn lines(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

fn run(text: &[u8], is_part: impl Fn(u8) -> bool) -> usize {
    let end = text.iter().position(|&byte| !is_part(byte));
    end.unwrap_or(text.len())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Digits and dots, with the start of an exponent where there is one.
fn is_number(word: &[u8]) -> bool {
    let digits = run(word, |byte| byte.is_ascii_digit() || byte == b'.');
    match &word[digits..] {
        [] => true,
        [b'e' | b'E', exponent @ ..] => exponent.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_name(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests;
