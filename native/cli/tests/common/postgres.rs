//! A PostgreSQL server to play with.

use super::{Ran, Running};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The server that `scripts/with-postgres` started.
pub(crate) struct Postgres {
    pub(crate) host: String,
    pub(crate) port: String,
    user: String,
    pub(crate) password: String,
}

impl Postgres {
    #[track_caller]
    pub(crate) fn here() -> Self {
        assert!(
            std::env::var_os("ZBACKUP_TEST_PG").is_some(),
            "run this through scripts/with-postgres (make test does)"
        );
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("no {name}"));
        Self {
            host: variable("PGHOST"),
            port: variable("PGPORT"),
            user: variable("PGUSER"),
            password: variable("PGPASSWORD"),
        }
    }

    /// A new database with nothing in it, and the role that owns it: as a site has them. They go with the
    /// server.
    pub(crate) fn database(&self) -> Database<'_> {
        self.database_in("UTF8")
    }

    /// The major version of the server.
    pub(crate) fn version(&self) -> u32 {
        let version = self.psql(&self.user, "postgres", "SHOW server_version_num");
        version.good().stdout.trim().parse::<u32>().unwrap() / 10_000
    }

    /// Like [`database`](Self::database), in another encoding.
    pub(crate) fn database_in(&self, encoding: &str) -> Database<'_> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test {} {number}", std::process::id());
        let owner = format!("owner {} {number}", std::process::id());
        let password = &self.password;
        for statement in [
            format!("CREATE ROLE \"{owner}\" LOGIN PASSWORD '{password}'"),
            format!(
                "CREATE DATABASE \"{name}\" OWNER \"{owner}\" ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
            ),
        ] {
            self.psql(&self.user, "postgres", &statement).good();
        }
        // As the manual says: before PostgreSQL 15 it is not the database owner's by itself.
        let public = format!(
            "DO $$ BEGIN IF current_setting('server_version_num')::int < 150000 THEN
                ALTER SCHEMA public OWNER TO \"{owner}\"; END IF; END $$"
        );
        self.psql(&self.user, &name, &public).good();
        Database {
            server: self,
            name,
            owner,
            number,
        }
    }

    fn psql(&self, user: &str, database: &str, sql: &str) -> Ran {
        super::run(
            Command::new("psql")
                .env("PGUSER", user)
                .env("PGCLIENTENCODING", "UTF8")
                .args([
                    "--no-psqlrc",
                    "--quiet",
                    "--tuples-only",
                    "--no-align",
                    "--set=ON_ERROR_STOP=1",
                    "--dbname",
                    database,
                    "--command",
                    sql,
                ]),
        )
    }
}

/// A database of the server.
pub(crate) struct Database<'a> {
    server: &'a Postgres,
    pub(crate) name: String,
    pub(crate) owner: String,
    number: u32,
}

impl Database<'_> {
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        let ran = self.server.psql(&self.owner, &self.name, sql);
        ran.good().stdout
    }

    /// The same as a superuser.
    #[track_caller]
    pub(crate) fn admin(&self, sql: &str) -> String {
        let ran = self.server.psql(&self.server.user, &self.name, sql);
        ran.good().stdout
    }

    /// A new role that may log in with this password, and read what there is.
    pub(crate) fn role(&self, password: &str) -> String {
        let role = format!("role {} {}", std::process::id(), self.number);
        let password = password.replace('\'', "''");
        // Standard strings: a backslash means itself.
        self.admin(&format!(
            "CREATE ROLE \"{role}\" LOGIN SUPERUSER PASSWORD '{password}'"
        ));
        role
    }

    /// The lines of `[database]` in `site.toml`.
    pub(crate) fn settings(&self, schema: &str) -> String {
        self.settings_of(&self.owner, &self.server.password, schema)
    }

    /// Like [`settings`](Self::settings), at another port of this machine.
    pub(crate) fn settings_at(&self, port: u16, schema: &str) -> String {
        let here = format!("port = {}\n", self.server.port);
        self.settings(schema)
            .replace(&here, &format!("port = {port}\n"))
    }

    /// The port of the server.
    pub(crate) fn port(&self) -> &str {
        &self.server.port
    }

    pub(crate) fn settings_of_admin(&self, schema: &str) -> String {
        self.settings_of(&self.server.user, &self.server.password, schema)
    }

    pub(crate) fn settings_of(&self, user: &str, password: &str, schema: &str) -> String {
        let Postgres { host, port, .. } = self.server;
        let [user, password, name, schema] = [user, password, &self.name, schema].map(toml);
        format!(
            "host = \"{host}\"\nport = {port}\nuser = {user}\npassword = {password}\ndbname = {name}\nschema = {schema}\n"
        )
    }

    /// Writes a compressed dump in an encoding, as the site's role makes one.
    #[track_caller]
    pub(crate) fn dump_in(&self, encoding: &str, schema: &str, to: &std::path::Path) {
        let script =
            "pg_dump --no-owner --encoding=\"$1\" --schema=\"$2\" --dbname=\"$3\" | gzip >\"$4\"";
        let mut command = Command::new("bash");
        command
            .args([
                "-euo", "pipefail", "-c", script, "bash", encoding, schema, &self.name,
            ])
            .arg(to)
            .env("PGUSER", &self.owner);
        super::run(&mut command).good();
    }

    /// Loads a compressed dump, as a person would.
    #[track_caller]
    pub(crate) fn load(&self, dump: &std::path::Path) -> Ran {
        let mut command = Command::new("bash");
        command
            .args([
                "-euo",
                "pipefail",
                "-c",
                "gunzip <\"$1\" | psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname \"$2\"",
                "bash",
            ])
            .arg(dump)
            .arg(&self.name)
            .env("PGUSER", &self.owner)
            .stdin(Stdio::null());
        Running::start(&mut command).wait(super::PATIENCE)
    }
}

/// A text as TOML has it.
pub(crate) fn toml(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
