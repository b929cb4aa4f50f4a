//! A dump into the database, in one transaction: all of it is there afterwards, or nothing has changed.
//!
//! The schema that is there is moved out of the way. The dump makes it anew, statement by statement. What was loaded is
//! checked. Then the transaction is [`Pending`]: its end replaces the old schema, or undoes all. Until the commit
//! everybody else sees and uses the old schema. What is made belongs to the role that the old tables belonged to, and has
//! the privileges that they had.

mod dependents;
mod existing_schema;
mod failure;
mod feed;
mod guard;
mod privileges;
mod raw_text;
mod sequences;

use super::connection::{Connection, Stopped, fault, identifier, literal};
use super::dump_filter::{DumpFilter, Schema};
use super::transaction::{TransactionId, server};
use crate::error::{Error, Result, harmless};
use crate::progress::Monitor;
use crate::site::Database;
use crate::stream::Encryption;
use existing_schema::OldSchema;
use failure::Doing;
use feed::SearchPath;
use sequences::Sequences;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Whether a dump is known to be what we wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Its encryption proves that nobody changed it.
    Authenticated,
    /// Somebody may have.
    Unproven,
}

impl Trust {
    /// Returns what the encryption of a dump proves.
    pub(crate) fn of(encryption: Encryption) -> Self {
        match encryption {
            Encryption::Z2 => Self::Authenticated,
            Encryption::Z1 | Encryption::None => Self::Unproven,
        }
    }
}

/// What to do with a dump of which nothing proves who made it. While it is loaded its SQL can do what the site's role
/// can, and not all of that is undone by a rollback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnprovenDump {
    /// Refuse it.
    #[default]
    Refuse,
    /// Load it: somebody has consented.
    Load,
}

impl UnprovenDump {
    /// Loads such a dump if somebody has consented.
    #[must_use]
    pub fn if_trusted(is_trusted: bool) -> Self {
        match is_trusted {
            true => Self::Load,
            false => Self::Refuse,
        }
    }

    /// Returns the trust in the dump `file` of this encryption.
    ///
    /// # Errors
    /// `Usage` where it takes consent, and there is none.
    pub(crate) fn judge(
        self,
        encryption: Encryption,
        file: &Path,
        database: &Database,
    ) -> Result<Trust> {
        match (Trust::of(encryption), self) {
            (Trust::Unproven, Self::Refuse) => Err(Error::Usage(format!(
                "nothing proves who made {}: it is not encrypted, or by Zotonic's own module. While it is loaded, its \
                 SQL can do what the database's user {} can, and not all of that is undone when it is rolled back. \
                 To load it all the same: --trust-dump (in Erlang the option trust_dump)",
                file.display(),
                database.user
            ))),
            (trust, _) => Ok(trust),
        }
    }
}

/// What a dump is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To take the place of what is there.
    Replace,
    /// To see that it could. Nobody is disturbed.
    Drill,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// The tables, by name.
    pub tables: Vec<TableRows>,
    /// What a person should hear of.
    pub warnings: Vec<String>,
}

/// A table, and how many rows it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableRows {
    /// Its name, without that of the schema.
    pub name: String,
    /// As the server counts them.
    pub rows: u64,
}

/// How long a `COMMIT` may take when the job is cancelled meanwhile.
const COMMIT_GRACE: Duration = Duration::from_secs(10);
/// An attempt to lock what others may use, in seconds, and how many there are. In between, those who wait
/// for us get their turn.
const LOCK_SECONDS: u32 = 5;
const LOCK_ATTEMPTS: u32 = 6;
/// Starts the error of the last attempt.
const BLOCKED: &str = "zbackup is blocked by ";

