//! A PostgreSQL server to play with, its own tools, and a site's database in it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use zbackup_core::database::{Loaded, Pending, Purpose, Trust, load};
use zbackup_core::error::{Error, Result};
use zbackup_core::progress::Monitor;
use zbackup_core::secret::Secret;
use zbackup_core::site::Database;

/// A database of the server that `scripts/with-postgres` started, and the role that owns it: as a site has
/// them. They go with the server.
pub(crate) struct Db {
    pub(crate) name: String,
    pub(crate) role: String,
}

#[track_caller]
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("no {name}: run this through scripts/with-postgres"))
}

/// What a program says on both channels, and whether it succeeded.
fn ran(command: &mut Command, input: &[u8]) -> (bool, Vec<u8>, String) {
    let output = super::fed(command, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), output.stdout, said)
}

fn psql(database: &str) -> Command {
    let mut command = Command::new("psql");
    command
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database])
        .env("PGAPPNAME", "tester");
    command
}

#[track_caller]
fn ask(mut psql: Command, sql: &str) -> String {
    let (is_good, out, said) = ran(&mut psql, sql.as_bytes());
    assert!(is_good, "{sql}: {said}");
    String::from_utf8(out).unwrap().trim().to_owned()
}

impl Db {
    #[track_caller]
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        variable("ZBACKUP_TEST_PG");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("load {} {number}", std::process::id());
        let role = format!("Site {} {number}", std::process::id());
        let password = variable("PGPASSWORD");
        let db = Self { name, role };
        for statement in [
            format!("CREATE ROLE \"{}\" LOGIN PASSWORD '{password}'", db.role),
            format!("CREATE DATABASE \"{}\" OWNER \"{}\"", db.name, db.role),
        ] {
            ask(psql("postgres"), &statement);
        }
        if db.server() < 15 {
            // As the manual says: it is not the database owner's by itself.
            db.admin(&format!("ALTER SCHEMA public OWNER TO \"{}\"", db.role));
        }
        db
    }

    pub(crate) fn psql(&self) -> Command {
        let mut command = psql(&self.name);
        command.env("PGUSER", &self.role);
        command
    }

    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        ask(self.psql(), sql)
    }

    /// The same as a superuser.
    #[track_caller]
    pub(crate) fn admin(&self, sql: &str) -> String {
        ask(psql(&self.name), sql)
    }

    /// The major version of the server.
    #[track_caller]
    pub(crate) fn server(&self) -> u32 {
        self.sql("SHOW server_version_num").parse::<u32>().unwrap() / 10_000
    }

    /// A dump by `pg_dump` as we make them, or with other options.
    #[track_caller]
    pub(crate) fn dump_with(&self, options: &[&str]) -> String {
        let mut command = Command::new("pg_dump");
        command.args(options).args(["-d", &self.name]);
        let (is_good, out, said) = ran(&mut command, b"");
        assert!(is_good, "{said}");
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    pub(crate) fn dump(&self, schema: &str) -> String {
        let schema = format!("--schema=\"{}\"", schema.replace('"', "\"\""));
        self.dump_with(&[
            "--no-owner",
            "--no-privileges",
            "--quote-all-identifiers",
            &schema,
        ])
    }

    /// All that is in the database, with owners and privileges.
    #[track_caller]
    pub(crate) fn all(&self) -> String {
        self.dump_with(&[])
            .lines()
            .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub(crate) fn settings(&self, schema: &str) -> Database {
        Database {
            host: variable("PGHOST"),
            port: variable("PGPORT").parse().unwrap(),
            user: self.role.clone(),
            password: Some(Secret::new(variable("PGPASSWORD").into_bytes())),
            dbname: self.name.clone(),
            schema: schema.into(),
            pg_dump: "pg_dump".into(),
            psql: None,
        }
    }

    /// The same with a superuser, to whom the password belongs too.
    pub(crate) fn settings_of_admin(&self, schema: &str) -> Database {
        Database {
            user: variable("PGUSER"),
            ..self.settings(schema)
        }
    }

    pub(crate) fn load(&self, schema: &str, dump: &str, purpose: Purpose) -> Result<Loaded> {
        loads(&self.settings(schema), dump, purpose)
    }

    /// The `psql` of a conversation.
    pub(crate) fn session(&self) -> Talk {
        Talk::start(self)
    }
}

pub(crate) fn loads(database: &Database, dump: &str, purpose: Purpose) -> Result<Loaded> {
    loads_of(database, dump, Trust::Unproven, purpose)
}

pub(crate) fn loads_of(
    database: &Database,
    dump: &str,
    trust: Trust,
    purpose: Purpose,
) -> Result<Loaded> {
    let monitor = Monitor::silent();
    let (pending, _) = load(database, trust, purpose, || Ok(dump.as_bytes()), &monitor)?;
    finish(pending, purpose)
}

/// Ends a transaction as its purpose wants it.
pub(crate) fn finish(pending: Pending<'_>, purpose: Purpose) -> Result<Loaded> {
    match purpose {
        Purpose::Replace => pending.commit(),
        Purpose::Drill => pending.roll_back(),
    }
}

/// Somebody else who is connected.
pub(crate) struct Talk {
    child: std::process::Child,
    answers: std::io::BufReader<std::process::ChildStdout>,
}

impl Talk {
    fn start(db: &Db) -> Self {
        let mut child = db
            .psql()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = std::io::BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    /// Runs statements, and waits until they are done.
    pub(crate) fn run(&mut self, sql: &str) {
        use std::io::BufRead;
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{sql}; SELECT 'so much for that';").unwrap();
        let mut line = String::new();
        while line != "so much for that\n" {
            line.clear();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "{sql}");
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that is a script. Another process writes it: one that this process has open for writing,
/// and a child of another thread inherits, cannot be executed.
pub(crate) fn script(path: PathBuf, text: &str) -> PathBuf {
    let mut command = Command::new("sh");
    command
        .args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(&path);
    assert!(ran(&mut command, text.as_bytes()).0);
    path
}

/// Lines that a restore leaves out or refuses, where they are text.
pub(crate) const BODY: &str = "\nbegin\n  /* it's \"this\"\n\\! touch /nowhere\n\\restrict x\nALTER TABLE t OWNER TO x;\n\
                    GRANT ALL ON t TO x;\n\\.\n COMMIT;\n$a$ $b */\n  return new;\nend ";

/// A site, in a schema of this name.
pub(crate) fn make_site(db: &Db, schema: &str) {
    let name = format!("\"{}\"", schema.replace('"', "\"\""));
    // The body of a function that is SQL, and not text, came with PostgreSQL 14.
    let standard = match db.server() {
        14.. => "BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
        _ => "AS 'SELECT 1; SELECT CASE WHEN true THEN 2 END'",
    };
    db.sql(&format!(
        r#"CREATE SCHEMA IF NOT EXISTS {name}; SET search_path TO {name};
        CREATE TYPE mood AS ENUM ('so', 'so;so');
        CREATE TABLE rsc (id serial PRIMARY KEY, "Title ""1""" text, data bytea, tags text[], mood mood);
        CREATE TABLE edge (id bigserial, subject_id int NOT NULL REFERENCES rsc (id) ON DELETE CASCADE, p text);
        CREATE TABLE "empty one" (x int);
        CREATE INDEX edge_p ON edge (p);
        CREATE VIEW recent AS SELECT id FROM rsc WHERE id > 2;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $body${BODY}$body$;
        CREATE FUNCTION std() RETURNS int LANGUAGE sql {standard};
        CREATE TRIGGER touched BEFORE INSERT ON edge FOR EACH ROW WHEN (false) EXECUTE PROCEDURE touch();
        INSERT INTO rsc ("Title ""1""", data, tags, mood) VALUES
            (E'tab\t lf\n back\\slash \\. \\N', '\x00ff5c2e0a', ARRAY['a,b', NULL], 'so;so'), (E'\\.', NULL, NULL, NULL),
            (E'\n--\n-- PostgreSQL database dump complete\n--\n', '', '{{}}', 'so'), ('日本', NULL, NULL, NULL);
        INSERT INTO edge (subject_id, p) SELECT 1 + n % 4, 'p' || n FROM generate_series(1, 500) n;
        SELECT setval('rsc_id_seq', 4242);"#
    ));
}

#[track_caller]
pub(crate) fn has(error: &Error, words: &[&str]) {
    let said = error.to_string();
    for word in words {
        assert!(said.contains(word), "no \"{word}\" in: {said}");
    }
}

/// A site in the schema `site`, and its dump.
pub(crate) fn site() -> (Db, String) {
    let db = Db::new();
    make_site(&db, "site");
    let dump = db.dump("site");
    (db, dump)
}

/// A role that may log in with this password.
pub(crate) fn role(db: &Db, name: &str) -> String {
    let role = format!("{name} {}", db.name);
    db.admin(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'x'"));
    role
}

pub(crate) fn settings_of(db: &Db, role: &str) -> Database {
    let mut database = db.settings("site");
    database.user = role.into();
    database.password = Some(Secret::new(b"x".to_vec()));
    database
}

/// Loads what is proven as a superuser.
pub(crate) fn load_as_admin(db: &Db, schema: &str, dump: &str) -> Result<Loaded> {
    let database = db.settings_of_admin(schema);
    loads_of(&database, dump, Trust::Authenticated, Purpose::Replace)
}

/// What is in a site after its backup was made.
pub(crate) fn change_site(db: &Db, schema: &str) {
    let name = format!("\"{}\"", schema.replace('"', "\"\""));
    db.sql(&format!(
        "SET search_path TO {name}; DELETE FROM edge WHERE id % 2 = 0; ALTER TABLE rsc ADD later int DEFAULT 7;
         INSERT INTO rsc (mood) VALUES ('so'); CREATE TABLE later AS SELECT 1 AS x; DROP FUNCTION std"
    ));
}

/// A site in the schema `site` that has changed since its dump.
pub(crate) fn changed_site() -> (Db, String) {
    let db = Db::new();
    make_site(&db, "site");
    let dump = db.dump("site");
    change_site(&db, "site");
    (db, dump)
}

pub(crate) fn end(dump: &str) -> usize {
    dump.rfind("--\n-- PostgreSQL database dump complete")
        .unwrap()
}

/// More statements before the end of a dump.
pub(crate) fn with(dump: &str, more: &str) -> String {
    let (start, end) = dump.split_at(end(dump));
    format!("{start}{more}\n{end}")
}
