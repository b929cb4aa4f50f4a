//! Prunes the revision log: what Zotonic saved of pages that were changed or deleted.
//!
//! A site works on while this runs. So a table is walked along its primary key, and each step deletes
//! what is due of the next few rows in a transaction of its own.

use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::site::Database;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use postgres::{Client, NoTls};
use serde::{Deserialize, Serialize};
use std::error::Error as _;
use std::thread;
use std::time::{Duration, Instant};

/// Rows that one transaction looks at. All that is locked, and for how long, follows from it.
const STEP: i64 = 1000;
/// What another transaction may make a step wait for: rows that it holds are skipped.
const LOCK_TIMEOUT: &str = "10s";
/// After a step as much time passes as it took, but not more than this.
const LONGEST_REST: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
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

    /// Which rows `t` are due. `$3` is the list of the types of identities that make a user.
    ///
    /// A user's identities go with the user. That a page which is gone was a user's is then known from
    /// `is_personal_data`.
    fn condition(self, before: Timestamp) -> String {
        const WAS_USER: &str = "NOT EXISTS (SELECT FROM rsc r WHERE r.id = t.rsc_id) AND EXISTS ( \
             SELECT FROM rsc_gone g WHERE g.id = t.rsc_id AND g.is_personal_data";
        match self {
            Self::Revisions => format!("t.created < '{before}'"),
            Self::UserRevisions => format!(
                "t.created < '{before}' AND (EXISTS ( \
                 SELECT FROM identity i WHERE i.rsc_id = t.rsc_id AND i.type = ANY($3)) OR {WAS_USER}))"
            ),
            Self::DeletedUsers => format!("{WAS_USER} AND g.modified <= '{before}')"),
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
    let mut client = connect(database)?;
    let now = match options.now {
        Some(now) => now,
        None => clock(&mut client).map_err(|error| failed(&error))?,
    };
    let mut rules = Vec::new();
    for rule in Rule::ALL {
        let before = rule.before(retention, now)?;
        let mut condition = rule.condition(before);
        if options.dry_run {
            // What an earlier rule would have deleted is not there any more.
            for earlier in Rule::ALL.iter().take_while(|earlier| **earlier != rule) {
                if earlier.table() == rule.table() {
                    let gone = earlier.condition(earlier.before(retention, now)?);
                    condition += &format!(" AND NOT ({gone})");
                }
            }
        }
        let mut deleted = 0;
        let result = reconnect(database, &mut client).and_then(|client| {
            let mut walk = Walk {
                client,
                table: rule.table(),
                condition: &condition,
                types: &retention.user_types,
                dry_run: options.dry_run,
            };
            walk.run(&mut deleted, monitor)
        });
        let problem = match result {
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
struct Walk<'a> {
    client: &'a mut Client,
    table: &'static str,
    condition: &'a str,
    types: &'a [String],
    dry_run: bool,
}

impl Walk<'_> {
    fn run(&mut self, deleted: &mut u64, monitor: &Monitor) -> Result<()> {
        let table = self.table;
        let ahead = format!(
            "SELECT max(id) FROM (SELECT id FROM {table} WHERE id > $1 ORDER BY id LIMIT {STEP}) ahead"
        );
        // `$3` is in every statement, so that all have the same parameters.
        let due = format!(
            "FROM {table} t WHERE t.id > $1 AND t.id <= $2 AND $3::text[] IS NOT NULL AND ({})",
            self.condition
        );
        let step = if self.dry_run {
            format!("SELECT count(*) {due}")
        } else {
            // What somebody else holds is left for tomorrow.
            format!(
                "WITH gone AS (DELETE FROM {table} WHERE ctid = ANY(ARRAY( \
                 SELECT t.ctid {due} FOR UPDATE OF t SKIP LOCKED)) RETURNING 1) \
                 SELECT count(*) FROM gone"
            )
        };
        let mut work = || -> Result<(), postgres::Error> {
            let ahead = self.client.prepare(&ahead)?;
            let step = self.client.prepare(&step)?;
            let mut from = i64::MIN;
            while let Some(to) = self
                .client
                .query_one(&ahead, &[&from])?
                .try_get::<_, Option<i64>>(0)?
            {
                if monitor.check().is_err() {
                    return Ok(());
                }
                let began = Instant::now();
                let row = self.client.query_one(&step, &[&from, &to, &self.types])?;
                *deleted += row.try_get::<_, i64>(0)?.unsigned_abs();
                from = to;
                // The site goes first: half of the time is its own.
                thread::sleep(began.elapsed().min(LONGEST_REST));
            }
            Ok(())
        };
        work().map_err(|error| failed(&error))?;
        monitor.check()
    }
}

fn connect(database: &Database) -> Result<Client> {
    let Database {
        host,
        port,
        user,
        password,
        dbname,
        schema,
        ..
    } = database;
    let mut config = postgres::Config::new();
    config
        .host(host)
        .port(*port)
        .user(user)
        .dbname(dbname)
        .application_name("zbackup")
        .connect_timeout(CONNECT_TIMEOUT);
    if let Some(password) = password {
        config.password(password.expose());
    }
    let mut client = config.connect(NoTls).map_err(|error| {
        Error::Database(format!(
            "the database {dbname} at {host}:{port} cannot be reached: {}",
            words(&error)
        ))
    })?;
    prepare(&mut client, schema).map_err(|error| failed(&error))?;
    let found = client
        .query_one("SELECT to_regclass('backup_revision') IS NOT NULL", &[])
        .and_then(|row| row.try_get(0))
        .map_err(|error| failed(&error))?;
    if found {
        Ok(client)
    } else {
        Err(Error::Database(format!(
            "the schema {schema} of the database {dbname} has no revisions (no table backup_revision): it \
             should be that of a Zotonic site with mod_backup"
        )))
    }
}

fn prepare(client: &mut Client, schema: &str) -> Result<(), postgres::Error> {
    // Moments are compared as they are; the time zone is for what is written without one.
    client.execute(
        "SELECT set_config('search_path', quote_ident($1), false), set_config('timezone', 'UTC', false), \
         set_config('lock_timeout', $2, false)",
        &[&schema, &LOCK_TIMEOUT],
    )?;
    Ok(())
}

/// A rule that failed may have lost the connection.
fn reconnect<'a>(database: &Database, client: &'a mut Client) -> Result<&'a mut Client> {
    if client.is_closed() {
        *client = connect(database)?;
    }
    Ok(client)
}

fn clock(client: &mut Client) -> Result<Timestamp, postgres::Error> {
    let row = client.query_one("SELECT (extract(epoch FROM now()) * 1000000)::bigint", &[])?;
    let microseconds: i64 = row.try_get(0)?;
    Ok(Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn failed(error: &postgres::Error) -> Error {
    Error::Database(format!("the database refused: {}", words(error)))
}

/// What the server says, or else what is between it and us.
fn words(error: &postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
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
