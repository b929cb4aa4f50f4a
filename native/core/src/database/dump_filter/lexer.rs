//! The tokens of a dump, as PostgreSQL tells them apart (`src/backend/parser/scan.l`), and where a statement ends,
//! as `psql` tells it (`src/fe_utils/psqlscan.l`). Text may come in pieces: a token that is cut is read on where the
//! reading stopped. What PostgreSQL and this lexer, or two versions of PostgreSQL, could read in two ways is refused.

mod chars;
mod comments;

pub(super) use chars::{is_space, lines};

use super::statement::{Cursor, Token, TokenKind};
use chars::{is_name, is_name_start, number_length, run};
use memchr::{memchr, memchr2, memmem};

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// Nothing, or a part: the rest is still to come.
    More,
    Space,
    /// A comment up to the end of its line, which is not read.
    LineComment,
    BlockComment,
    Token,
    /// The semicolon that ends a statement.
    Semicolon,
    /// A backslash is next, and is not read.
    Backslash,
}

#[derive(Debug)]
enum State {
    Plain,
    LineComment,
    BlockComment(u32),
    Quoted {
        kind: TokenKind,
        quote: u8,
        start: usize,
    },
    Dollar {
        tag: Vec<u8>,
        start: usize,
    },
}

/// Reads a statement, or what stands between statements.
#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    /// Bytes read of the text.
    pub(super) at: usize,
    pub(super) tokens: Vec<Token>,
    /// A statement has begun.
    pub(super) is_begun: bool,
    /// The text of the statement is no longer kept: it has no tokens.
    pub(super) is_dropped: bool,
    /// What could be read in two ways is an error.
    pub(super) is_strict: bool,
    /// `standard_conforming_strings` is off: a backslash in `'…'` is an escape.
    pub(super) has_escapes: bool,
    /// The start of the line comment that is read.
    pub(super) comment: Vec<u8>,
    brackets: u64,
    is_function: bool,
    after_begin: bool,
    /// `BEGIN ATOMIC` and `CASE` that have not ended.
    blocks: u64,
}

impl Lexer {
    /// Maximum length of a word. PostgreSQL cuts names to 63 bytes.
    const MAX_WORD: usize = 1 << 10;
    /// Maximum length of a number. A `numeric` of PostgreSQL has up to 147 455 digits.
    const MAX_NUMBER: usize = 1 << 18;
    /// Bytes kept of a line comment.
    const MAX_COMMENT: usize = 100;
    /// Tokens for which memory is kept from a statement to the next one.
    const KEPT_TOKENS: usize = 1 << 16;

    pub(super) fn new() -> Self {
        Self {
            state: State::Plain,
            at: 0,
            tokens: Vec::new(),
            is_begun: false,
            is_dropped: false,
            is_strict: true,
            has_escapes: false,
            comment: Vec::new(),
            brackets: 0,
            is_function: false,
            after_begin: false,
            blocks: 0,
        }
    }

    /// Forgets the statement that was read.
    pub(super) fn end_statement(&mut self) {
        self.forget_tokens();
        self.is_begun = false;
        self.is_dropped = false;
        self.brackets = 0;
        self.is_function = false;
        self.after_begin = false;
        self.blocks = 0;
    }

    /// Stops to keep the text of the statement that is read.
    pub(super) fn drop_text(&mut self) {
        self.forget_tokens();
        self.is_dropped = true;
    }

    fn forget_tokens(&mut self) {
        self.tokens.clear();
        self.tokens.shrink_to(Self::KEPT_TOKENS);
    }

