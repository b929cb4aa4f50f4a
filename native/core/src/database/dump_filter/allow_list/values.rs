//! Values, where `pg_dump` writes literals: what is no literal would be computed by the server.

use super::{AllowList, Judged, Unfit, need};
use crate::database::dump_filter::Kind;
use crate::database::dump_filter::statement::Cursor;

impl AllowList {
    pub(super) fn insert(&mut self, mut cursor: Cursor<'_>) -> Judged {
        self.object(&mut cursor)?;
        need(!cursor.is_bracket() || cursor.list(|columns| columns.name().is_some()))?;
        cursor.words("overriding system value");
        if !cursor.words("default values") {
            need(cursor.words("values"))?;
            let is_value = |cursor: &mut Cursor<'_>| cursor.literal() || cursor.words("default");
            loop {
                if !cursor.list(is_value) {
                    return Err("INSERT of something else than values".into());
                }
                if !cursor.sign(b',') {
                    break;
                }
            }
        }
        cursor.words("on conflict do nothing");
        need(cursor.is_end())?;
        Ok(Some(Kind::MayRunCode))
    }

    /// Reads the bound of a partition.
    pub(super) fn partition_bound(&mut self, cursor: &mut Cursor<'_>) -> Judged<()> {
        if cursor.words("default") {
            return Ok(());
        }
        need(cursor.words("for values"))?;
        let is_value = |cursor: &mut Cursor<'_>| {
            cursor.literal() || cursor.any(&["minvalue", "maxvalue"]).is_some()
        };
        let is_bound = match cursor.any(&["from", "in", "with"]).ok_or(Unfit::Unknown)? {
            "from" => cursor.list(is_value) && cursor.words("to") && cursor.list(is_value),
            "in" => cursor.list(is_value),
            _ => cursor
                .list(|cursor| cursor.any(&["modulus", "remainder"]).is_some() && cursor.number()),
        };
        match is_bound {
            true => Ok(()),
            false => Err("a bound of a partition that is no value".into()),
        }
    }

    /// Reads the arguments of a function that restores statistics: names and values in turn.
    pub(super) fn statistics(&mut self, cursor: &mut Cursor<'_>) -> Judged<()> {
        const TYPES: [&str; 7] = [
            "integer",
            "bigint",
            "smallint",
            "real",
            "boolean",
            "text",
            "double precision",
        ];
        let mut has_schema = false;
        need(cursor.sign(b'('))?;
        loop {
            let name = cursor.text().ok_or(Unfit::Unknown)?;
            need(cursor.sign(b','))?;
            if name.eq_ignore_ascii_case("schemaname") {
                let schema = cursor.text().ok_or(Unfit::Unknown)?;
                self.schema.see(&schema)?;
                has_schema = true;
            } else {
                need(!name.eq_ignore_ascii_case("relation") && cursor.literal())?;
            }
            if cursor.sign(b':') {
                need(cursor.sign(b':') && cursor.any(&TYPES).is_some())?;
                need(!cursor.sign(b'[') || cursor.sign(b']'))?;
            }
            if !cursor.sign(b',') {
                break;
            }
        }
        need(cursor.sign(b')') && has_schema)
    }

    /// Reads the options of a sequence, up to something else.
    pub(super) fn sequence_options(&mut self, cursor: &mut Cursor<'_>) -> Judged<()> {
        const OPTIONS: [&str; 12] = [
            "as",
            "sequence name",
            "start with",
            "increment by",
            "minvalue",
            "maxvalue",
            "cache",
            "no minvalue",
            "no maxvalue",
            "no cycle",
            "cycle",
            "owned by",
        ];
        while let Some(option) = cursor.any(&OPTIONS) {
            match option {
                "as" => need(cursor.name().is_some())?,
                "sequence name" => self.object(cursor)?,
                "owned by" => self.column(cursor)?,
                "no minvalue" | "no maxvalue" | "no cycle" | "cycle" => {}
                _ => need(cursor.number())?,
            }
        }
        Ok(())
    }
}
