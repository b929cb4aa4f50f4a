//! A dump into the database, in one transaction: all of it is there afterwards, or nothing has changed.
//!
//! The schema that is there is renamed away, the dump makes it anew, and the old one is dropped last:
//! until the `COMMIT` everybody else sees and uses the old one. A drill does the same up to there, and
//! rolls back.

use super::script::Script;
use super::session::{Session, Stopped, identifier, literal, random};
use super::statement::Schema;
use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::site::Database;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

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

/// A transaction, and the server that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionId {
    id: u64,
    /// Where the server tells.
    server: Option<String>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// What it did is there.
    Committed,
    /// It has changed nothing.
    Aborted,
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
/// How long the end of a transaction is waited for.
const FATE_PATIENCE: Duration = Duration::from_secs(10);
/// An attempt to drop the old schema, in seconds, and how many there are. In between, those who wait
/// for us get their turn.
const DROP_SECONDS: u32 = 5;
const DROP_ATTEMPTS: u32 = 6;
/// Starts the error of the last attempt.
const BLOCKED: &str = "zbackup is blocked by ";

/// Loads a dump into the site's schema. `began` gets the transaction before anything is changed;
/// `prove` is asked after all of the dump was read and before anything is final.
///
/// # Errors
/// `Database` with line and reason, when the database is as it was; `Undecided` when the connection
/// broke at the very end: [`fate`] can tell. Errors of the closures and of the dump; `Cancelled`.
pub fn load(
    database: &Database,
    dump: impl Read,
    trust: Trust,
    purpose: Purpose,
    began: impl FnOnce(TransactionId) -> Result<()>,
    prove: impl FnOnce() -> Result<()>,
    monitor: &Monitor,
) -> Result<Loaded> {
    let failed = match purpose {
        Purpose::Replace => "the database was not restored and is as it was",
        Purpose::Drill => "the dump cannot be restored",
    };
    let mut load = Load {
        schema: &database.schema,
        purpose,
        session: Session::start(database, failed, trust, monitor)?,
        script: Script::to_load(Schema::of_site(&database.schema)),
        doing: Doing::Step("look at the database"),
        monitor,
    };
    match load.all(dump, began, prove) {
        Ok(loaded) => Ok(loaded),
        Err(Stopped::Error(error)) if load.doing == Doing::Commit => {
            Err(Error::Undecided(format!("{UNDECIDED} ({error})")))
        }
        Err(Stopped::Error(Error::Database(reason))) => {
            Err(Error::Database(format!("{failed}: {reason}")))
        }
        Err(Stopped::Error(error)) => Err(error),
        Err(Stopped::Ended) => Err(load.explain()),
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
    purpose: Purpose,
    session: Session<'a>,
    script: Script,
    doing: Doing,
    monitor: &'a Monitor,
}

/// The schema that is there, and what the user may do.
#[derive(Deserialize)]
struct Present {
    may_create: bool,
    user: String,
    /// None of these when there is no such schema.
    owns: Option<bool>,
    owner: Option<String>,
    grants: Option<Vec<String>>,
    extensions: Option<Vec<Extension>>,
}

#[derive(Deserialize)]
struct Extension {
    name: String,
    is_movable: bool,
    /// Moving them would lock them.
    has_relations: bool,
}

impl Load<'_> {
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

        self.doing = Doing::Dump(self.session.lines());
        self.feed(dump)?;
        self.doing = Doing::Step("check what was loaded");
        self.session.settings()?;
        let tables = self.count()?;
        let mut warnings = self.unproven_constraints()?;
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
        Ok(Loaded { tables, warnings })
    }

    /// What is there, and whether it can be replaced.
    fn look(&mut self) -> Result<Present, Stopped> {
        let schema = literal(self.schema);
        let present: Present = self.session.ask(&format!(
            "SELECT json_build_object(
                'may_create', has_database_privilege(current_database(), 'CREATE'),
                'user', current_user,
                'owns', pg_has_role(n.nspowner, 'USAGE'),
                'owner', quote_ident(pg_get_userbyid(n.nspowner)),
                'grants', (SELECT json_agg(format('GRANT %s ON SCHEMA %I TO %s%s', a.privilege_type, n.nspname,
                        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                        CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END))
                    FROM aclexplode(n.nspacl) a WHERE a.grantee <> n.nspowner),
                'extensions', (SELECT json_agg(json_build_object('name', e.extname,
                        'is_movable', e.extrelocatable AND pg_has_role(e.extowner, 'USAGE'),
                        'has_relations', EXISTS (SELECT FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
                            WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                              AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relkind <> 'c')))
                    FROM pg_extension e WHERE e.extnamespace = n.oid))
             FROM (VALUES (1)) one LEFT JOIN pg_namespace n ON n.nspname = {schema}"
        ))?;
        if !present.may_create {
            return Err(fault(format!(
                "the user {} may not make a schema in this database: as its owner, GRANT CREATE ON \
                 DATABASE … TO {0}",
                identifier(&present.user)
            )));
        }
        if present.owns == Some(false) {
            return Err(fault(format!(
                "the user {} does not own the schema {}: as a superuser, ALTER SCHEMA {1} OWNER TO {0}",
                identifier(&present.user),
                identifier(self.schema)
            )));
        }
        self.check_outsiders(self.schema)?;
        for extension in present.extensions.iter().flatten() {
            let name = identifier(&extension.name);
            if !extension.is_movable {
                return Err(fault(format!(
                    "the extension {name} is in the site's schema, and {} cannot move it out of the way: \
                     restore with its owner or a superuser as the database's user",
                    present.user
                )));
            }
            if extension.has_relations && self.purpose == Purpose::Drill {
                return Err(fault(format!(
                    "the extension {name} has tables or views in the site's schema, which a drill would \
                     have to lock: a restore can do it, a drill cannot"
                )));
            }
        }
        Ok(present)
    }

    /// Nothing outside a schema may need it: it would go when that is dropped.
    fn check_outsiders(&mut self, schema: &str) -> Result<(), Stopped> {
        let schema = literal(schema);
        let outsiders: Option<Vec<String>> = self.session.ask(&format!(
            "WITH home AS (SELECT oid FROM pg_namespace WHERE nspname = {schema}),
                own AS (
                    SELECT classid, objid FROM pg_depend, home
                        WHERE refclassid = 'pg_namespace'::regclass AND refobjid = home.oid
                    UNION SELECT 'pg_class'::regclass, c.oid FROM pg_class c, home WHERE relnamespace = home.oid
                    UNION SELECT 'pg_type'::regclass, t.oid FROM pg_type t, home WHERE typnamespace = home.oid
                    EXCEPT SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
                needs AS (
                    SELECT DISTINCT d.classid, d.objid, CASE d.classid
                        WHEN 'pg_class'::regclass THEN (SELECT relnamespace FROM pg_class WHERE oid = d.objid)
                        WHEN 'pg_type'::regclass THEN (SELECT typnamespace FROM pg_type WHERE oid = d.objid)
                        WHEN 'pg_proc'::regclass THEN (SELECT pronamespace FROM pg_proc WHERE oid = d.objid)
                        WHEN 'pg_constraint'::regclass THEN (SELECT connamespace FROM pg_constraint WHERE oid = d.objid)
                        WHEN 'pg_rewrite'::regclass THEN (SELECT relnamespace FROM pg_class c
                            JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.oid = d.objid)
                        WHEN 'pg_attrdef'::regclass THEN (SELECT relnamespace FROM pg_class c
                            JOIN pg_attrdef a ON a.adrelid = c.oid WHERE a.oid = d.objid)
                        WHEN 'pg_trigger'::regclass THEN (SELECT relnamespace FROM pg_class c
                            JOIN pg_trigger t ON t.tgrelid = c.oid WHERE t.oid = d.objid)
                        WHEN 'pg_policy'::regclass THEN (SELECT relnamespace FROM pg_class c
                            JOIN pg_policy p ON p.polrelid = c.oid WHERE p.oid = d.objid)
                        ELSE (SELECT oid FROM pg_namespace WHERE nspname =
                            (SELECT o.schema FROM pg_identify_object(d.classid, d.objid, 0) o))
                        END AS place
                    FROM pg_depend d JOIN own ON d.refclassid = own.classid AND d.refobjid = own.objid)
             SELECT json_agg(said) FROM (SELECT DISTINCT pg_describe_object(classid, objid, 0) AS said
                FROM needs, home WHERE place <> home.oid AND place <> 'pg_toast'::regnamespace
                ORDER BY said LIMIT 5) few"
        ))?;
        match outsiders {
            None => Ok(()),
            Some(outsiders) => Err(fault(format!(
                "what is outside the site's schema depends on it, and would be dropped with it: {}. Drop \
                 that first, and make it again after the restore",
                outsiders.join(", ")
            ))),
        }
    }

    /// Moves what is there out of the way, to the name that it gives, and makes the schema anew.
    fn make_room(&mut self, present: &Present) -> Result<Option<String>, Stopped> {
        self.doing = Doing::Step("make the schema");
        let schema = identifier(self.schema);
        if present.owns.is_none() {
            self.session.run(&format!("CREATE SCHEMA {schema}"))?;
            return Ok(None);
        }
        let old = format!("{}_before_{:.8}", start(self.schema), random()?);
        let to = identifier(&old);
        self.doing = Doing::Step("move the old schema out of the way");
        self.session
            .run(&format!("ALTER SCHEMA {schema} RENAME TO {to}"))?;
        self.session.run(&format!("CREATE SCHEMA {schema}"))?;
        self.doing = Doing::Step("move an extension to the new schema");
        for extension in present.extensions.iter().flatten() {
            let name = identifier(&extension.name);
            self.session
                .run(&format!("ALTER EXTENSION {name} SET SCHEMA {schema}"))?;
        }
        self.doing = Doing::Step("give the new schema the owner and the privileges of the old one");
        if let Some(owner) = &present.owner {
            // Not everybody may give away what is theirs.
            let give = self.session.block(&format!(
                "BEGIN ALTER SCHEMA {schema} OWNER TO {owner};
                 EXCEPTION WHEN insufficient_privilege THEN NULL; END"
            ));
            self.session.run(&give)?;
        }
        for grant in present.grants.iter().flatten() {
            self.session.run(grant)?;
        }
        Ok(Some(old))
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
            self.monitor.add(count as u64)?;
        }
        self.script.finish().map_err(fault)?;
        // What it reads next is ours again.
        self.session.sync()
    }

    /// The tables that are there now, and their rows: as many as the dump has.
    fn count(&mut self) -> Result<Vec<TableRows>, Stopped> {
        let names: Option<Vec<String>> = self.session.ask(&format!(
            "SELECT json_agg(relname ORDER BY relname) FROM pg_class c
             WHERE relnamespace = {}::regnamespace AND relkind = 'r' AND NOT EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')",
            literal(&identifier(self.schema))
        ))?;
        let mut tables = Vec::new();
        for name in names.unwrap_or_default() {
            let rows = self.session.ask(&format!(
                "SELECT to_json(count(*)) FROM ONLY {}.{}",
                identifier(self.schema),
                identifier(&name)
            ))?;
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
                site either', conname, conrelid::regclass) ORDER BY conname)
             FROM pg_constraint WHERE connamespace = {}::regnamespace AND NOT convalidated",
            literal(&identifier(self.schema))
        ))?;
        Ok(warnings.unwrap_or_default())
    }

    /// Drops the old schema, when nobody uses it; names who does.
    fn drop(&mut self, old: &str) -> Result<(), Stopped> {
        self.doing = Doing::Step("drop the old schema");
        self.check_outsiders(old)?;
        let schema = identifier(old);
        let name = literal(&schema);
        let block = self.session.block(&format!(
            "DECLARE blockers text; BEGIN
                PERFORM set_config('lock_timeout', '{DROP_SECONDS}s', true);
                FOR attempt IN 1..{DROP_ATTEMPTS} LOOP
                    BEGIN
                        DROP SCHEMA {schema} CASCADE;
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
        let status: Option<String> = self.session.ask(&format!("to_json(txid_status({id}))"))?;
        match status.as_deref() {
            Some("committed") => Ok(()),
            status => {
                let status = status.unwrap_or("unknown");
                Err(Error::Database(format!("the transaction is {status}")).into())
            }
        }
    }

    /// Why `psql` has ended.
    fn explain(&mut self) -> Error {
        let ended = match self.session.end() {
            Ok(ended) => ended,
            Err(error) => return error,
        };
        let program = self.session.program();
        if self.doing == Doing::Commit {
            return Error::Undecided(format!("{UNDECIDED}\npsql said: {}", ended.said));
        }
        let Some(message) = Message::last(&ended.said) else {
            return program.failure(&ended);
        };
        if message.words.starts_with("FATAL:") || ended.status == "2" {
            return program.failure(&ended);
        }
        let reason = match self.doing {
            Doing::Dump(before) => self.place(message.line.saturating_sub(before), &message.words),
            Doing::Step(_) if message.words.contains(BLOCKED) => {
                let blockers = message.words.split(BLOCKED).nth(1).unwrap_or_default();
                let blockers = blockers.lines().next().unwrap_or_default();
                format!(
                    "the old tables are in use by {blockers}: stop the site, or end these sessions, and \
                     restore again"
                )
            }
            Doing::Step(step) => format!("cannot {step}"),
            Doing::Commit => String::new(),
        };
        program.error(&reason, &message.words)
    }

    /// Where in the dump an error is, from the line at which `psql` noticed it.
    fn place(&self, line: u64, words: &str) -> String {
        let Some(passed) = self.script.passed(line) else {
            return format!("an error before line {line} of the dump");
        };
        let Some(table) = &passed.table else {
            return format!(
                "line {} of the dump is refused by the server: {}",
                passed.line, passed.start
            );
        };
        let row = words
            .lines()
            .find_map(|line| line.strip_prefix("CONTEXT:  COPY "))
            .and_then(|context| context.split(", line ").nth(1))
            .and_then(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_digit());
                rest[..end.unwrap_or(rest.len())].parse::<u64>().ok()
            });
        match row {
            Some(row) => format!(
                "line {} of the dump, row {row} of the table \"{table}\", is refused by the server",
                passed.data + row.saturating_sub(1)
            ),
            None => format!(
                "the data of the table \"{table}\", from line {} of the dump, are refused by the server",
                passed.data
            ),
        }
    }
}

