//! Keeps functions of a site from running as somebody who may do more than the site's role.
//!
//! A superuser who loads a dump acts as the site's role by `SET ROLE`. A function that runs meanwhile could take that
//! back. Functions in indexes and materialized views cannot: PostgreSQL runs them in an operation that forbids it.
//! What is left are the expressions that are evaluated for each row that comes in: `CHECK`s of tables and domains,
//! generated columns, the keys of partitions, and the values of ranges. These may call functions of PostgreSQL only.

use super::existing_schema::ExistingSchema;
use super::few;
use crate::database::connection::{Connection, Stopped, fault, identifier, literal};

pub(super) struct Guard {
    /// The user and its power, where the user is not the site's role and may do more.
    power: Option<String>,
}

impl Guard {
    pub(super) fn new(existing: &ExistingSchema) -> Self {
        Self {
            power: existing.power_over_site(),
        }
    }

    /// A constraint that is added is checked at once, for all rows that are there.
    pub(super) fn before(&self, statement: &str) -> Result<(), Stopped> {
        let adds_check = statement.starts_with("ALTER") && statement.contains(" CHECK (");
        match &self.power {
            Some(power) if adds_check && !statement.trim_end().ends_with("NOT VALID") => {
                Err(refused(power, "a CHECK that is added to rows"))
            }
            _ => Ok(()),
        }
    }

    /// Looks for expressions that call something else than functions of PostgreSQL that change nothing.
    pub(super) fn after(
        &self,
        statement: &str,
        connection: &mut Connection<'_>,
        schema: &str,
    ) -> Result<(), Stopped> {
        let Some(power) = &self.power else {
            return Ok(());
        };
        if !["CHECK", "GENERATED", "PARTITION", "AS RANGE"]
            .iter()
            .any(|word| statement.contains(word))
        {
            return Ok(());
        }
        let calls: Option<Vec<String>> = ask(connection, &calls(schema))?;
        match calls {
            None => Ok(()),
            Some(calls) => Err(refused(power, &few(&calls))),
        }
    }
}

/// Asks with a search_path of ours, which the dump has changed, and gives the dump its own back.
fn ask(connection: &mut Connection<'_>, query: &str) -> Result<Option<Vec<String>>, Stopped> {
    let path: String =
        connection.ask("pg_catalog.to_json(pg_catalog.current_setting('search_path'))")?;
    connection.run("SET search_path = pg_catalog, pg_temp")?;
    let calls = connection.ask(query)?;
    connection.run(&format!(
        "SELECT pg_catalog.set_config('search_path', {}, false)",
        literal(&path)
    ))?;
    Ok(calls)
}

/// Asks which expressions call which functions. An expression is stored as a tree, in which a function is named by
/// its `funcid`, and an operator by its `opno`.
fn calls(schema: &str) -> String {
    let home = literal(&identifier(schema));
    format!(
        "WITH expressions AS (
            SELECT format('the constraint %I', conname) AS place, conbin::text AS tree FROM pg_constraint
                WHERE connamespace = {home}::regnamespace AND contype = 'c'
            UNION ALL SELECT format('the column %I', attname), adbin::text FROM pg_attrdef d
                JOIN pg_attribute a ON attrelid = adrelid AND attnum = adnum JOIN pg_class c ON c.oid = adrelid
                WHERE relnamespace = {home}::regnamespace AND coalesce(to_jsonb(a)->>'attgenerated', '') <> ''
            UNION ALL SELECT format('the key of %I', relname), partexprs::text FROM pg_partitioned_table
                JOIN pg_class c ON c.oid = partrelid WHERE relnamespace = {home}::regnamespace),
         calls AS (
            SELECT place, m[1]::oid AS function FROM expressions, regexp_matches(tree, ':funcid (\\d+)', 'g') m
            UNION SELECT place, oprcode FROM expressions, regexp_matches(tree, ':opno (\\d+)', 'g') m
                JOIN pg_operator o ON o.oid = m[1]::oid
            UNION SELECT format('the range %s', rngtypid::regtype), f FROM pg_range JOIN pg_type t ON t.oid = rngtypid,
                unnest(ARRAY[rngcanonical::oid, rngsubdiff::oid]) f WHERE typnamespace = {home}::regnamespace)
         SELECT json_agg(DISTINCT format('%s calls %s', place, function::regprocedure))
            FROM calls JOIN pg_proc p ON p.oid = function JOIN pg_language l ON l.oid = prolang
            WHERE NOT (lanname IN ('internal', 'c') AND provolatile <> 'v' AND proname NOT LIKE '%xml%')"
    )
}

fn refused(power: &str, place: &str) -> Stopped {
    fault(format!(
        "the site's own functions would run with the rights of the database's user, who {power}: {place}. Restore \
         with the role that the site itself uses as the database's user"
    ))
}
