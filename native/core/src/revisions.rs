//! Prunes the revision log: what Zotonic saved of pages that were changed or deleted.
//!
//! A site works on while this runs. So a table is walked along its primary key, and each step deletes
//! what is due of the next few rows in a transaction of its own.

use crate::database::connection::{Connection, Stopped, identifier, literal};
use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::site::Database;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use std::thread;
use std::time::{Duration, Instant};

const FAILED: &str = "not all revisions that are due could be deleted";
/// Rows that one transaction looks at. All that is locked, and for how long, follows from it.
const STEP: u32 = 1000;
/// The same where nothing is locked, because it only counts.
const COUNT_STEP: u32 = 100_000;
/// What another transaction may make a step wait for: rows that it holds are skipped.
const LOCK_TIMEOUT: &str = "10s";
/// After a step as much time passes as it took, but not more than this.
const LONGEST_REST: Duration = Duration::from_millis(200);
/// Zotonic keeps an identity of this type for whoever can log in with a password.
const USER_TYPE: &str = "username_pw";

/// How long revisions are kept. The names and limits are those of the configuration of `mod_backup`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Retention {
    months: u16,
    user_days: u16,
    deleted_user_days: u16,
    user_types: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    revision_retention_months: u16,
    user_revision_retention_days: u16,
    user_deletion_retention_days: u16,
    user_identity_types: Vec<String>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            revision_retention_months: 18,
            user_revision_retention_days: 90,
            user_deletion_retention_days: 30,
            user_identity_types: vec![USER_TYPE.into()],
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        let Fields {
            revision_retention_months: months,
            user_revision_retention_days: user_days,
            user_deletion_retention_days: deleted_user_days,
            user_identity_types: user_types,
        } = Fields::default();
        Self {
            months,
            user_days,
            deleted_user_days,
            user_types,
        }
    }
}

impl TryFrom<Fields> for Retention {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let within = |name, value: u16, least: u16, most: u16| {
            if (least..=most).contains(&value) {
                Ok(value)
            } else {
                Err(format!("{name} is {value}; it is from {least} to {most}"))
            }
        };
        Ok(Self {
            months: within(
                "revision_retention_months",
                fields.revision_retention_months,
                1,
                1200,
            )?,
            user_days: within(
                "user_revision_retention_days",
                fields.user_revision_retention_days,
                1,
                36500,
            )?,
            deleted_user_days: within(
                "user_deletion_retention_days",
                fields.user_deletion_retention_days,
                1,
                30,
            )?,
            user_types: fields.user_identity_types,
        })
    }
}

/// Why something is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Any revision that is older than so many months.
    Revisions,
    /// A user's revision that is older than so many days.
    UserRevisions,
    /// All revisions of a user who was deleted so many days ago.
    DeletedUsers,
    /// A medium that was deleted longer ago than so many months.
    MediumLog,
    /// A connection that was made or broken longer ago than so many months.
    EdgeLog,
}

impl Rule {
    /// All rules, in the order in which they are followed.
    pub const ALL: [Self; 5] = [
        Self::Revisions,
        Self::UserRevisions,
        Self::DeletedUsers,
        Self::MediumLog,
        Self::EdgeLog,
    ];

    /// The name that programs see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Revisions => "revisions",
            Self::UserRevisions => "user_revisions",
            Self::DeletedUsers => "deleted_users",
            Self::MediumLog => "medium_log",
            Self::EdgeLog => "edge_log",
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Revisions | Self::UserRevisions | Self::DeletedUsers => "backup_revision",
            Self::MediumLog => "backup_medium_log",
            Self::EdgeLog => "backup_edge_log",
        }
    }

    /// Which rows `t` are due.
    ///
    /// A user's identities go with the user. That a page which is gone was a user's is then known from
    /// `is_personal_data`.
    fn condition(self, schema: &str, before: Timestamp, retention: &Retention) -> String {
        let schema = identifier(schema);
        let was_user = format!(
            "NOT EXISTS (SELECT FROM {schema}.rsc r WHERE r.id = t.rsc_id) AND EXISTS ( \
             SELECT FROM {schema}.rsc_gone g WHERE g.id = t.rsc_id AND g.is_personal_data"
        );
        match self {
            Self::Revisions => format!("t.created < '{before}'"),
            Self::UserRevisions => {
                let types: Vec<_> = retention
                    .user_types
                    .iter()
                    .map(|kind| literal(kind))
                    .collect();
                format!(
                    "t.created < '{before}' AND (EXISTS ( \
                     SELECT FROM {schema}.identity i WHERE i.rsc_id = t.rsc_id AND i.type = ANY(ARRAY[{}]::text[])) \
                     OR {was_user}))",
                    types.join(", ")
                )
            }
            Self::DeletedUsers => format!("{was_user} AND g.modified <= '{before}')"),
            Self::MediumLog => format!("t.medium_deleted < '{before}'"),
            Self::EdgeLog => format!("t.timestamp < '{before}'"),
        }
    }

    /// What is older than this is due.
    fn before(self, retention: &Retention, now: Timestamp) -> Result<Timestamp> {
        let now = TimeZone::UTC.to_datetime(now);
        let span = match self {
            Self::UserRevisions => i32::from(retention.user_days).days(),
            Self::DeletedUsers => i32::from(retention.deleted_user_days).days(),
            Self::Revisions | Self::MediumLog | Self::EdgeLog => {
                i32::from(retention.months).months()
            }
        };
        // In UTC a day has 24 hours and every time of the day is there.
        now.checked_sub(span)
            .and_then(|before| TimeZone::UTC.to_timestamp(before))
            .map_err(|error| Error::Internal(format!("{span} before {now}: {error}")))
    }
}

