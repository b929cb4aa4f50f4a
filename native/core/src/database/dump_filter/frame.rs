//! What `pg_dump` writes around the statements of a dump: the lines of its start and its end, and the pair
//! `\restrict` and `\unrestrict`. No other command for `psql` is let by.

use super::DumpFilter;
use super::lexer::Item;
use memchr::memchr;

pub(super) const START: &[u8] = b"--\n-- PostgreSQL database dump\n--\n";
const END: [&[u8]; 3] = [b"--", b"-- PostgreSQL database dump complete", b"--"];

/// How far a dump has come from its start to its end.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The first bytes of the dump, as many as [`START`] has.
    pub(super) start: Vec<u8>,
    /// How many lines of [`END`] were read.
    end: usize,
    /// The token of a `\restrict` line, which the last line of a whole dump repeats.
    restricted: Option<Vec<u8>>,
    has_statements: bool,
    /// The comment that is read has a line of its own.
    pub(super) comment_is_line: bool,
}

impl Frame {
    /// True if the last lines of a dump were read.
    pub(super) fn is_at_end(&self) -> bool {
        self.end == END.len()
    }

    pub(super) fn is_restricted(&self) -> bool {
        self.restricted.is_some()
    }

    /// Notes that something else than the end of a dump was read.
    pub(super) fn is_no_end(&mut self) {
        self.end = 0;
    }

    pub(super) fn add_statement(&mut self) {
        self.end = 0;
        self.has_statements = true;
    }

    /// Notes what was read between statements. The lines of the end follow on each other.
    pub(super) fn add(&mut self, item: Item, text: &[u8], at_line_start: bool) {
        match item {
            Item::Space if self.is_at_end() || (!at_line_start && text == b"\n") => {}
            Item::More | Item::Token | Item::Semicolon | Item::Backslash => {}
            Item::Space | Item::LineComment | Item::BlockComment => self.end = 0,
        }
    }

    /// Notes a comment up to the end of its line.
    pub(super) fn add_comment(&mut self, comment: &[u8], follows: u8) {
        let is_line = self.comment_is_line && follows == b'\n';
        let is_next = END.get(self.end).is_some_and(|line| comment == *line);
        self.end = match is_line && is_next {
            true => self.end + 1,
            // The first line of the end may be the second of something else.
            false => usize::from(is_line && comment == END[0]),
        };
    }
}

impl DumpFilter {
    /// Reads a line for `psql` itself: `None` when the rest of the line must come first.
    pub(super) fn command_line(&mut self, text: &[u8]) -> Result<Option<usize>, String> {
        const MAX_LINE: usize = 256;
        let end = memchr(b'\n', text);
        if end.is_none() && text.len() < MAX_LINE {
            return Ok(None);
        }
        self.command(&text[..end.unwrap_or(text.len())])?;
        if end.is_none() {
            self.frame.comment_is_line = false;
            self.lexer.skip_line();
        }
        Ok(Some(end.unwrap_or(text.len())))
    }

    /// Accepts a line for `psql` itself, or says why not.
    pub(super) fn command(&mut self, line: &[u8]) -> Result<(), String> {
        let token = |command: &[u8]| {
            line.strip_prefix(command)
                .filter(|token| token.iter().all(u8::is_ascii_alphanumeric) && !token.is_empty())
        };
        let frame = &mut self.frame;
        let is_whole = self.at_line_start && !self.lexer.is_begun;
        if let Some(token) = token(b"\\restrict ")
            && is_whole
            && frame.restricted.is_none()
            && !frame.has_statements
        {
            frame.end = 0;
            frame.restricted = Some(token.to_vec());
            return Ok(());
        }
        if let Some(token) = token(b"\\unrestrict ")
            && is_whole
            && frame.is_at_end()
            && frame.restricted.as_deref() == Some(token)
        {
            frame.restricted = None;
            return Ok(());
        }
        if self.allow_list.is_none() {
            frame.end = 0;
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
