//! A connection to the site's database, by PostgreSQL's protocol.
//!
//! The settings of a session are ours before anything is looked up, whatever the role, the database or the environment
//! say (CVE-2018-1058). An answer is a value of the protocol, which no SQL can forge. Every wait ends when the job is
//! cancelled, also for a server that is silent: that is why the asynchronous client is driven here, and not by the
//! crate `postgres`, whose calls cannot be left.

mod connect;
mod failure;

use super::dump_filter::Refused;
use super::tls::Tls;
use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::site::Database;
use bytes::Bytes;
use connect::connect;
use failure::failure;
use futures_util::SinkExt;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::error::DbError;
use tokio_postgres::{CancelToken, Client, CopyInSink, Error as ClientError};

/// Settings that come with the connection: a timeout of the role could otherwise strike before the first statement.
/// The servers since PostgreSQL 10 know all of them.
pub(super) const STARTUP_OPTIONS: &str = "-c search_path=pg_catalog,pg_temp -c standard_conforming_strings=on \
    -c client_min_messages=warning -c default_transaction_read_only=off -c statement_timeout=0 \
    -c lock_timeout=30s -c idle_in_transaction_session_timeout=0 -c default_transaction_isolation=read\\ committed";
/// One more, for servers since PostgreSQL 14.
const IDLE_OPTION: &str = " -c idle_session_timeout=0";
/// Settings that a dump, its functions, the role or the database may have changed. Plain `SET`s: nothing in them is
/// looked up by a search_path.
const SETTINGS: &str = "SET search_path = pg_catalog, pg_temp;
    SET standard_conforming_strings = on;
    SET client_encoding = 'UTF8';
    SET client_min_messages = warning;
    SET synchronous_commit = on;
    SET default_transaction_read_only = off;
    SET statement_timeout = 0;
    SET lock_timeout = '30s';
    SET idle_in_transaction_session_timeout = 0;
    SET datestyle = 'ISO, MDY';
    SET intervalstyle = postgres;
    SET array_nulls = on;
    SET transform_null_equals = off;
    SET SESSION AUTHORIZATION DEFAULT;
    SET ROLE NONE";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum wait for the server to take a cancel request.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval at which a wait checks whether the job was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);
/// Maximum number of warnings of the server that are kept.
const MAX_NOTICES: usize = 100;

/// Why the work on a connection stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// A reason of ours.
    Error(Error),
    /// The server refused a statement.
    Refused(Box<DbError>),
    /// The connection broke; what is known of why.
    Broken(String),
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::Error(refused.into())
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Rows on their way into a table. Dropping it aborts the `COPY`.
pub(super) type CopyRows = Pin<Box<CopyInSink<Bytes>>>;

/// A connection. Dropping it closes it, and the server rolls back what was not committed.
pub(crate) struct Connection<'a> {
    database: &'a Database,
    client: Client,
    shared: Arc<Mutex<Shared>>,
    cancel_token: CancelToken,
    tls: Tls,
    /// The start of a message: what was not done.
    failed: &'static str,
    waiting: Waiting<'a>,
}

/// State that the task which reads from the server shares with the connection.
#[derive(Default)]
struct Shared {
    notices: Vec<String>,
    /// Why the connection ended.
    ended: Option<String>,
    is_strings_standard: bool,
    server_version: String,
    server_encoding: String,
    /// Settings that came with the connection. A pooler takes none.
    options: String,
}

impl Shared {
    fn note_parameters<'a>(&mut self, parameter: impl Fn(&str) -> Option<&'a str>) {
        self.is_strings_standard = parameter("standard_conforming_strings") == Some("on");
        if self.server_version.is_empty() {
            let known = |name| parameter(name).unwrap_or_default().to_owned();
            self.server_version = known("server_version");
            self.server_encoding = known("server_encoding");
        }
    }

    fn major_version(&self) -> u32 {
        let digits = self.server_version.split(|c: char| !c.is_ascii_digit());
        let major = digits.into_iter().next();
        major.and_then(|major| major.parse().ok()).unwrap_or(0)
    }

    fn note(&mut self, notice: &DbError) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(shown(notice));
        }
    }
}