/// Loads the dump that `open` opens into the site's schema, up to the end of the transaction. The reader of the dump
/// is returned, to be read to its end and verified before the commit.
///
/// A site whose functions rely on its search_path cannot be loaded without one, as `psql` cannot. Its dump is opened
/// once more, and loaded with the schema in the path; a warning says so.
///
/// # Errors
/// `Database` with line and reason, when the database is as it was; errors of `open` and of the dump; `Cancelled`.
pub fn load<'a, R: Read>(
    database: &'a Database,
    trust: Trust,
    purpose: Purpose,
    mut open: impl FnMut() -> Result<R>,
    monitor: &'a Monitor,
) -> Result<(Pending<'a>, R)> {
    let mut dump = open()?;
    let first = Load::begin(database, trust, purpose, monitor)?;
    match first.run(&mut dump, SearchPath::Empty) {
        Ok(pending) => Ok((pending, dump)),
        Err(failed) if failed.relies_on_search_path => {
            drop(dump);
            let mut dump = open()?;
            let second = Load::begin(database, trust, purpose, monitor)?;
            let mut pending = second
                .run(&mut dump, SearchPath::Site)
                .map_err(|failed| failed.error)?;
            pending.loaded.warnings.push(format!(
                "functions of the site name tables without their schema, so the dump was loaded with search_path = \
                 {}: psql refuses such a dump ({})",
                identifier(&database.schema),
                failed.words
            ));
            Ok((pending, dump))
        }
        Err(failed) => Err(failed.error),
    }
}

/// Checks whether the site's schema can be replaced by a dump, as far as one can tell before it is loaded. Nothing
/// changes.
///
/// # Errors
/// `Database` with the reason why it cannot; `Cancelled`.
pub(crate) fn check(database: &Database, trust: Trust, monitor: &Monitor) -> Result<()> {
    let mut load = Load::begin(database, trust, Purpose::Replace, monitor)?;
    match load.inspect() {
        Ok(_) => Ok(()),
        Err(stopped) => Err(load.failed(stopped).error),
    }
}

/// The first of many names.
fn few(names: &[String]) -> String {
    const FEW: usize = 10;
    match names.get(FEW..) {
        None | Some([]) => names.join(", "),
        Some(more) => format!("{} and {} more", names[..FEW].join(", "), more.len()),
    }
}

struct Load<'a> {
    schema: &'a str,
    trust: Trust,
    purpose: Purpose,
    /// The role that the dump is loaded as, where that is not the user.
    role: Option<String>,
    connection: Connection<'a>,
    filter: DumpFilter,
    doing: Doing,
    warnings: Vec<String>,
    monitor: &'a Monitor,
}

/// A dump that is loaded, in a transaction that has not ended. Dropping it undoes everything.
pub struct Pending<'a> {
    load: Load<'a>,
    loaded: InTransaction,
}

/// What a transaction has done so far.
struct InTransaction {
    id: TransactionId,
    old: Option<OldSchema>,
    sequences: Sequences,
    tables: Vec<TableRows>,
    warnings: Vec<String>,
}

impl std::fmt::Debug for Pending<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pending").field(&self.loaded.id).finish()
    }
}

impl<'a> Load<'a> {
    fn begin(
        database: &'a Database,
        trust: Trust,
        purpose: Purpose,
        monitor: &'a Monitor,
    ) -> Result<Self> {
        let failed = match purpose {
            Purpose::Replace => "the database was not restored and is as it was",
            Purpose::Drill => "the dump cannot be restored",
        };
        Ok(Self {
            schema: &database.schema,
            trust,
            purpose,
            role: None,
            connection: Connection::open(database, failed, monitor)?,
            filter: DumpFilter::to_load(Schema::of_site(&database.schema)),
            doing: Doing::Step("look at the database"),
            warnings: Vec::new(),
            monitor,
        })
    }

