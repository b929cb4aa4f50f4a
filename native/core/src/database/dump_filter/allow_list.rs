//! Judges a statement of a dump by all of its tokens: what `pg_dump` 9.6 to 18 writes for one schema is loaded, owners
//! and privileges are left out, anything else is refused.
//!
//! Expressions are let by where `pg_dump` writes an expression and the server only stores it, or where a restore cannot
//! do without it ([`Kind::MayRunCode`]). Where `pg_dump` writes a value, only a literal is let by.

mod alter;
mod create;
mod names;
mod values;

use super::Kind;
use super::kinds::{KINDS, SETTINGS, TIMEOUTS};
use super::schema::Schema;
use super::statement::Cursor;
use std::borrow::Cow;

/// Why a statement is refused.
#[derive(Debug)]
enum Unfit {
    /// It is not what `pg_dump` writes.
    Unknown,
    Reason(String),
}

impl From<String> for Unfit {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

impl From<&str> for Unfit {
    fn from(reason: &str) -> Self {
        Self::Reason(reason.into())
    }
}

/// The kind of a statement that is loaded, `None` where the statement is left out.
type Judged<T = Option<Kind>> = Result<T, Unfit>;

/// Refuses a statement in which something is not as it has to be.
fn need(is_so: bool) -> Judged<()> {
    match is_so {
        true => Ok(()),
        false => Err(Unfit::Unknown),
    }
}

/// The statements that are loaded, and what the statements before them say of them.
#[derive(Debug)]
pub(super) struct AllowList {
    pub(super) schema: Schema,
    /// Security labels that were left out. A server may not have their provider, or take them in another way.
    pub(super) labels: u64,
    /// The search_path names the schema, as in dumps of old versions, whose names have no schema.
    is_in_path: bool,
    encoding: Option<String>,
    has_escapes: bool,
    /// A statement that is no setting was loaded.
    has_loaded: bool,
}

impl AllowList {
    pub(super) fn new(schema: Schema) -> Self {
        Self {
            schema,
            labels: 0,
            is_in_path: false,
            encoding: None,
            has_escapes: false,
            has_loaded: false,
        }
    }

    /// Returns the kind of a statement that is loaded, `None` where it is left out, or why it is refused.
    pub(super) fn judge(&mut self, statement: Cursor<'_>) -> Result<Option<Kind>, String> {
        let mut cursor = statement;
        let is_setting = cursor.words("set");
        let judged = match is_setting {
            true => self.set(cursor),
            false => self.statement(cursor),
        };
        let kind = judged.map_err(|unfit| match unfit {
            Unfit::Reason(reason) => reason,
            Unfit::Unknown if is_setting => {
                format!("\"{}\" is not a setting of pg_dump", statement.start())
            }
            Unfit::Unknown => format!(
                "\"{}\" is not what pg_dump writes for a schema",
                statement.start()
            ),
        })?;
        let is_loaded = kind.as_ref().is_some_and(|kind| *kind != Kind::SearchPath);
        self.has_loaded |= is_loaded && !is_setting;
        Ok(kind)
    }

