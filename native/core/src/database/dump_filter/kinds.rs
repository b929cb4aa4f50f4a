//! Kinds of objects and settings that `pg_dump` writes for a schema.

/// Kinds of objects that belong to a schema, or to a table of it. Longer phrases before those they begin with.
pub(super) const KINDS: [&str; 31] = [
    "unlogged table",
    "foreign table",
    "table",
    "materialized view",
    "view",
    "unlogged sequence",
    "sequence",
    "function",
    "procedure",
    "aggregate",
    "type",
    "domain",
    "operator class",
    "operator family",
    "operator",
    "collation",
    "default conversion",
    "conversion",
    "statistics",
    "text search configuration",
    "text search dictionary",
    "text search parser",
    "text search template",
    "column",
    "index",
    "unique index",
    "constraint trigger",
    "constraint",
    "trigger",
    "rule",
    "policy",
];

/// Settings that a restore makes for itself. An older server may not know the newest of them.
pub(super) const TIMEOUTS: [&str; 4] = [
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
];

/// Settings of a dump that are made, besides those that [`AllowList`](super::allow_list::AllowList) looks into.
pub(super) const SETTINGS: [&str; 9] = [
    "check_function_bodies",
    "client_min_messages",
    "default_table_access_method",
    "default_tablespace",
    "default_toast_compression",
    "default_with_oids",
    "escape_string_warning",
    "row_security",
    "xmloption",
];