    fn run(
        mut self,
        dump: &mut impl Read,
        path: SearchPath,
    ) -> Result<Pending<'a>, failure::Failed> {
        match self.steps(dump, path) {
            Ok(loaded) => Ok(Pending { load: self, loaded }),
            Err(stopped) => Err(self.failed(stopped)),
        }
    }

    fn steps(&mut self, dump: &mut impl Read, path: SearchPath) -> Result<InTransaction, Stopped> {
        self.connection
            .run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")?;
        let id = TransactionId {
            server: server(&mut self.connection)?,
            id: self
                .connection
                .ask("pg_catalog.to_json(pg_catalog.txid_current())")?,
        };
        let existing = self.inspect()?;
        let sequences = Sequences::of(&mut self.connection, self.schema)?;
        let old = self.make_room(&existing)?;
        self.role = existing.other_role().map(str::to_owned);

        self.feed(dump, path, &existing)?;
        self.doing = Doing::Step("check what was loaded");
        // The settings are ours again: the dump, and functions in it, could have changed them.
        self.connection.settings()?;
        self.become_role()?;
        let tables = self.count()?;
        let mut warnings = self.unchecked_constraints()?;
        warnings.extend(existing.losses());
        warnings.append(&mut self.warnings);
        warnings.extend(self.filter.left_out());
        self.check_transaction(&id, old.as_ref())?;
        self.give_privileges(&existing, old.as_ref())?;
        warnings.append(&mut self.connection.take_notices());
        Ok(InTransaction {
            id,
            old,
            sequences,
            tables,
            warnings,
        })
    }

    /// Acts as the role that the site's tables belong to.
    fn become_role(&mut self) -> Result<(), Stopped> {
        match &self.role {
            Some(role) => self
                .connection
                .run(&format!("SET ROLE {}", identifier(role))),
            None => Ok(()),
        }
    }

    /// A dump could have ended the transaction, if it is cleverer than the server and we are.
    fn check_transaction(
        &mut self,
        id: &TransactionId,
        old: Option<&OldSchema>,
    ) -> Result<(), Stopped> {
        let same = format!(
            "pg_catalog.to_json(pg_catalog.txid_current() OPERATOR(pg_catalog.=) {})",
            id.id
        );
        if self.connection.ask(&same)? {
            return Ok(());
        }
        let old = old.map_or("(there was none)", |old| &old.name);
        Err(Stopped::Error(Error::damaged(
            Path::new("the dump"),
            format!(
                "it has ended the transaction that it was loaded in, and CHANGED the database: the schema as it was \
                 is now called {old}; look at it, and rename it back by hand"
            ),
        )))
    }

    /// Counts the rows of each table: as many as the dump has.
    fn count(&mut self) -> Result<Vec<TableRows>, Stopped> {
        #[derive(Deserialize)]
        struct Table {
            name: String,
            is_forced: bool,
        }
        let all: Option<Vec<Table>> = self.connection.ask(&format!(
            "SELECT json_agg(json_build_object('name', relname, 'is_forced', relrowsecurity AND relforcerowsecurity)
                ORDER BY relname) FROM pg_class c
             WHERE relnamespace = {}::regnamespace AND relkind = 'r' AND NOT EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')",
            literal(&identifier(self.schema))
        ))?;
        let mut tables = Vec::new();
        for Table { name, is_forced } in all.unwrap_or_default() {
            let table = format!("{}.{}", identifier(self.schema), identifier(&name));
            // Its policies would hide rows from its owner too, whom we are or act as; nobody else sees it yet.
            if is_forced {
                let open = format!("ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY");
                self.connection.run(&open)?;
            }
            let rows = self
                .connection
                .ask(&format!("SELECT to_json(count(*)) FROM ONLY {table}"))?;
            if is_forced {
                let close = format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY");
                self.connection.run(&close)?;
            }
            if let Some(&wanted) = self.filter.rows().get(&name)
                && wanted != rows
            {
                return Err(fault(format!(
                    "the dump has {wanted} rows of the table {}, and {rows} were loaded",
                    identifier(&name)
                )));
            }
            tables.push(TableRows { name, rows });
        }
        Ok(tables)
    }

    /// A dump says of a constraint that it never was checked; all others the server has checked.
    fn unchecked_constraints(&mut self) -> Result<Vec<String>, Stopped> {
        let warnings: Option<Vec<String>> = self.connection.ask(&format!(
            "SELECT json_agg(format('the constraint %I of %s is not checked for all rows: it was not in the \
                site either', conname,
                coalesce(nullif(conrelid, 0)::regclass::text, contypid::regtype::text)) ORDER BY conname)
             FROM pg_constraint WHERE connamespace = {}::regnamespace AND NOT convalidated",
            literal(&identifier(self.schema))
        ))?;
        Ok(warnings.unwrap_or_default())
    }

    /// Runs statements of PL/pgSQL that lock what is in a schema, when nobody uses that; names who does.
    fn run_when_free(&mut self, statements: &str, schema: &str) -> Result<(), Stopped> {
        let name = literal(&identifier(schema));
        self.connection.block(&format!(
            "DECLARE blockers text; object record; BEGIN
                PERFORM set_config('lock_timeout', '{LOCK_SECONDS}s', true);
                FOR attempt IN 1..{LOCK_ATTEMPTS} LOOP
                    BEGIN
                        {statements};
                        PERFORM set_config('lock_timeout', '30s', true);
                        RETURN;
                    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
                        SELECT string_agg(DISTINCT format('%s (PID %s)',
                                coalesce(nullif(a.application_name, ''), 'a session'), l.pid), ', ')
                            INTO blockers
                            FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
                            WHERE l.granted AND l.pid <> pg_backend_pid() AND l.relation IN (
                                SELECT oid FROM pg_class WHERE relnamespace = {name}::regnamespace)
                              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database());
                    END;
                END LOOP;
                RAISE EXCEPTION '{BLOCKED}%', coalesce(blockers, 'a session that has ended by now');
             END"
        ))
    }
}