    fn statement(&mut self, mut cursor: Cursor<'_>) -> Judged {
        const ENDS: [&str; 9] = [
            "begin",
            "commit",
            "rollback",
            "end",
            "abort",
            "start",
            "savepoint",
            "release",
            "prepare",
        ];
        if let Some(word) = cursor.any(&ENDS) {
            let word = word.to_uppercase();
            return Err(format!("{word} would end the transaction that a restore is").into());
        }
        let first = [
            "create",
            "alter",
            "comment on",
            "copy",
            "insert into",
            "select",
            "refresh",
            "grant",
            "revoke",
            "security label",
            "reset session authorization",
        ];
        let copied = cursor.copy_from_stdin();
        match cursor.any(&first).ok_or(Unfit::Unknown)? {
            "create" => self.create(cursor),
            "alter" => self.alter(cursor),
            "comment on" => self.comment(cursor),
            "copy" => {
                let words = "COPY reads or writes something else than the dump itself";
                let table = copied.ok_or(words)?;
                self.object(&mut cursor)?;
                Ok(Some(Kind::Copy {
                    table,
                    first_row_line: 0,
                }))
            }
            "insert into" => self.insert(cursor),
            "select" => self.select(cursor),
            "refresh" => {
                need(cursor.words("materialized view"))?;
                self.object(&mut cursor)?;
                need(cursor.is_end())?;
                Ok(Some(Kind::MayRunCode))
            }
            "security label" => {
                self.labels += 1;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn set(&mut self, mut cursor: Cursor<'_>) -> Judged {
        if cursor.words("session authorization") {
            return Ok(None); // around a GRANT
        }
        let setting = cursor.name().ok_or(Unfit::Unknown)?;
        need(cursor.sign(b'='))?;
        if setting == "search_path" {
            return self.search_path(cursor);
        }
        let is_number = cursor.number();
        let value = match is_number {
            true => Cow::default(),
            false => cursor
                .text()
                .or_else(|| cursor.name())
                .ok_or(Unfit::Unknown)?,
        };
        need(cursor.is_end())?;
        match &*setting {
            "standard_conforming_strings" if !is_number => {
                need(value == "on" || value == "off")?;
                let has_escapes = value == "off";
                if has_escapes != self.has_escapes && self.has_loaded {
                    return Err(
                        "the setting standard_conforming_strings changes between statements".into(),
                    );
                }
                self.has_escapes = has_escapes;
                Ok(Some(Kind::StringsSetting(!has_escapes)))
            }
            "client_encoding" if !is_number => {
                let is_other = self.encoding.as_ref().is_some_and(|name| *name != value);
                if is_other || self.has_loaded {
                    return Err("the encoding of the dump changes between statements".into());
                }
                self.encoding = Some(value.clone().into_owned());
                Ok(Some(Kind::Encoding(value.into_owned())))
            }
            setting if TIMEOUTS.contains(&setting) => Ok(None),
            setting if SETTINGS.contains(&setting) => Ok(Some(Kind::Other)),
            _ => Err(Unfit::Unknown),
        }
    }

    /// Judges `SET search_path = site, pg_catalog`, which versions before 9.6.8 write.
    fn search_path(&mut self, mut cursor: Cursor<'_>) -> Judged {
        let name = cursor.name().ok_or(Unfit::Unknown)?;
        let is_in_path = name != "pg_catalog";
        if is_in_path {
            self.schema.see(&name)?;
            need(cursor.sign(b',') && cursor.words("pg_catalog"))?;
        }
        need(cursor.is_end())?;
        self.is_in_path = is_in_path;
        Ok(Some(Kind::Other))
    }

    fn select(&mut self, mut cursor: Cursor<'_>) -> Judged {
        let is_table = cursor.sign(b'*') && cursor.words("from"); // from version 18
        need(cursor.words("pg_catalog") && cursor.sign(b'.'))?;
        let function = cursor.name().ok_or(Unfit::Unknown)?;
        let kind = match &*function {
            "pg_restore_relation_stats" | "pg_restore_attribute_stats" if is_table => {
                self.statistics(&mut cursor)?;
                Kind::MayRunCode
            }
            "set_config" if !is_table => {
                need(
                    cursor.sign(b'(')
                        && cursor.text().is_some_and(|name| name == "search_path")
                        && cursor.sign(b',')
                        && cursor.text().is_some_and(|path| path.is_empty())
                        && cursor.sign(b',')
                        && cursor.words("false")
                        && cursor.sign(b')'),
                )?;
                self.is_in_path = false;
                Kind::SearchPath
            }
            "setval" if !is_table => {
                need(cursor.sign(b'('))?;
                let sequence = cursor.text().ok_or(Unfit::Unknown)?;
                self.object_in_text(&sequence)?;
                need(cursor.sign(b',') && cursor.number())?;
                if cursor.sign(b',') {
                    need(cursor.any(&["true", "false"]).is_some())?;
                }
                need(cursor.sign(b')'))?;
                Kind::MayRunCode
            }
            _ => return Err(Unfit::Unknown),
        };
        need(cursor.is_end())?;
        Ok(Some(kind))
    }

    fn comment(&mut self, mut cursor: Cursor<'_>) -> Judged {
        let cursor = &mut cursor;
        if cursor.words("schema") {
            let name = cursor.name().ok_or(Unfit::Unknown)?;
            self.schema.see(&name)?;
        } else {
            match cursor.any(&KINDS).ok_or(Unfit::Unknown)? {
                "column" => self.column(cursor)?,
                "constraint" => {
                    need(cursor.name().is_some() && cursor.words("on"))?;
                    cursor.words("domain");
                    self.object(cursor)?;
                }
                "trigger" | "rule" | "policy" => {
                    need(cursor.name().is_some() && cursor.words("on"))?;
                    self.object(cursor)?;
                }
                "function" | "procedure" | "aggregate" => {
                    self.object(cursor)?;
                    need(cursor.group())?;
                }
                "operator" => {
                    self.operator(cursor)?;
                    need(cursor.group())?;
                }
                "operator class" | "operator family" => {
                    self.object(cursor)?;
                    need(cursor.words("using") && cursor.name().is_some())?;
                }
                _ => self.object(cursor)?,
            }
        }
        need(cursor.words("is"))?;
        need(cursor.string() || cursor.words("null"))?;
        need(cursor.is_end())?;
        Ok(Some(Kind::Other))
    }
}
