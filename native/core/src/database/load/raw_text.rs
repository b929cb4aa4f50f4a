//! Statements with bytes that are no UTF-8, as a database in SQL_ASCII may have them.
//!
//! The client sends UTF-8 only. PostgreSQL takes any byte of a string as `E'\xHH'`, so the strings of such a statement
//! are written in that way. Source: "String Constants with C-Style Escapes" in PostgreSQL's manual, 4.1.2.2.

use memchr::memmem;

/// Returns the statement in ASCII, with the same meaning. `None` where such bytes are in a name, which nothing can
/// write in another way.
pub(super) fn ascii(statement: &[u8], has_escapes: bool) -> Option<String> {
    let mut text = String::with_capacity(statement.len() * 2);
    let mut rest = statement;
    while let Some(&byte) = rest.first() {
        let length = match byte {
            b'\'' => {
                let is_escaped = has_escapes || ends_with_escape_sign(&text);
                let length = quoted(rest, is_escaped);
                let inner = rest.get(1..length.saturating_sub(1))?;
                if !ends_with_escape_sign(&text) {
                    text.push('E');
                }
                push_string(&mut text, inner, is_escaped);
                length
            }
            b'"' => {
                let length = quoted(rest, false);
                text.push_str(str::from_utf8(&rest[..length]).ok()?);
                length
            }
            b'$' => match dollar_quoted(rest) {
                Some((tag, length)) => {
                    let inner = &rest[tag..length - tag];
                    let inner: Vec<_> = inner.split(|&byte| byte == b'\'').collect();
                    let inner = inner.join(&b"''"[..]);
                    text.push('E');
                    push_string(&mut text, &inner, false);
                    length
                }
                None => push_plain(&mut text, byte)?,
            },
            _ => push_plain(&mut text, byte)?,
        };
        rest = &rest[length..];
    }
    Some(text)
}

/// True if a string that follows has escapes: its sign is a word of its own.
fn ends_with_escape_sign(text: &str) -> bool {
    let mut last = text.bytes().rev();
    matches!(last.next(), Some(b'e' | b'E'))
        && !last
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte))
}

fn push_plain(text: &mut String, byte: u8) -> Option<usize> {
    byte.is_ascii().then(|| {
        text.push(char::from(byte));
        1
    })
}

/// Appends a string with escapes. Quotes in `inner` are doubled already.
fn push_string(text: &mut String, inner: &[u8], is_escaped: bool) {
    text.push('\'');
    for &byte in inner {
        match byte {
            b'\\' if !is_escaped => text.push_str("\\\\"),
            byte if byte.is_ascii() => text.push(char::from(byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('\'');
}

/// Returns the length of what is quoted at the start of a text, with its quotes.
fn quoted(text: &[u8], is_escaped: bool) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        at += match byte {
            b'\\' if is_escaped => 2,
            byte if byte == text[0] && text.get(at + 1) == Some(&byte) => 2,
            byte if byte == text[0] => return at + 1,
            _ => 1,
        };
    }
    text.len()
}

/// Returns the lengths of the tag and of all of a dollar-quoted string at the start of a text.
fn dollar_quoted(text: &[u8]) -> Option<(usize, usize)> {
    let end = text[1..].iter().position(|&byte| byte == b'$')? + 2;
    let tag = &text[..end];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    if !tag[1..end - 1].iter().all(is_name) || tag[1].is_ascii_digit() {
        return None;
    }
    let length = memmem::find(&text[end..], tag)?;
    Some((end, 2 * end + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_keep_their_bytes() {
        for (statement, ascii_of_it) in [
            (&b"a '\xe9''\\' b"[..], Some(r"a E'\xe9''\\' b")),
            (b"E'\\'\xe9\\\\'", Some(r"E'\'\xe9\\'")),
            (b"name '\xff'", Some(r"name E'\xff'")),
            (b"$$it's \xe9\\$$", Some(r"E'it''s \xe9\\'")),
            (b"$a$ $$ \xe9 $a$, $1", Some(r"E' $$ \xe9 ', $1")),
            (b"\"na'me\" '\xe9'", Some("\"na'me\" E'\\xe9'")),
            (b"\"\xe9\"", None),
            (b"na\xe9me", None),
        ] {
            assert_eq!(ascii(statement, false).as_deref(), ascii_of_it);
        }
        assert_eq!(ascii(b"'\\'\xe9'", true).as_deref(), Some(r"E'\'\xe9'"));
    }
}
