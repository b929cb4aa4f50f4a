//! Comments up to the end of a line, and in `/* … */`, which may be nested.

use super::{Item, Lexer, State};
use memchr::memchr2;

impl Lexer {
    pub(super) fn line_comment(&mut self, text: &[u8]) -> Item {
        let rest = &text[self.at..];
        let end = memchr2(b'\n', b'\r', rest);
        let count = end.unwrap_or(rest.len());
        let missing = Self::MAX_COMMENT.saturating_sub(self.comment.len());
        self.comment.extend(rest[..count].iter().take(missing));
        self.at += count;
        match end {
            None => Item::More,
            Some(_) => {
                self.state = State::Plain;
                Item::LineComment
            }
        }
    }

    pub(super) fn block_comment(&mut self, text: &[u8], mut depth: u32) -> Item {
        while depth > 0 {
            self.state = State::BlockComment(depth);
            let rest = &text[self.at..];
            let Some(at) = memchr2(b'*', b'/', rest) else {
                self.at = text.len();
                return Item::More;
            };
            self.at += at;
            match (rest[at], rest.get(at + 1)) {
                (_, None) => return Item::More,
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                }
                (b'/', Some(b'*')) => {
                    depth = depth.saturating_add(1);
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        self.state = State::Plain;
        Item::BlockComment
    }
}
