//! The words of a dump, as `psql` tells them apart.

use super::data::Row;
use super::psql::Statement;
use super::{END, Mode, Script, Token};
use memchr::{memchr, memchr_iter, memchr2, memmem};

/// Where in the text we are.
#[derive(Debug)]
pub(super) enum State {
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

pub(super) type Step = Result<Option<usize>, String>;

impl Script {
    /// Reads a token, or a part of one: how many bytes; `None` when the rest of it must come first.
    pub(super) fn step(&mut self, dump: &[u8]) -> Step {
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
                // Some psql take what is glued to a parameter for one token with it, where others, and some
                // servers, begin a word.
                let is_glued = match dump[0] {
                    b'$' => follows.is_some_and(is_name_start),
                    _ => !is_number(&dump[..count]),
                };
                if strict && is_glued {
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

pub(super) fn lines(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

fn run(text: &[u8], is_part: impl Fn(u8) -> bool) -> usize {
    let end = text.iter().position(|&byte| !is_part(byte));
    end.unwrap_or(text.len())
}

pub(super) fn is_space(byte: u8) -> bool {
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
