//! What comes of a dump: what is handed on to be loaded, or why the dump is refused.

use crate::error::{Error, harmless};

pub(super) const NO_DUMP: &str = "it is not a dump of PostgreSQL: its first lines are others";

/// Why a dump is not loaded.
#[derive(Debug, thiserror::Error)]
pub(in crate::database) enum Refused {
    #[error("{NO_DUMP}")]
    NoDump,
    #[error("line {line} of the dump is not loaded: {reason}")]
    Line { line: u64, reason: String },
    /// The dump may be a good one of another site.
    #[error(
        "{reason}: set schema to {seen:?} in [database] (dbschema in Zotonic), or take the backup of this site"
    )]
    OtherSchema { reason: String, seen: String },
    #[error("the dump goes on after its end, in line {0}")]
    GoesOn(u64),
    #[error("the dump holds nothing of the site's schema")]
    Nothing,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let words = refused.to_string();
        match refused {
            Refused::OtherSchema { .. } => Self::Usage(harmless(&words)),
            _ => Self::Database(words),
        }
    }
}

/// What the filter hands on of a dump.
#[derive(Debug)]
pub(in crate::database) enum Event<'a> {
    /// A whole statement that a restore executes, without its semicolon, and the line of the dump it starts in.
    Statement {
        text: &'a [u8],
        line: u64,
        kind: Kind,
    },
    /// Rows for the `COPY` before them, exactly as in the dump, without the final `\.` line.
    Rows(&'a [u8]),
    /// The rows have ended.
    RowsEnd,
}

/// Kinds of statements that a restore tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::database) enum Kind {
    /// `COPY … FROM stdin`, whose rows follow.
    Copy {
        table: String,
        first_row_line: u64,
    },
    /// `SELECT pg_catalog.set_config('search_path', '', false)`
    SearchPath,
    /// `SET standard_conforming_strings`, and whether to on.
    StringsSetting(bool),
    /// `SET client_encoding`, and the name of the encoding as it stands there.
    Encoding(String),
    /// A statement that evaluates expressions of the dump when it is executed.
    MayRunCode,
    Other,
}