impl<'a> Connection<'a> {
    /// Connects, and makes the settings of the session ours.
    ///
    /// # Errors
    /// `Database`, beginning with `failed`, when the server cannot be reached or refuses; `Usage` for what a setting
    /// of the environment asks for and this client does not have; `Cancelled`.
    pub(crate) fn open(
        database: &'a Database,
        failed: &'static str,
        monitor: &'a Monitor,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Internal(format!("a runtime for the connection: {error}")))?;
        let mut waiting = Waiting {
            runtime: Some(runtime),
            monitor,
            grace: Duration::ZERO,
            cancelled: None,
        };
        let opened = Tls::from_environment()
            .map_err(Stopped::from)
            .and_then(|tls| Ok((connect(&mut waiting, database, &tls)?, tls)));
        let ((client, shared), tls) =
            opened.map_err(|stopped| failure(database, failed, stopped))?;
        let mut connection = Self {
            database,
            cancel_token: client.cancel_token(),
            client,
            shared,
            tls,
            failed,
            waiting,
        };
        match connection.prepare() {
            Ok(()) => Ok(connection),
            Err(stopped) => Err(connection.failure(stopped)),
        }
    }

    fn prepare(&mut self) -> Result<(), Stopped> {
        self.settings()?;
        for (since, setting) in [
            (14, "SET idle_session_timeout = 0"),
            (17, "SET transaction_timeout = 0"),
        ] {
            if self.server_version() >= since {
                self.run(setting)?;
            }
        }
        // A server that sees that nobody is there stops a long statement. Not every system can tell.
        match self.run("SET client_connection_check_interval = '1s'") {
            Err(Stopped::Refused(_)) | Ok(()) => Ok(()),
            Err(stopped) => Err(stopped),
        }
    }

    /// Makes the settings of the session ours, after whatever ran.
    pub(super) fn settings(&mut self) -> Result<(), Stopped> {
        let done = self.waiting.wait(self.client.batch_execute(SETTINGS));
        self.checked(done)
    }

    /// Major version of the server.
    pub(super) fn server_version(&self) -> u32 {
        self.shared().major_version()
    }

    /// Returns the settings that another session on this server is to begin with, as `PGOPTIONS` has them.
    pub(super) fn options(&self) -> String {
        let options = self.shared().options.clone();
        let is_wanted = self.server_version() >= 14 && !options.is_empty();
        match is_wanted && !options.ends_with(IDLE_OPTION) {
            true => options + IDLE_OPTION,
            false => options,
        }
    }

    /// Encoding of the database, as PostgreSQL names it.
    pub(super) fn server_encoding(&self) -> String {
        self.shared().server_encoding.clone()
    }

    /// True if the server reads strings as standard SQL does. The server reports each change.
    pub(super) fn is_strings_standard(&self) -> bool {
        self.shared().is_strings_standard
    }

    /// Runs one statement; the server refuses two.
    pub(crate) fn run(&mut self, statement: &str) -> Result<(), Stopped> {
        let done = self.waiting.wait(self.client.execute_typed(statement, &[]));
        self.checked(done).map(|_| ())
    }

    /// Runs a block of PL/pgSQL.
    pub(super) fn block(&mut self, body: &str) -> Result<(), Stopped> {
        // Nobody can guess the end of the text.
        let end = random()?;
        self.run(&format!("DO LANGUAGE plpgsql $z{end}$ {body} $z{end}$"))
    }

