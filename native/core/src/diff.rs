//! What changed between two texts, in words.

use serde::Serialize;
use similar::{ChangeTag, TextDiff};
use std::time::Duration;

/// Of texts that differ everywhere, the smallest difference takes long to find: after this time, any
/// right one will do.
const PATIENCE: Duration = Duration::from_millis(500);
/// A text that is longer is not compared, but shown as replaced.
const LONGEST: usize = 1 << 20;

/// What became of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is in both.
    Equal,
    /// It was only in the old text.
    Delete,
    /// It is only in the new text.
    Insert,
}

/// A piece of text, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// What became of it.
    pub change: Change,
    /// The words, with the space around them.
    pub text: String,
}

/// The pieces that make up two texts. Those that are not inserted are the old text, those that are not
/// deleted the new one. Two pieces after each other are of different kinds.
#[must_use]
pub fn words(old: &str, new: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut add = |change, text: &str| match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(last) if last.change == change => last.text.push_str(text),
        _ => pieces.push(Piece {
            change,
            text: text.to_owned(),
        }),
    };
    if old.len().max(new.len()) > LONGEST && old != new {
        add(Change::Delete, old);
        add(Change::Insert, new);
        return pieces;
    }
    let diff = TextDiff::configure()
        .timeout(PATIENCE)
        .diff_unicode_words(old, new);
    for part in diff.iter_all_changes() {
        let change = match part.tag() {
            ChangeTag::Equal => Change::Equal,
            ChangeTag::Delete => Change::Delete,
            ChangeTag::Insert => Change::Insert,
        };
        add(change, part.value());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(old: &str, new: &str) -> String {
        words(old, new)
            .iter()
            .map(|piece| match piece.change {
                Change::Equal => piece.text.clone(),
                Change::Delete => format!("[-{}-]", piece.text),
                Change::Insert => format!("[+{}+]", piece.text),
            })
            .collect()
    }

    #[test]
    fn differences_are_words() {
        assert_eq!(shown("", ""), "");
        assert_eq!(shown("the same", "the same"), "the same");
        assert_eq!(shown("", "new"), "[+new+]");
        assert_eq!(shown("old", ""), "[-old-]");
        assert_eq!(
            shown("the quick brown fox", "the slow brown fox"),
            "the [-quick-][+slow+] brown fox"
        );
        assert_eq!(
            shown("naïve ☃ text", "naïve ☃ texts"),
            "naïve ☃ [-text-][+texts+]"
        );
    }

    #[test]
    fn what_is_too_long_is_replaced() {
        let long = "a ".repeat(LONGEST);
        assert_eq!(words(&long, "b").len(), 2);
        assert_eq!(words(&long, &long).len(), 1);
    }

    #[test]
    fn what_differs_everywhere_takes_no_longer_than_its_patience() {
        let text = |salt: u32| -> String {
            (0..60_000_u32)
                .map(|n| {
                    format!(
                        "{} ",
                        n.wrapping_mul(2_654_435_761).wrapping_add(salt) % 9973
                    )
                })
                .collect()
        };
        let (old, new) = (text(1), text(77));
        let pieces = words(&old, &new);
        assert_eq!(side(&pieces, Change::Insert), old);
        assert_eq!(side(&pieces, Change::Delete), new);
    }

    fn side(pieces: &[Piece], without: Change) -> String {
        pieces
            .iter()
            .filter(|piece| piece.change != without)
            .map(|piece| piece.text.as_str())
            .collect()
    }

    proptest! {
        #[test]
        fn both_texts_are_in_the_pieces(old in "([a-c<&é日] ?){0,30}", new in "([a-c<&é日] ?){0,30}") {
            let pieces = words(&old, &new);
            prop_assert_eq!(side(&pieces, Change::Insert), old);
            prop_assert_eq!(side(&pieces, Change::Delete), new);
            for pair in pieces.windows(2) {
                prop_assert_ne!(pair[0].change, pair[1].change);
            }
        }
    }
}