    /// True if no token or comment is cut.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.state, State::Plain)
    }

    pub(super) fn is_in_comment(&self) -> bool {
        matches!(self.state, State::LineComment | State::BlockComment(_))
    }

    /// Passes over the rest of the line.
    pub(super) fn skip_line(&mut self) {
        self.comment.clear();
        self.state = State::LineComment;
    }

    /// Reads the next token or comment, or a part of it. `text` starts with the statement.
    pub(super) fn next(&mut self, text: &[u8]) -> Result<Item, String> {
        if self.at >= text.len() {
            return Ok(Item::More);
        }
        match &self.state {
            State::Plain => self.plain(text),
            State::LineComment => Ok(self.line_comment(text)),
            State::BlockComment(depth) => Ok(self.block_comment(text, *depth)),
            &State::Quoted { kind, quote, start } => Ok(self.quoted(text, kind, quote, start)),
            State::Dollar { tag, start } => {
                let (found, start) = (memmem::find(&text[self.at..], tag), *start);
                let length = tag.len();
                match found {
                    Some(at) => {
                        self.at += at + length;
                        self.state = State::Plain;
                        Ok(self.token(TokenKind::Dollar, start))
                    }
                    // The closing tag may have begun.
                    None => {
                        self.at = self.at.max(text.len() + 1 - length.min(text.len()));
                        Ok(Item::More)
                    }
                }
            }
        }
    }

    fn plain(&mut self, text: &[u8]) -> Result<Item, String> {
        let rest = &text[self.at..];
        let next = rest.get(1).copied();
        match (rest[0], next) {
            (byte, _) if is_space(byte) => {
                self.at += run(rest, is_space);
                Ok(Item::Space)
            }
            (b'-' | b'/' | b'$', None) => Ok(Item::More),
            (b'-', Some(b'-')) => {
                self.skip_line();
                Ok(self.line_comment(text))
            }
            (b'/', Some(b'*')) => {
                self.at += 2;
                Ok(self.block_comment(text, 1))
            }
            (b'\\', _) => Ok(Item::Backslash),
            (b'\'', _) => self.open_string(text, TokenKind::Text, 1),
            (b'"', _) => Ok(self.open(text, TokenKind::Name, 1)),
            (b'$', _) => self.dollar(text),
            (b'0'..=b'9', _) => self.number(text),
            (byte, _) if is_name_start(byte) => self.word(text),
            (b';', _) if self.brackets == 0 && self.blocks == 0 => {
                self.at += 1;
                Ok(Item::Semicolon)
            }
            (byte, _) => {
                match byte {
                    b'(' => self.brackets += 1,
                    b')' => self.brackets = self.brackets.saturating_sub(1),
                    _ => {}
                }
                self.at += 1;
                Ok(self.token(TokenKind::Sign, self.at - 1))
            }
        }
    }

    /// Adds the token that has been read from `start` on.
    fn token(&mut self, kind: TokenKind, start: usize) -> Item {
        self.is_begun = true;
        if kind != TokenKind::Word {
            self.after_begin = false;
        }
        if !self.is_dropped {
            // A statement is shorter than 4 GiB.
            let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            self.tokens.push(Token {
                kind,
                start: place(start),
                end: place(self.at),
            });
        }
        Item::Token
    }

    /// Begins to read what ends with the quote that the first `length` bytes end with.
    fn open(&mut self, text: &[u8], kind: TokenKind, length: usize) -> Item {
        let start = self.at;
        self.at += length;
        self.is_begun = true;
        let quote = text[self.at - 1];
        self.state = State::Quoted { kind, quote, start };
        self.quoted(text, kind, quote, start)
    }

    /// A string after a string goes on with that, in the way in which that began.
    fn open_string(&mut self, text: &[u8], kind: TokenKind, length: usize) -> Result<Item, String> {
        let is_next = matches!(
            self.tokens.last().map(|token| token.kind),
            Some(TokenKind::Text | TokenKind::Escaped | TokenKind::Bits)
        );
        if is_next && self.is_strict {
            return Err("two strings on end".into());
        }
        let kind = match kind {
            TokenKind::Text if self.has_escapes => TokenKind::Escaped,
            kind => kind,
        };
        Ok(self.open(text, kind, length))
    }

    fn quoted(&mut self, text: &[u8], kind: TokenKind, quote: u8, start: usize) -> Item {
        loop {
            let rest = &text[self.at..];
            let special = match kind {
                TokenKind::Escaped => memchr2(quote, b'\\', rest),
                _ => memchr(quote, rest),
            };
            self.at += special.unwrap_or(rest.len());
            match (special, text.get(self.at + 1)) {
                (None, _) | (Some(_), None) => return Item::More,
                (Some(_), Some(&next)) if text[self.at] == b'\\' || next == quote => self.at += 2,
                _ => break,
            }
        }
        self.at += 1;
        self.state = State::Plain;
        self.token(kind, start)
    }

    /// Reads `$1`, or the start of `$tag$ … $tag$`.
    fn dollar(&mut self, text: &[u8]) -> Result<Item, String> {
        let rest = &text[self.at..];
        let is_parameter = rest[1].is_ascii_digit();
        let end = 1 + match is_parameter {
            true => run(&rest[1..], |byte| byte.is_ascii_digit()),
            false => run(&rest[1..], |byte| is_name(byte) && byte != b'$'),
        };
        let Some(&follows) = rest.get(end).filter(|_| end <= Self::MAX_WORD) else {
            return self.cut(text, Self::MAX_WORD);
        };
        let start = self.at;
        if !is_parameter && follows == b'$' {
            let tag = rest[..=end].to_vec();
            self.at += end + 1;
            self.is_begun = true;
            self.state = State::Dollar { tag, start };
            return self.next(text);
        }
        if self.is_strict && !is_parameter {
            return Err("a dollar sign alone".into());
        }
        self.glued(follows)?;
        self.at += end;
        Ok(self.token(TokenKind::Parameter, start))
    }

    fn number(&mut self, text: &[u8]) -> Result<Item, String> {
        let rest = &text[self.at..];
        let end = number_length(rest);
        // An exponent may follow.
        if end + 3 > rest.len() || end > Self::MAX_NUMBER {
            return self.cut(text, Self::MAX_NUMBER + 3);
        }
        match rest[end] {
            b'.' if self.is_strict => return Err("a number with two points".into()),
            follows => self.glued(follows)?,
        }
        self.at += end;
        Ok(self.token(TokenKind::Number, self.at - end))
    }

    /// Versions of PostgreSQL differ in what they make of a word right after a number.
    fn glued(&self, follows: u8) -> Result<(), String> {
        match follows {
            _ if !self.is_strict => Ok(()),
            b'\'' | b'"' => Err("a number, and a quote right after it".into()),
            byte if is_name(byte) => Err("a number, and a word right after it".into()),
            _ => Ok(()),
        }
    }

    fn word(&mut self, text: &[u8]) -> Result<Item, String> {
        let rest = &text[self.at..];
        let count = run(rest, is_name);
        let Some(&follows) = rest.get(count).filter(|_| count <= Self::MAX_WORD) else {
            return self.cut(text, Self::MAX_WORD);
        };
        let word = &rest[..count];
        match (word, follows) {
            (b"e" | b"E", b'\'') => return self.open_string(text, TokenKind::Escaped, 2),
            (b"b" | b"B" | b"x" | b"X", b'\'') => {
                return self.open_string(text, TokenKind::Bits, 2);
            }
            (b"u" | b"U", b'&') if self.is_strict => {
                return Err("a name or a string with U&".into());
            }
            _ => {}
        }
        self.count_blocks(text, word);
        self.at += count;
        Ok(self.token(TokenKind::Word, self.at - count))
    }

    /// Waits for the rest of a word or number, up to a maximum length.
    fn cut(&mut self, text: &[u8], max: usize) -> Result<Item, String> {
        match text.len() - self.at > max {
            false => Ok(Item::More),
            true if self.is_strict => Err("a word that is too long".into()),
            true => {
                let start = self.at;
                self.at += max;
                Ok(self.token(TokenKind::Word, start))
            }
        }
    }

    /// Semicolons in the body of a function, from `BEGIN ATOMIC` to `END`, do not end the statement.
    fn count_blocks(&mut self, text: &[u8], word: &[u8]) {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
        if self.tokens.len() <= 3 && (is("function") || is("procedure")) {
            let mut start = Cursor::new(text, &self.tokens);
            self.is_function |=
                start.words("create") && (start.is_end() || start.words("or replace"));
        }
        if self.is_function && self.brackets == 0 {
            if is("atomic") && self.after_begin && self.blocks == 0 {
                self.blocks = 1;
            } else if is("case") && self.blocks > 0 {
                self.blocks += 1;
            } else if is("end") {
                self.blocks = self.blocks.saturating_sub(1);
            }
        }
        self.after_begin = is("begin");
    }
}
