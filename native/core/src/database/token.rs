//! The pieces of a statement.

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or a name, in lower case as PostgreSQL takes it.
    Word(String),
    /// A name in quotes, without them.
    Name(String),
    /// A string, without its quotes.
    Text(String),
    /// A single sign.
    Sign(u8),
    /// A number, or anything that is too long to matter.
    Other,
}

impl Token {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }

    pub(super) fn is_sign(&self, sign: u8) -> bool {
        *self == Self::Sign(sign)
    }

    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// Whether data follow.
pub(super) fn is_copy_in(tokens: &[Token]) -> bool {
    let ends =
        |rest: &[Token]| matches!(rest, [from, stdin] if from.is("from") && stdin.is("stdin"));
    let without_columns = |rest: &[Token]| match rest {
        [Token::Sign(b'('), Token::Sign(b')'), rest @ ..] => ends(rest),
        rest => ends(rest),
    };
    match tokens {
        [copy, schema, Token::Sign(b'.'), table, rest @ ..]
            if copy.is("copy") && schema.name().is_some() && table.name().is_some() =>
        {
            without_columns(rest)
        }
        [copy, table, rest @ ..] if copy.is("copy") && table.name().is_some() => {
            without_columns(rest)
        }
        _ => false,
    }
}

/// The name of the table of a `COPY`.
pub(super) fn table(tokens: &[Token]) -> Option<&str> {
    match tokens {
        [_, _, Token::Sign(b'.'), table, ..] | [_, table, ..] => table.name(),
        _ => None,
    }
}

pub(super) fn starts(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.is(word))
}

/// The first words, for reading.
pub(super) fn words(tokens: &[Token]) -> String {
    let mut words: Vec<String> = tokens
        .iter()
        .take(4)
        .map_while(|token| match token {
            Token::Word(word) => Some(word.to_uppercase()),
            Token::Name(name) => Some(name.clone()),
            Token::Sign(sign) => Some(char::from(*sign).to_string()),
            Token::Text(_) | Token::Other => None,
        })
        .collect();
    if words.is_empty() {
        words.push("a statement without a first word".into());
    }
    words.join(" ")
}
