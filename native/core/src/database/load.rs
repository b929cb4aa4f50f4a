//! A dump into the database, in one transaction: all of it is there afterwards, or nothing has changed.
//!
//! The schema that is there is renamed away, the dump makes it anew, and the old one is dropped last:
//! until the `COMMIT` everybody else sees and uses the old one. A drill does the same up to there, and
//! rolls back. What is made belongs to the role that the old tables belonged to, and has the privileges
//! that they had.

mod failure;
mod outsiders;
mod present;
mod privileges;

use super::fate::{TransactionId, server};
use super::script::Script;
use super::session::{Session, Stopped, fault, identifier, literal};
use super::statement::Schema;
use crate::error::{Error, Result, harmless};
use crate::progress::Monitor;
use crate::site::Database;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
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

/// What a dump is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To take the place of what is there.
    Replace,
    /// To see that it could. Nothing changes, and nobody is disturbed.
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

/// Loads a dump into the site's schema. `began` gets the transaction before anything is changed;
/// `prove` is asked after all of the dump was read and before anything is final.
///
/// # Errors
/// `Database` with line and reason, when the database is as it was; `Undecided` when the connection
/// broke at the very end: [`fate`](super::fate()) can tell. Errors of the closures and of the dump; `Cancelled`.
pub fn load(
    database: &Database,
    dump: impl Read,
    trust: Trust,
    purpose: Purpose,
    began: impl FnOnce(TransactionId) -> Result<()>,
    prove: impl FnOnce() -> Result<()>,
    monitor: &Monitor,
) -> Result<Loaded> {
    let mut load = Load::start(database, trust, purpose, monitor)?;
    load.all(dump, began, prove)
        .map_err(|stopped| load.why(stopped))
}

/// Whether the site's schema can be replaced by a dump, as far as one can tell before it is loaded. Nothing
/// changes.
///
/// # Errors
/// `Database` with the reason why it cannot; `Cancelled`.
pub(crate) fn check(database: &Database, trust: Trust, monitor: &Monitor) -> Result<()> {
    let mut load = Load::start(database, trust, Purpose::Replace, monitor)?;
    load.look().map_err(|stopped| load.why(stopped))?;
    // It has the answers that it was asked for, whatever psql has to say now.
    let _ = load.session.end();
    Ok(())
}

/// The first of many names.
fn few(names: &[String]) -> String {
    const FEW: usize = 10;
    match names.get(FEW..) {
        None | Some([]) => names.join(", "),
        Some(more) => format!("{} and {} more", names[..FEW].join(", "), more.len()),
    }
}

const UNDECIDED: &str = "the connection broke while the restored database was being made final: the \
                         server decides whether it was";

/// What was being done when something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// "cannot …"
    Step(&'static str),
    /// Loading the dump, before which so many lines were sent.
    Dump(u64),
    Commit,
}

struct Load<'a> {
    schema: &'a str,
    trust: Trust,
    purpose: Purpose,
    /// What was not done, when it fails.
    failed: &'static str,
    /// The role that the dump is loaded as, where that is not the user.
    maker: Option<String>,
    session: Session<'a>,
    script: Script,
    doing: Doing,
    warnings: Vec<String>,
    monitor: &'a Monitor,
}

