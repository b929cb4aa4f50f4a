//! `ALTER …`

use super::{AllowList, Judged, KINDS, Unfit, need};
use crate::database::dump_filter::Kind;
use crate::database::dump_filter::statement::Cursor;

/// Actions of `ALTER` on a relation. Longer phrases before those they begin with.
const ACTIONS: [&str; 22] = [
    "add constraint",
    "alter column",
    "attach partition",
    "cluster on",
    "set without cluster",
    "set with oids",
    "set without oids",
    "set access method",
    "set logged",
    "set unlogged",
    "set",
    "replica identity using index",
    "replica identity",
    "enable row level security",
    "disable row level security",
    "no force row level security",
    "force row level security",
    "enable",
    "disable",
    "inherit",
    "owned by",
    "depends",
];

impl AllowList {
    pub(super) fn alter(&mut self, mut cursor: Cursor<'_>) -> Judged {
        if cursor.words("default privileges") {
            return Ok(None);
        }
        let mut end = cursor.last(3);
        let is_owner = end.words("owner to") && end.name().is_some();
        if cursor.words("schema") {
            need(is_owner)?;
            return Ok(None);
        }
        let kind = cursor.any(&KINDS).ok_or(Unfit::Unknown)?;
        if is_owner {
            return Ok(None);
        }
        let cursor = &mut cursor;
        match kind {
            "table" | "foreign table" | "view" | "materialized view" | "index" | "sequence" => {
                cursor.words("if exists");
                cursor.words("only");
                self.object(cursor)?;
                return self.action(cursor);
            }
            "domain" => {
                self.object(cursor)?;
                return constraint(cursor);
            }
            "operator family" => {
                self.object(cursor)?;
                need(cursor.words("using") && cursor.name().is_some() && cursor.words("add"))?;
            }
            "text search configuration" => {
                self.object(cursor)?;
                need(cursor.words("add mapping for"))?;
            }
            "statistics" => {
                self.object(cursor)?;
                need(cursor.words("set statistics") && cursor.number() && cursor.is_end())?;
            }
            "trigger" => {
                need(cursor.name().is_some() && cursor.words("on"))?;
                self.object(cursor)?;
                depends(cursor)?;
            }
            "function" | "procedure" | "aggregate" => {
                self.object(cursor)?;
                need(cursor.group())?;
                depends(cursor)?;
            }
            _ => return Err(Unfit::Unknown),
        }
        Ok(Some(Kind::Other))
    }

    /// Judges what is altered of a relation: one thing in a statement.
    fn action(&mut self, cursor: &mut Cursor<'_>) -> Judged {
        if cursor.has_comma() {
            return Err("ALTER with more than one action".into());
        }
        let start = *cursor;
        match cursor.any(&ACTIONS).ok_or(Unfit::Unknown)? {
            "add constraint" => {
                *cursor = start;
                return constraint(cursor);
            }
            "alter column" => self.alter_column(cursor)?,
            "attach partition" => {
                self.object(cursor)?;
                // Of an index there is no more to say.
                if cursor.is_end() {
                    return Ok(Some(Kind::Other));
                }
                self.partition_bound(cursor)?;
                need(cursor.is_end())?;
                return Ok(Some(Kind::MayRunCode));
            }
            "cluster on" | "set access method" | "replica identity using index" => {
                need(cursor.name().is_some())?;
            }
            "set" => need(cursor.group())?,
            "replica identity" => need(cursor.any(&["nothing", "full", "default"]).is_some())?,
            "enable" | "disable" => {
                cursor.any(&["replica", "always"]);
                need(cursor.any(&["trigger", "rule"]).is_some() && cursor.name().is_some())?;
            }
            "inherit" => self.object(cursor)?,
            "owned by" => self.column(cursor)?,
            "depends" => {
                *cursor = start;
                depends(cursor)?;
            }
            _ => {}
        }
        need(cursor.is_end())?;
        Ok(Some(Kind::Other))
    }

    fn alter_column(&mut self, cursor: &mut Cursor<'_>) -> Judged<()> {
        // The columns of an index have numbers.
        need(cursor.name().is_some() || cursor.number())?;
        const ACTIONS: [&str; 8] = [
            "set default",
            "set not null",
            "set statistics",
            "set storage",
            "set compression",
            "set",
            "options",
            "add generated",
        ];
        match cursor.any(&ACTIONS).ok_or(Unfit::Unknown)? {
            "set default" => {
                need(!cursor.is_end())?;
                // The server only stores the expression.
                *cursor = cursor.last(0);
                Ok(())
            }
            "set not null" => Ok(()),
            "set statistics" => need(cursor.number()),
            "set storage" | "set compression" => need(cursor.name().is_some()),
            "set" | "options" => need(cursor.group()),
            _ => {
                need(cursor.any(&["always", "by default"]).is_some())?;
                need(cursor.words("as identity") && cursor.sign(b'('))?;
                self.sequence_options(cursor)?;
                need(cursor.sign(b')'))
            }
        }
    }
}

/// Judges `ADD CONSTRAINT …`, whose expressions the server evaluates for each row.
fn constraint(cursor: &mut Cursor<'_>) -> Judged {
    need(cursor.words("add constraint") && cursor.name().is_some())?;
    if cursor.has_comma() {
        return Err("ALTER with more than one action".into());
    }
    let kinds = [
        "check",
        "unique",
        "primary key",
        "exclude",
        "foreign key",
        "not null",
    ];
    need(cursor.any(&kinds).is_some())?;
    Ok(Some(Kind::MayRunCode))
}

fn depends(cursor: &mut Cursor<'_>) -> Judged<()> {
    need(cursor.words("depends on extension") && cursor.name().is_some() && cursor.is_end())
}