/// How to prune.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Only count what would be deleted.
    pub dry_run: bool,
    /// The time to go by; else the clock of the database.
    pub now: Option<Timestamp>,
}

/// What was deleted, rule by rule.
#[derive(Debug, Clone, Serialize)]
pub struct Pruned {
    /// Whether this was only counted.
    pub dry_run: bool,
    /// In the order of [`Rule::ALL`].
    pub rules: Vec<PrunedRule>,
}

/// What was deleted for one reason.
#[derive(Debug, Clone, Serialize)]
pub struct PrunedRule {
    /// The reason.
    pub rule: Rule,
    /// What is older than this was due, in seconds since 1970.
    pub before: i64,
    /// Rows that were deleted; of a rule that failed, those before it did.
    pub deleted: u64,
    /// Why the rule could not be followed to its end. The other rules were all the same.
    pub problem: Option<String>,
}

impl Pruned {
    /// Whether every rule was followed to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.rules.iter().all(|rule| rule.problem.is_none())
    }
}

/// The error of a site that has nothing to prune.
#[must_use]
pub fn no_database() -> Error {
    Error::Usage("this site has no database, and so no revisions: give one".into())
}

/// Deletes the revisions that are kept no longer.
///
/// # Errors
/// `Database` when the database cannot be reached or has no revisions; `Cancelled`, after which some are
/// deleted and the others not.
pub fn prune(
    database: &Database,
    retention: &Retention,
    options: Options,
    monitor: &Monitor,
) -> Result<Pruned> {
    let mut session = connect(database, monitor)?;
    let now = match options.now {
        Some(now) => now,
        None => match clock(&mut session) {
            Ok(now) => now,
            Err(stopped) => return Err(session.failure(stopped)),
        },
    };
    let mut open = Some(session);
    let mut rules = Vec::new();
    for rule in Rule::ALL {
        let before = rule.before(retention, now)?;
        let mut condition = rule.condition(&database.schema, before, retention);
        if options.dry_run {
            // What an earlier rule would have deleted is not there any more.
            for earlier in Rule::ALL.iter().take_while(|earlier| **earlier != rule) {
                if earlier.table() == rule.table() {
                    let before = earlier.before(retention, now)?;
                    let gone = earlier.condition(&database.schema, before, retention);
                    condition += &format!(" AND NOT ({gone})");
                }
            }
        }
        let walk = Walk {
            table: format!("{}.{}", identifier(&database.schema), rule.table()),
            condition,
            dry_run: options.dry_run,
        };
        let mut deleted = 0;
        let problem = match walk.run(&mut open, database, &mut deleted, monitor) {
            Ok(()) => None,
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(error) => Some(error.to_string()),
        };
        rules.push(PrunedRule {
            rule,
            before: before.as_second(),
            deleted,
            problem,
        });
    }
    Ok(Pruned {
        dry_run: options.dry_run,
        rules,
    })
}

/// One rule on its way along a table.
struct Walk {
    table: String,
    condition: String,
    dry_run: bool,
}

