//! A PostgreSQL server to play with, its own tools, and a site's database in it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use zbackup_core::database::{Loaded, Purpose, Trust, load};
use zbackup_core::error::Result;
use zbackup_core::progress::Monitor;
use zbackup_core::secret::Secret;
use zbackup_core::site::Database;

/// A database of the server that `scripts/with-postgres` started. It goes with the server.
pub(crate) struct Db {
    pub(crate) name: String,
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

impl Db {
    #[track_caller]
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        variable("ZBACKUP_TEST_PG");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("load {} {number}", std::process::id());
        let server = Self {
            name: "postgres".into(),
        };
        server.sql(&format!("CREATE DATABASE \"{name}\""));
        Self { name }
    }

    pub(crate) fn psql(&self) -> Command {
        let mut command = Command::new("psql");
        command
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &self.name])
            .env("PGAPPNAME", "tester");
        command
    }

    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        let (is_good, out, said) = ran(&mut self.psql(), sql.as_bytes());
        assert!(is_good, "{sql}: {said}");
        String::from_utf8(out).unwrap().trim().to_owned()
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
            user: variable("PGUSER"),
            password: Some(Secret::new(variable("PGPASSWORD").into_bytes())),
            dbname: self.name.clone(),
            schema: schema.into(),
            pg_dump: "pg_dump".into(),
            psql: None,
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
    load(
        database,
        dump.as_bytes(),
        Trust::Unproven,
        purpose,
        |_| Ok(()),
        || Ok(()),
        &Monitor::silent(),
    )
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
