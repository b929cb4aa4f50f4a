//! Names of objects, which have to be of the schema of the dump.

use super::{AllowList, Judged, Unfit, need};
use crate::database::dump_filter::statement::Cursor;

impl AllowList {
    /// Reads the name of an object, which has to be of the schema of the dump.
    pub(super) fn object(&mut self, cursor: &mut Cursor<'_>) -> Judged<()> {
        let name = cursor.name().ok_or(Unfit::Unknown)?;
        if !cursor.sign(b'.') {
            return self.in_path(&name);
        }
        self.schema.see(&name)?;
        need(cursor.name().is_some())
    }

    /// Reads the name of an operator.
    pub(super) fn operator(&mut self, cursor: &mut Cursor<'_>) -> Judged<()> {
        match cursor.name() {
            Some(name) => {
                need(cursor.sign(b'.'))?;
                self.schema.see(&name)?;
            }
            None => self.in_path("")?,
        }
        need(cursor.operator())
    }

    /// Reads the name of a column, behind that of its table.
    pub(super) fn column(&mut self, cursor: &mut Cursor<'_>) -> Judged<()> {
        let first = cursor.name().ok_or(Unfit::Unknown)?;
        need(cursor.sign(b'.') && cursor.name().is_some())?;
        if !cursor.sign(b'.') {
            return self.in_path(&first);
        }
        self.schema.see(&first)?;
        need(cursor.name().is_some())
    }

    /// Reads a name in a string, as `regclass` does, but not the number of an object.
    pub(super) fn object_in_text(&mut self, text: &str) -> Judged<()> {
        let (first, rest) = name_in_text(text).ok_or(Unfit::Unknown)?;
        match rest.strip_prefix('.') {
            None if rest.is_empty() => self.in_path(&first),
            None => Err(Unfit::Unknown),
            Some(name) => {
                self.schema.see(&first)?;
                need(name_in_text(name).is_some_and(|(_, rest)| rest.is_empty()))
            }
        }
    }

    /// Accepts a name without a schema where the search_path has that of the dump. What is in `pg_catalog` begins
    /// with `pg_`.
    fn in_path(&self, name: &str) -> Judged<()> {
        if self.is_in_path && !name.starts_with("pg_") {
            return Ok(());
        }
        Err(format!("the name \"{name}\" has no schema").into())
    }
}

/// Returns the name at the start of a text, and what follows it.
fn name_in_text(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let is_part = |c: char| c == '_' || c == '$' || c.is_ascii_alphanumeric() || !c.is_ascii();
        let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
        let is_name = text.starts_with(|c: char| is_part(c) && !c.is_ascii_digit() && c != '$');
        return is_name.then(|| (text[..end].to_ascii_lowercase(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)).filter(|(name, _)| !name.is_empty()),
        }
    }
}