impl Walk {
    /// After an error the next rule has a connection of its own.
    fn run<'a>(
        &self,
        open: &mut Option<Connection<'a>>,
        database: &'a Database,
        deleted: &mut u64,
        monitor: &'a Monitor,
    ) -> Result<()> {
        let mut session = match open.take() {
            Some(session) => session,
            None => connect(database, monitor)?,
        };
        match self.steps(&mut session, deleted, monitor) {
            Ok(()) => {
                *open = Some(session);
                Ok(())
            }
            Err(stopped) => Err(session.failure(stopped)),
        }
    }

    fn steps(
        &self,
        session: &mut Connection<'_>,
        deleted: &mut u64,
        monitor: &Monitor,
    ) -> Result<(), Stopped> {
        let mut from = i64::MIN;
        while let Some(to) = self.ahead(session, from)? {
            monitor.check()?;
            let began = Instant::now();
            *deleted += self.step(session, from, to)?;
            from = to;
            if !self.dry_run {
                // The site goes first: half of the time is its own.
                thread::sleep(began.elapsed().min(LONGEST_REST));
            }
        }
        Ok(())
    }

    /// The last of the next few rows.
    fn ahead(&self, session: &mut Connection<'_>, from: i64) -> Result<Option<i64>, Stopped> {
        let table = &self.table;
        let step = if self.dry_run { COUNT_STEP } else { STEP };
        session.ask(&format!(
            "SELECT to_json(max(id)) FROM (SELECT id FROM {table} WHERE id > '{from}' \
             ORDER BY id LIMIT {step}) ahead"
        ))
    }

    fn step(&self, session: &mut Connection<'_>, from: i64, to: i64) -> Result<u64, Stopped> {
        let Self {
            table, condition, ..
        } = self;
        let due =
            format!("FROM {table} t WHERE t.id > '{from}' AND t.id <= '{to}' AND ({condition})");
        if self.dry_run {
            return session.ask(&format!("SELECT to_json(count(*)) {due}"));
        }
        // What somebody else holds is left for tomorrow.
        session.ask_with(
            &format!(
                "WITH gone AS (DELETE FROM {table} WHERE ctid = ANY(ARRAY( \
                 SELECT t.ctid {due} FOR UPDATE OF t SKIP LOCKED)) RETURNING 1)"
            ),
            "SELECT to_json(count(*)) FROM gone",
        )
    }
}

fn connect<'a>(database: &'a Database, monitor: &'a Monitor) -> Result<Connection<'a>> {
    let Database { dbname, schema, .. } = database;
    let mut session = Connection::open(database, FAILED, monitor)?;
    match prepare(&mut session, schema) {
        Ok(true) => Ok(session),
        Ok(false) => Err(Error::Database(format!(
            "the schema {schema} of the database {dbname} has no revisions (no table backup_revision): it \
             should be that of a Zotonic site with mod_backup"
        ))),
        Err(stopped) => Err(session.failure(stopped)),
    }
}

/// Gives whether there are revisions.
fn prepare(session: &mut Connection<'_>, schema: &str) -> Result<bool, Stopped> {
    let schema = identifier(schema);
    session.run(&format!("SET lock_timeout TO '{LOCK_TIMEOUT}'"))?;
    let table = literal(&format!("{schema}.backup_revision"));
    session.ask(&format!("to_json(to_regclass({table}) IS NOT NULL)"))
}

fn clock(session: &mut Connection<'_>) -> Result<Timestamp, Stopped> {
    let microseconds = session.ask("to_json((extract(epoch FROM now()) * 1000000)::bigint)")?;
    Ok(Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn before(rule: Rule, now: &str) -> String {
        rule.before(&Retention::default(), at(now))
            .map_or_else(|error| error.to_string(), |before| before.to_string())
    }

    #[test]
    fn months_have_their_own_lengths() {
        for (now, wanted) in [
            ("2026-11-24T12:34:56Z", "2025-05-24T12:34:56Z"),
            ("2026-08-31T00:00:00Z", "2025-02-28T00:00:00Z"),
            ("2025-08-31T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2025-06-30T23:59:59Z"),
            ("2026-01-31T00:00:00Z", "2024-07-31T00:00:00Z"),
        ] {
            for rule in [Rule::Revisions, Rule::MediumLog, Rule::EdgeLog] {
                assert_eq!(before(rule, now), wanted);
            }
        }
    }

    #[test]
    fn days_have_24_hours() {
        let now = "2026-03-30T01:00:00Z"; // Summer time began the day before, in some places.
        assert_eq!(before(Rule::UserRevisions, now), "2025-12-30T01:00:00Z");
        assert_eq!(before(Rule::DeletedUsers, now), "2026-02-28T01:00:00Z");
    }

    #[test]
    fn settings_have_limits() {
        let read =
            |text: &str| toml::from_str::<Retention>(text).map_err(|error| error.to_string());
        assert_eq!(read(""), Ok(Retention::default()));
        for (line, fits) in [
            ("revision_retention_months = 1", true),
            ("revision_retention_months = 0", false),
            ("revision_retention_months = 1201", false),
            ("user_revision_retention_days = 1", true),
            ("user_revision_retention_days = 0", false),
            ("user_deletion_retention_days = 1", true),
            ("user_deletion_retention_days = 0", false),
            ("user_deletion_retention_days = 30", true),
            ("user_deletion_retention_days = 31", false),
            ("user_identity_types = [\"a\", \"b\"]", true),
            ("retention = 1", false),
        ] {
            let read = read(line);
            assert_eq!(read.is_ok(), fits, "{line}: {read:?}");
        }
    }
}
