//! What `pg_dump` writes for a schema: kinds of objects, settings, encodings.

use super::unknown;
use crate::database::token::{Token, starts};

/// The name of an object comes right after its kind, with its schema; or it has none of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    InSchema,
    OnTable,
}

use Named::{InSchema, OnTable};

/// The kinds of objects that belong to a schema. Longer ones before those they begin with.
const KINDS: [(&[&str], Named); 31] = [
    (&["unlogged", "table"], InSchema),
    (&["foreign", "table"], InSchema),
    (&["table"], InSchema),
    (&["materialized", "view"], InSchema),
    (&["view"], InSchema),
    (&["unlogged", "sequence"], InSchema),
    (&["sequence"], InSchema),
    (&["function"], InSchema),
    (&["procedure"], InSchema),
    (&["aggregate"], InSchema),
    (&["type"], InSchema),
    (&["domain"], InSchema),
    (&["operator", "class"], InSchema),
    (&["operator", "family"], InSchema),
    (&["operator"], InSchema),
    (&["collation"], InSchema),
    (&["default", "conversion"], InSchema),
    (&["conversion"], InSchema),
    (&["statistics"], InSchema),
    (&["text", "search", "configuration"], InSchema),
    (&["text", "search", "dictionary"], InSchema),
    (&["text", "search", "parser"], InSchema),
    (&["text", "search", "template"], InSchema),
    (&["column"], InSchema),
    (&["index"], InSchema),
    (&["unique", "index"], OnTable),
    (&["constraint", "trigger"], OnTable),
    (&["constraint"], OnTable),
    (&["trigger"], OnTable),
    (&["rule"], OnTable),
    (&["policy"], OnTable),
];

/// Settings that our own session makes; and an older server may not know the newest of them.
pub(super) const TIMEOUTS: [&str; 4] = [
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
];

pub(super) const SETTINGS: [&str; 11] = [
    "check_function_bodies",
    "client_encoding",
    "client_min_messages",
    "default_table_access_method",
    "default_tablespace",
    "default_toast_compression",
    "default_with_oids",
    "row_security",
    "search_path",
    "standard_conforming_strings",
    "xmloption",
];

/// Encodings in which no byte of a longer character looks like a quote or a backslash.
const ENCODINGS: [&str; 10] = [
    "utf8", "unicode", "sqlascii", "latin", "iso8859", "win12", "win866", "win874", "koi8", "euc",
];

/// The place after the kind of object that is named at a place; `None` when more must be seen.
pub(super) fn kind(
    tokens: &[Token],
    at: usize,
    is_complete: bool,
) -> Result<Option<(usize, Named)>, String> {
    let rest = tokens.get(at..).unwrap_or_default();
    if rest.len() < 3 && !is_complete {
        return Ok(None);
    }
    KINDS
        .iter()
        .find(|(words, _)| starts(rest, words))
        .map(|(words, named)| Some((at + words.len(), *named)))
        .ok_or_else(|| unknown(tokens))
}

pub(super) fn is_safe(encoding: &str) -> bool {
    let plain: String = encoding
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    ENCODINGS.iter().any(|known| plain.starts_with(known))
}