/// What `psql` says of a line of its input.
struct Message {
    line: u64,
    words: String,
}

impl Message {
    /// The last one: there `psql` stopped.
    fn last(said: &str) -> Option<Self> {
        const START: &str = "psql:<stdin>:";
        let at = match said.rfind(&format!("\n{START}")) {
            Some(at) => at + 1,
            None => said.starts_with(START).then_some(0)?,
        };
        let (line, words) = said[at + START.len()..].split_once(": ")?;
        Some(Self {
            line: line.parse().ok()?,
            words: words.trim().to_owned(),
        })
    }
}

fn fault(reason: impl Into<String>) -> Stopped {
    Stopped::Error(Error::Database(reason.into()))
}

/// So much of a name that a suffix fits.
fn start(name: &str) -> &str {
    const LENGTH: usize = 63 - "_before_12345678".len();
    let mut end = name.len().min(LENGTH);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// What tells servers apart, where we may ask.
fn server(session: &mut Session<'_>) -> Result<Option<String>, Stopped> {
    if session.ask("to_json(has_function_privilege('pg_control_system()', 'EXECUTE'))")? {
        return session.ask("SELECT to_json(system_identifier::text) FROM pg_control_system()");
    }
    Ok(None)
}

/// What became of a transaction that a load began.
///
/// # Errors
/// `Database` when the server cannot be asked, does not know, or when the transaction still runs.
pub fn fate(database: &Database, transaction: &TransactionId, monitor: &Monitor) -> Result<Fate> {
    const FAILED: &str =
        "it is not known whether the interrupted restore has replaced the database";
    let mut session = Session::start(database, FAILED, Trust::Authenticated, monitor)?;
    let answer = ask_fate(&mut session, transaction, monitor);
    match answer {
        Ok(fate) => Ok(fate),
        Err(Stopped::Error(Error::Database(reason))) => {
            Err(Error::Database(format!("{FAILED}: {reason}")))
        }
        Err(stopped) => Err(session.why(stopped)),
    }
}

fn ask_fate(
    session: &mut Session<'_>,
    transaction: &TransactionId,
    monitor: &Monitor,
) -> Result<Fate, Stopped> {
    const LOOK: &str =
        "look whether the site's data are those of the backup, and restore again if not";
    let id = transaction.id;
    let here = server(session)?;
    if transaction.server.is_some() && here.is_some() && transaction.server != here {
        return Err(fault(format!(
            "the database server is not the one that it was begun on: {LOOK}"
        )));
    }
    let began = Instant::now();
    loop {
        let status: Option<String> = session.ask(&format!(
            "SELECT to_json(CASE WHEN {id} >= txid_current() THEN 'unknown'
                ELSE txid_status({id}) END)"
        ))?;
        match status.as_deref() {
            Some("committed") => return Ok(Fate::Committed),
            Some("aborted") => return Ok(Fate::Aborted),
            Some("in progress") => {}
            Some(_) => {
                return Err(fault(format!(
                    "the database server does not know its transaction {id}, was it set up anew? {LOOK}"
                )));
            }
            None => {
                return Err(fault(format!(
                    "its transaction {id} is so old that the database server has forgotten it: {LOOK}"
                )));
            }
        }
        if began.elapsed() > FATE_PATIENCE {
            let pid: Option<i64> = session.ask(&format!(
                "SELECT to_json(max(pid)) FROM pg_stat_activity
                 WHERE backend_xid::text::bigint = {id} % 4294967296"
            ))?;
            let pid = pid.map_or_else(|| "…".into(), |pid| pid.to_string());
            return Err(fault(format!(
                "its transaction {id} still runs on the database server: wait until it has ended, or end \
                 it with SELECT pg_terminate_backend({pid})"
            )));
        }
        monitor.check()?;
        std::thread::sleep(Duration::from_millis(200));
    }
}