    /// Asks for a value: an expression of type `json`, or a query for one.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, json: &str) -> Result<T, Stopped> {
        self.ask_with("", json)
    }

    /// Like [`ask`](Self::ask), after the `WITH` of the query.
    pub(crate) fn ask_with<T: DeserializeOwned>(
        &mut self,
        with: &str,
        json: &str,
    ) -> Result<T, Stopped> {
        let query = format!("{with} SELECT ({json})::pg_catalog.text");
        let done = self.waiting.wait(self.client.query_typed(&query, &[]));
        let rows = self.checked(done)?;
        let unexpected = |error: &dyn std::fmt::Display| {
            Stopped::from(Error::Internal(format!("an answer of the server: {error}")))
        };
        let answer: Option<String> = match rows.first() {
            Some(row) => row.try_get(0).map_err(|error| unexpected(&error))?,
            None => None,
        };
        serde_json::from_str(answer.as_deref().unwrap_or("null"))
            .map_err(|error| unexpected(&error))
    }

    /// Starts a `COPY … FROM stdin`.
    pub(super) fn copy_in(&mut self, statement: &str) -> Result<CopyRows, Stopped> {
        let done = self.waiting.wait(self.client.copy_in(statement));
        self.checked(done).map(Box::pin)
    }

    /// Sends rows of a `COPY`.
    pub(super) fn send_rows(&mut self, rows: &mut CopyRows, block: Bytes) -> Result<(), Stopped> {
        let done = self.waiting.wait(rows.send(block));
        self.checked(done)
    }

    /// Ends a `COPY`, and waits until the server has taken all rows.
    pub(super) fn finish_rows(&mut self, mut rows: CopyRows) -> Result<(), Stopped> {
        let done = self.waiting.wait(rows.as_mut().finish());
        self.checked(done).map(|_| ())
    }

    /// Lets a cancelled job wait so long for the statements that follow.
    pub(super) fn set_grace(&mut self, grace: Duration) {
        self.waiting.grace = grace;
    }

    /// Takes the warnings of the server so far.
    pub(super) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.shared().notices)
    }

    /// Returns the error for a person.
    pub(crate) fn failure(&self, stopped: Stopped) -> Error {
        failure(self.database, self.failed, stopped)
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Adds what else is known to an error of the client. A cancelled job has its statement cancelled.
    fn checked<T>(&self, done: Result<Result<T, ClientError>>) -> Result<T, Stopped> {
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.stopped(&error)),
            Err(error) => {
                // The server may be what hangs: nobody waits for it for long.
                let cancel = self.cancel_token.cancel_query(self.tls.connector());
                let waited = async { timeout(CANCEL_TIMEOUT, cancel).await };
                let _ = self
                    .waiting
                    .runtime()
                    .map(|runtime| runtime.block_on(waited));
                Err(error.into())
            }
        }
    }

    fn stopped(&self, error: &ClientError) -> Stopped {
        match error.as_db_error() {
            Some(refused) if !is_fatal(refused) => Stopped::Refused(Box::new(refused.clone())),
            Some(fatal) => Stopped::Broken(shown(fatal)),
            None => {
                let ended = self.shared().ended.clone();
                Stopped::Broken(ended.unwrap_or_else(|| whole(error)))
            }
        }
    }
}

/// Waits in the thread of the job, until it is cancelled.
struct Waiting<'a> {
    /// There until the end.
    runtime: Option<Runtime>,
    monitor: &'a Monitor,
    /// How long a wait goes on after the job was cancelled, and when that was seen.
    grace: Duration,
    cancelled: Option<Instant>,
}

/// A name that is being looked up is not waited for.
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Waiting<'_> {
    fn runtime(&self) -> Result<&Runtime> {
        let ended = || Error::Internal("a wait after the end of a connection".into());
        self.runtime.as_ref().ok_or_else(ended)
    }

    fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<T> {
        let mut cancelled = self.cancelled;
        let (monitor, grace) = (self.monitor, self.grace);
        let done = self.runtime()?.block_on(async {
            let mut future = pin!(future);
            loop {
                if let Ok(done) = timeout(CANCEL_POLL, future.as_mut()).await {
                    return Ok(done);
                }
                if let Err(error) = monitor.check()
                    && cancelled.get_or_insert_with(Instant::now).elapsed() >= grace
                {
                    return Err(error);
                }
            }
        });
        self.cancelled = cancelled;
        done
    }
}

type Connected = (Client, Arc<Mutex<Shared>>);

fn is_fatal(error: &DbError) -> bool {
    matches!(error.severity(), "FATAL" | "PANIC")
        || matches!(
            error.parsed_severity(),
            Some(tokio_postgres::error::Severity::Fatal | tokio_postgres::error::Severity::Panic)
        )
}

/// Returns a message of the server as `psql` shows it, with its SQLSTATE.
pub(super) fn shown(error: &DbError) -> String {
    let mut text = format!(
        "{} {}: {}",
        error.severity(),
        error.code().code(),
        error.message()
    );
    for (name, more) in [
        ("DETAIL", error.detail()),
        ("HINT", error.hint()),
        ("CONTEXT", error.where_()),
    ] {
        if let Some(more) = more {
            text += &format!("\n{name}: {more}");
        }
    }
    text
}

/// Returns an error with its causes.
fn whole(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn fault(reason: impl Into<String>) -> Stopped {
    Stopped::Error(Error::Database(reason.into()))
}

/// Returns 16 random bytes in hexadecimal.
pub(super) fn random() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Internal(format!("no random numbers: {error}")))?;
    Ok(hex::encode(bytes))
}

/// Quotes a name for SQL.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text for SQL, where a backslash means itself.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
