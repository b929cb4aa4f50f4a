//! A statement of a dump as a list of tokens, and a cursor that reads along it. Tokens are places in the text, so
//! that a statement of millions of values takes little more memory than its text.

use std::borrow::Cow;

/// Kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in quotes.
    Name,
    /// A string in which a backslash means itself.
    Text,
    /// A string with backslash escapes.
    Escaped,
    /// `B'…'` or `X'…'`.
    Bits,
    /// `$tag$…$tag$`
    Dollar,
    Number,
    /// `$1`
    Parameter,
    /// One byte of anything else.
    Sign,
}

/// A token: its kind and its place in the text of the statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A position in a statement. Methods that return `bool` move past what they name, if that is what comes next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8], tokens: &'a [Token]) -> Self {
        Self { text, tokens }
    }

    /// Returns the bytes of a token.
    fn bytes(&self, token: Token) -> &'a [u8] {
        let range = token.start as usize..token.end as usize;
        self.text.get(range).unwrap_or_default()
    }

    fn next(&mut self) -> Option<Token> {
        let (&first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn next_if(&mut self, is_meant: impl FnOnce(&Self, Token) -> bool) -> bool {
        let Some(&token) = self.tokens.first() else {
            return false;
        };
        let is_next = is_meant(self, token);
        if is_next {
            self.next();
        }
        is_next
    }

    fn is_word(&self, token: Token, word: &str) -> bool {
        token.kind == TokenKind::Word && self.bytes(token).eq_ignore_ascii_case(word.as_bytes())
    }

    fn is_sign(&self, token: Token, sign: u8) -> bool {
        token.kind == TokenKind::Sign && self.bytes(token) == [sign]
    }

    /// True if the statement ends here.
    pub(super) fn is_end(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Reads keywords, which `phrase` has with spaces between them. All of them, or nothing.
    pub(super) fn words(&mut self, phrase: &str) -> bool {
        let mut ahead = *self;
        let is_next = phrase
            .split(' ')
            .all(|word| ahead.next_if(|at, token| at.is_word(token, word)));
        if is_next {
            *self = ahead;
        }
        is_next
    }

    /// Reads one of these phrases.
    pub(super) fn any(&mut self, phrases: &[&'static str]) -> Option<&'static str> {
        phrases.iter().copied().find(|phrase| self.words(phrase))
    }

    pub(super) fn sign(&mut self, sign: u8) -> bool {
        self.next_if(|at, token| at.is_sign(token, sign))
    }

    /// Reads a name, which may be a keyword: an unquoted name in lower case, as PostgreSQL takes it.
    pub(super) fn name(&mut self) -> Option<Cow<'a, str>> {
        let token = *self.tokens.first()?;
        let name = match token.kind {
            TokenKind::Word => {
                Cow::Owned(String::from_utf8_lossy(self.bytes(token)).to_ascii_lowercase())
            }
            TokenKind::Name => unquoted(self.bytes(token), '"'),
            _ => return None,
        };
        self.next();
        Some(name)
    }

    /// Reads a string, and returns its text. Not a string in which a backslash could mean something.
    pub(super) fn text(&mut self) -> Option<Cow<'a, str>> {
        let token = *self.tokens.first()?;
        let is_plain = match token.kind {
            TokenKind::Text => true,
            TokenKind::Escaped => {
                let bytes = self.bytes(token);
                bytes.starts_with(b"'") && !bytes.contains(&b'\\')
            }
            _ => false,
        };
        if !is_plain {
            return None;
        }
        self.next();
        Some(unquoted(self.bytes(token), '\''))
    }

    /// Reads a string of any kind.
    pub(super) fn string(&mut self) -> bool {
        self.next_if(|_, token| matches!(token.kind, TokenKind::Text | TokenKind::Escaped))
    }

    /// Reads a number, which may have a sign.
    pub(super) fn number(&mut self) -> bool {
        let mut ahead = *self;
        if !ahead.sign(b'-') {
            ahead.sign(b'+');
        }
        let is_number = ahead.next_if(|_, token| token.kind == TokenKind::Number);
        if is_number {
            *self = ahead;
        }
        is_number
    }

    /// Reads a value as `pg_dump` writes it: a string, bits, a number, `NULL`, `TRUE` or `FALSE`.
    pub(super) fn literal(&mut self) -> bool {
        self.string()
            || self.number()
            || self.next_if(|_, token| token.kind == TokenKind::Bits)
            || self.any(&["null", "true", "false"]).is_some()
    }

    /// Reads the name of an operator.
    pub(super) fn operator(&mut self) -> bool {
        let count = self
            .tokens
            .iter()
            .take_while(|&&token| {
                token.kind == TokenKind::Sign
                    && !matches!(
                        self.bytes(token),
                        b"(" | b")" | b"." | b"," | b";" | b"[" | b"]"
                    )
            })
            .count();
        self.tokens = &self.tokens[count..];
        count > 0
    }

    /// Reads `( item, … )`, in which there is at least one item.
    pub(super) fn list(&mut self, mut item: impl FnMut(&mut Self) -> bool) -> bool {
        if !self.sign(b'(') {
            return false;
        }
        loop {
            if !item(self) {
                return false;
            }
            if !self.sign(b',') {
                return self.sign(b')');
            }
        }
    }

    /// True if an open bracket comes next.
    pub(super) fn is_bracket(&self) -> bool {
        let first = self.tokens.first();
        first.is_some_and(|&token| self.is_sign(token, b'('))
    }

    /// Reads anything in brackets.
    pub(super) fn group(&mut self) -> bool {
        if !self.is_bracket() {
            return false;
        }
        let mut depth = 0_u64;
        while let Some(token) = self.next() {
            depth = self.depth(depth, token);
            if depth == 0 {
                return true;
            }
        }
        false
    }

    /// Returns how many brackets are open after a token.
    fn depth(&self, depth: u64, token: Token) -> u64 {
        match (token.kind, self.bytes(token)) {
            (TokenKind::Sign, b"(" | b"[") => depth + 1,
            (TokenKind::Sign, b")" | b"]") => depth.saturating_sub(1),
            _ => depth,
        }
    }

    /// Returns the place of the first token outside of brackets that is meant.
    fn outside(&self, is_meant: impl Fn(&Self, Token) -> bool) -> Option<usize> {
        let mut depth = 0;
        self.tokens.iter().position(|&token| {
            depth = self.depth(depth, token);
            depth == 0 && is_meant(self, token)
        })
    }

    /// True if a comma follows outside of brackets.
    pub(super) fn has_comma(&self) -> bool {
        self.outside(|at, token| at.is_sign(token, b',')).is_some()
    }

    /// True if this keyword follows outside of brackets.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.outside(|at, token| at.is_word(token, word)).is_some()
    }

    /// Moves past the first of these keywords outside of brackets.
    pub(super) fn skip_past(&mut self, word: &str) -> bool {
        let Some(at) = self.outside(|at, token| at.is_word(token, word)) else {
            return false;
        };
        self.tokens = &self.tokens[at + 1..];
        true
    }

    /// Returns a cursor at the last tokens, as many as these.
    pub(super) fn last(&self, count: usize) -> Self {
        let start = self.tokens.len().saturating_sub(count);
        Self {
            text: self.text,
            tokens: &self.tokens[start..],
        }
    }

    /// Returns the first words and signs, for messages.
    pub(super) fn start(&self) -> String {
        let word = |&token: &Token| {
            let bytes = String::from_utf8_lossy(self.bytes(token));
            match token.kind {
                TokenKind::Word => Some(bytes.to_uppercase()),
                TokenKind::Name => Some(unquoted(self.bytes(token), '"').into_owned()),
                TokenKind::Sign => Some(bytes.into_owned()),
                _ => None,
            }
        };
        let words: Vec<String> = self.tokens.iter().take(4).map_while(word).collect();
        match words.is_empty() {
            true => "a statement without a first word".into(),
            false => words.join(" "),
        }
    }

    /// Reads the whole of a `COPY` whose rows follow, and returns the name of its table.
    pub(super) fn copy_from_stdin(mut self) -> Option<String> {
        if !self.words("copy") {
            return None;
        }
        let mut table = self.name()?;
        if self.sign(b'.') {
            table = self.name()?;
        }
        let is_whole = (!self.is_bracket() || self.list(|columns| columns.name().is_some()))
            && self.words("from stdin")
            && self.is_end();
        is_whole.then(|| table.into_owned())
    }
}

/// Returns what stands between quotes.
fn unquoted(bytes: &[u8], quote: char) -> Cow<'_, str> {
    let inner = bytes
        .get(1..bytes.len().saturating_sub(1))
        .unwrap_or_default();
    let inner = String::from_utf8_lossy(inner);
    match inner.contains(quote) {
        true => Cow::Owned(inner.replace(&format!("{quote}{quote}"), &quote.to_string())),
        false => inner,
    }
}