impl Pending<'_> {
    /// Returns the transaction, whose outcome the server can tell later.
    #[must_use]
    pub fn id(&self) -> &TransactionId {
        &self.loaded.id
    }

    /// Drops the old schema, and makes the new one final.
    ///
    /// # Errors
    /// `Database` when the database is as it was; `Undecided` when the commit was not answered:
    /// [`outcome`](super::outcome) can tell later; `Cancelled`.
    pub fn commit(mut self) -> Result<Loaded> {
        match self.end() {
            Ok(()) => Ok(self.loaded()),
            Err(stopped) => Err(self.load.failed(stopped).error),
        }
    }

    fn end(&mut self) -> Result<(), Stopped> {
        let load = &mut self.load;
        if let Some(old) = &self.loaded.old {
            load.doing = Doing::Step("drop the old schema");
            load.check_dependents(&old.name)?;
            let drop = format!("DROP SCHEMA {} CASCADE", identifier(&old.name));
            load.run_when_free(&drop, &old.name)?;
        }
        load.doing = Doing::Step("make the restored database final");
        load.monitor.check()?;
        load.connection.set_grace(COMMIT_GRACE);
        load.doing = Doing::Commit;
        load.connection.run("COMMIT")?;
        // Deferred triggers of the dump ran in it.
        load.connection.settings()?;
        let status = format!("to_json(txid_status({}))", self.loaded.id.id);
        let status: Option<String> = load.connection.ask(&status)?;
        match status.as_deref() {
            Some("committed") => Ok(()),
            Some("aborted") => {
                load.doing = Doing::Step("make the restored database final");
                Err(fault("the server has rolled the transaction back"))
            }
            status => {
                let status = status.unwrap_or("unknown");
                Err(Error::Database(format!("the transaction is {status}")).into())
            }
        }
    }

    /// Ends a drill: the transaction is rolled back.
    ///
    /// # Errors
    /// `Database` when a sequence of the site is behind its place of before: sequences are not rolled back, and a dump
    /// that moves those of the live site is no dump of this site. `Cancelled`.
    pub fn roll_back(mut self) -> Result<Loaded> {
        let load = &mut self.load;
        load.doing = Doing::Step("undo the drill");
        let sequences = &self.loaded.sequences;
        let mut undone = || {
            load.connection.run("ROLLBACK")?;
            load.connection.settings()?;
            sequences.check(&mut load.connection, load.schema)
        };
        match undone() {
            Ok(()) => Ok(self.loaded()),
            Err(stopped) => Err(self.load.failed(stopped).error),
        }
    }

    fn loaded(self) -> Loaded {
        let InTransaction {
            tables, warnings, ..
        } = self.loaded;
        Loaded {
            tables,
            warnings: warnings.iter().map(|warning| harmless(warning)).collect(),
        }
    }
}
