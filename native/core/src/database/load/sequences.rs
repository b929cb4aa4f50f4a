//! The sequences of the live site, before and after a drill: no rollback takes back what was done to them.

use crate::database::connection::{Connection, Stopped, fault, identifier, literal};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Sequences by their names.
pub(super) struct Sequences(BTreeMap<String, Sequence>);

#[derive(Deserialize)]
struct Sequence {
    /// `None`: no value was taken yet, or the role may not know.
    last: Option<i64>,
    is_descending: bool,
    is_cycle: bool,
}

impl Sequences {
    pub(super) fn of(connection: &mut Connection<'_>, schema: &str) -> Result<Self, Stopped> {
        let sequences: Option<BTreeMap<String, Sequence>> = connection.ask(&format!(
            "SELECT json_object_agg(sequencename, json_build_object('last', last_value,
                'is_descending', increment_by < 0, 'is_cycle', cycle))
             FROM pg_sequences WHERE schemaname = {}",
            literal(schema)
        ))?;
        Ok(Self(sequences.unwrap_or_default()))
    }

    /// Compares with what is there now.
    pub(super) fn check(
        &self,
        connection: &mut Connection<'_>,
        schema: &str,
    ) -> Result<(), Stopped> {
        let now = Self::of(connection, schema)?;
        let behind: Vec<String> = self
            .0
            .iter()
            .filter_map(|(name, was)| {
                let last = was.last?;
                // A sequence that is gone was dropped by its owner, not by us.
                let is = now.0.get(name)?.last;
                let is_behind = match is {
                    None => true,
                    Some(is) if was.is_descending => is > last,
                    Some(is) => is < last,
                };
                (is_behind && !was.is_cycle).then(|| {
                    let name = format!("{}.{}", identifier(schema), identifier(name));
                    format!("SELECT setval({}, {last})", literal(&name))
                })
            })
            .collect();
        if behind.is_empty() {
            return Ok(());
        }
        Err(fault(format!(
            "the drill was rolled back, but the dump has set sequences of the site back, and no rollback undoes that. \
             Set them again, at once: {}",
            behind.join("; ")
        )))
    }
}
