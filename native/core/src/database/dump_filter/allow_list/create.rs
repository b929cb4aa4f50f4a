//! `CREATE …`

use super::{AllowList, Judged, KINDS, Unfit, need};
use crate::database::dump_filter::Kind;
use crate::database::dump_filter::statement::Cursor;

impl AllowList {
    pub(super) fn create(&mut self, mut cursor: Cursor<'_>) -> Judged {
        if cursor.words("schema") {
            return self.create_schema(cursor);
        }
        if cursor.words("or replace") {
            need(cursor.words("view"))?; // which could not be made whole before
            self.object(&mut cursor)?;
            return Ok(Some(Kind::Other));
        }
        let kind = cursor.any(&KINDS).ok_or(Unfit::Unknown)?;
        let cursor = &mut cursor;
        match kind {
            "table" | "unlogged table" | "foreign table" => return self.create_table(cursor),
            "materialized view" => {
                self.object(cursor)?;
                if !cursor.last(3).words("with no data") {
                    return Err("a materialized view that is not made WITH NO DATA".into());
                }
            }
            "sequence" | "unlogged sequence" => {
                self.object(cursor)?;
                self.sequence_options(cursor)?;
                need(cursor.is_end())?;
            }
            "index" | "unique index" => {
                need(cursor.name().is_some() && cursor.words("on"))?;
                cursor.words("only");
                self.object(cursor)?;
                return Ok(Some(Kind::MayRunCode));
            }
            "trigger" | "constraint trigger" => {
                need(cursor.name().is_some() && cursor.skip_past("on"))?;
                self.object(cursor)?;
            }
            "rule" => {
                need(cursor.name().is_some() && cursor.words("as on"))?;
                let event = cursor.any(&["select", "insert", "update", "delete"]);
                need(event.is_some() && cursor.words("to"))?;
                self.object(cursor)?;
            }
            "policy" => {
                need(cursor.name().is_some() && cursor.words("on"))?;
                self.object(cursor)?;
            }
            "statistics" => {
                self.object(cursor)?;
                need(cursor.skip_past("from"))?;
                self.object(cursor)?;
                need(cursor.is_end())?;
            }
            "operator" => self.operator(cursor)?,
            "column" | "constraint" => return Err(Unfit::Unknown),
            _ => self.object(cursor)?,
        }
        Ok(Some(Kind::Other))
    }

    /// Leaves out the schema, which a restore makes.
    fn create_schema(&mut self, mut cursor: Cursor<'_>) -> Judged {
        cursor.words("if not exists");
        let name = cursor.name().ok_or(Unfit::Unknown)?;
        if cursor.words("authorization") {
            need(cursor.name().is_some())?;
        }
        need(cursor.is_end())?;
        self.schema.see(&name)?;
        Ok(None)
    }

    /// A table of a dump is made of columns, never of a query.
    fn create_table(&mut self, cursor: &mut Cursor<'_>) -> Judged {
        self.object(cursor)?;
        if ["as", "select"].iter().any(|word| cursor.has_word(word)) {
            return Err("a table that is made by a query".into());
        }
        if !cursor.words("partition of") {
            need(cursor.words("of") || cursor.group())?;
            return Ok(Some(Kind::Other));
        }
        // Up to version 11.
        need(cursor.name().is_some())?;
        if cursor.sign(b'.') {
            need(cursor.name().is_some())?;
        }
        cursor.group();
        self.partition_bound(cursor)?;
        Ok(Some(Kind::MayRunCode))
    }
}