impl<'a> Load<'a> {
    fn start(
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
            failed,
            maker: None,
            session: Session::start(database, failed, trust, monitor)?,
            script: Script::to_load(Schema::of_site(&database.schema)),
            doing: Doing::Step("look at the database"),
            warnings: Vec::new(),
            monitor,
        })
    }

    fn why(&mut self, stopped: Stopped) -> Error {
        match stopped {
            Stopped::Error(error) if self.doing == Doing::Commit => {
                Error::Undecided(format!("{UNDECIDED} ({error})"))
            }
            Stopped::Error(Error::Database(reason)) => {
                Error::Database(format!("{}: {reason}", self.failed))
            }
            Stopped::Error(Error::Usage(reason)) => {
                Error::Usage(format!("{}: {reason}", self.failed))
            }
            Stopped::Error(error) => error,
            Stopped::Ended => self.explain(),
        }
    }

    fn all(
        &mut self,
        dump: impl Read,
        began: impl FnOnce(TransactionId) -> Result<()>,
        prove: impl FnOnce() -> Result<()>,
    ) -> Result<Loaded, Stopped> {
        self.session.send("BEGIN;")?;
        let server = server(&mut self.session)?;
        let id = self.session.ask("to_json(txid_current())")?;
        began(TransactionId { id, server })?;
        let present = self.look()?;
        let old = self.make_room(&present)?;
        self.maker = present.other_maker().map(str::to_owned);

        self.doing = Doing::Dump(self.session.lines());
        self.feed(dump)?;
        self.doing = Doing::Step("check what was loaded");
        let tables = self.count()?;
        let mut warnings = self.unproven_constraints()?;
        warnings.extend(present.losses());
        warnings.append(&mut self.warnings);
        warnings.extend(self.script.left_out());
        // A dump could have ended it, if it is cleverer than we are.
        let same = format!("to_json(txid_current() = {id})");
        if !self.session.ask::<bool>(&same)? {
            let old = old.as_deref().unwrap_or("(there was none)");
            return Err(Stopped::Error(Error::damaged(
                Path::new("the dump"),
                format!(
                    "it has ended the transaction that it was loaded in, and CHANGED the database: the \
                     schema as it was is now called {old}; look at it, and rename it back by hand"
                ),
            )));
        }
        self.give_privileges(&present, old.as_deref())?;
        match self.purpose {
            Purpose::Drill => {
                self.doing = Doing::Step("undo the drill");
                self.session.run("ROLLBACK")?;
            }
            Purpose::Replace => {
                // Nobody waits for us while this takes its time.
                prove()?;
                if let Some(old) = old {
                    self.drop(&old)?;
                }
                self.commit(id)?;
            }
        }
        // The work is done, whatever psql has to say now.
        if let Ok(ended) = self.session.end()
            && !ended.said.is_empty()
        {
            warnings.push(ended.said);
        }
        for warning in &mut warnings {
            *warning = harmless(warning);
        }
        Ok(Loaded { tables, warnings })
    }

    fn feed(&mut self, mut dump: impl Read) -> Result<(), Stopped> {
        let mut block = vec![0; 256 << 10];
        loop {
            let count = match dump.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Error::io("cannot read", Path::new("the dump"))(error).into());
                }
            };
            let session = &mut self.session;
            self.script
                .pass(&block[..count], &mut |part| session.write(part))?;
            // What is done is counted where the file is read.
            self.monitor.check()?;
        }
        self.script.finish().map_err(fault)?;
        // What is asked next is ours again: the dump, and functions in it, could have set where names are looked up.
        self.session.settings()?;
        self.session.sync()
    }

    /// The tables that are there now, and their rows: as many as the dump has.
    fn count(&mut self) -> Result<Vec<TableRows>, Stopped> {
        #[derive(Deserialize)]
        struct Table {
            name: String,
            is_forced: bool,
        }
        let all: Option<Vec<Table>> = self.session.ask(&format!(
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
                self.session.run(&open)?;
            }
            let rows = self
                .session
                .ask(&format!("SELECT to_json(count(*)) FROM ONLY {table}"))?;
            if is_forced {
                let close = format!("ALTER TABLE {table} FORCE ROW LEVEL SECURITY");
                self.session.run(&close)?;
            }
            if let Some(&wanted) = self.script.rows().get(&name)
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
    fn unproven_constraints(&mut self) -> Result<Vec<String>, Stopped> {
        let warnings: Option<Vec<String>> = self.session.ask(&format!(
            "SELECT json_agg(format('the constraint %I of %s is not checked for all rows: it was not in the \
                site either', conname,
                coalesce(nullif(conrelid, 0)::regclass::text, contypid::regtype::text)) ORDER BY conname)
             FROM pg_constraint WHERE connamespace = {}::regnamespace AND NOT convalidated",
            literal(&identifier(self.schema))
        ))?;
        Ok(warnings.unwrap_or_default())
    }

    /// Drops the old schema, when nobody uses it; names who does.
    fn drop(&mut self, old: &str) -> Result<(), Stopped> {
        self.doing = Doing::Step("drop the old schema");
        self.check_outsiders(old, &[])?;
        let drop = format!("DROP SCHEMA {} CASCADE", identifier(old));
        self.run_when_free(&drop, old)
    }

    /// Runs a statement that locks what is in a schema, when nobody uses that; names who does.
    fn run_when_free(&mut self, statement: &str, schema: &str) -> Result<(), Stopped> {
        let name = literal(&identifier(schema));
        let block = self.session.block(&format!(
            "DECLARE blockers text; BEGIN
                PERFORM set_config('lock_timeout', '{LOCK_SECONDS}s', true);
                FOR attempt IN 1..{LOCK_ATTEMPTS} LOOP
                    BEGIN
                        {statement};
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
        ));
        self.session.run(&block)
    }

    fn commit(&mut self, id: u64) -> Result<(), Stopped> {
        self.doing = Doing::Step("make the restored database final");
        self.monitor.check()?;
        self.session.has_grace(COMMIT_GRACE);
        self.doing = Doing::Commit;
        self.session.send("COMMIT;")?;
        // Deferred triggers of the dump ran in it.
        self.session
            .send("SET search_path = pg_catalog, pg_temp;")?;
        let status: Option<String> = self.session.ask(&format!("to_json(txid_status({id}))"))?;
        match status.as_deref() {
            Some("committed") => Ok(()),
            status => {
                let status = status.unwrap_or("unknown");
                Err(Error::Database(format!("the transaction is {status}")).into())
            }
        }
    }
}
