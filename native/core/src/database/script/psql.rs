//! What `psql` itself sees in a dump: where a statement ends, and commands for itself.

use super::lexer::{State, Step};
use super::{END, Mode, Script, Token};
use memchr::memchr;

#[derive(Debug, Default)]
pub(super) struct Statement {
    pub(super) line: u64,
    /// Its first line, for reading.
    pub(super) start: Vec<u8>,
    pub(super) tokens: Vec<Token>,
    /// So many of them were judged.
    pub(super) judged: usize,
    pub(super) is_complete: bool,
    pub(super) brackets: u64,
    /// The words so far; and the first letters of those at its start that make a function.
    pub(super) words: usize,
    pub(super) maker: [u8; 4],
    /// Within `BEGIN ATOMIC … END` of a function.
    pub(super) blocks: u64,
    /// The last word was `BEGIN`, and `ATOMIC` is to follow.
    pub(super) is_begun: bool,
    /// The last token was a string with escapes, which another string would go on.
    pub(super) after_escapes: bool,
}

impl Statement {
    /// More is not needed to judge what `pg_dump` writes.
    pub(super) const TOKENS: usize = 40;
    pub(super) const START: usize = 100;
    pub(super) const BEGIN: &str = "a function with the word BEGIN in its head";

    /// The heuristic of `psql`, which tells a semicolon within a function from that at its end.
    pub(super) fn word(&mut self, word: &str) -> Result<(), &'static str> {
        if std::mem::take(&mut self.is_begun) && word != "atomic" {
            self.blocks = self.blocks.saturating_sub(1);
            return Err(Self::BEGIN);
        }
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

impl Script {
    /// A line that is for `psql` itself: only the two that `pg_dump` puts at both ends are let by.
    pub(super) fn meta_command_line(&mut self, dump: &[u8]) -> Step {
        const LONGEST: usize = 256;
        let Some(end) = memchr(b'\n', dump) else {
            if dump.len() < LONGEST {
                return Ok(None);
            }
            self.meta_command(dump)?;
            if self.schema.is_some() {
                return Ok(None);
            }
            // Nothing is refused any more: it is passed over, as a comment that is no end.
            self.value.clear();
            self.value_is_line = false;
            self.state = State::LineComment;
            return Ok(Some(dump.len()));
        };
        self.meta_command(&dump[..end])?;
        self.mode = Mode::LeaveOut;
        Ok(Some(end))
    }

    pub(super) fn meta_command(&mut self, line: &[u8]) -> Result<(), String> {
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
