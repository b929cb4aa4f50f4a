//! The outcome of a transaction whose commit was not answered: the server knows.

use super::connection::{Connection, Stopped, fault};
use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::site::Database;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Maximum wait for a transaction that still runs.
const RUNNING_TIMEOUT: Duration = Duration::from_secs(10);

/// A transaction, and the server that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionId {
    pub(super) id: u64,
    /// The server's system identifier, where the role may ask for it.
    pub(super) server: Option<String>,
}

/// The outcome of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its changes are there.
    Committed,
    /// Nothing has changed.
    Aborted,
}

/// Returns the system identifier of the server, where the role may ask for it.
pub(super) fn server(session: &mut Connection<'_>) -> Result<Option<String>, Stopped> {
    if session.ask("to_json(has_function_privilege('pg_control_system()', 'EXECUTE'))")? {
        return session.ask("SELECT to_json(system_identifier::text) FROM pg_control_system()");
    }
    Ok(None)
}

/// Returns the outcome of a transaction that a load began.
///
/// # Errors
/// `Unknowable` when the server does not know, and never will. `Database` when the server cannot be asked, or when the
/// transaction still runs: then the outcome can be asked for again.
pub fn outcome(
    database: &Database,
    transaction: &TransactionId,
    monitor: &Monitor,
) -> Result<Outcome> {
    const FAILED: &str =
        "it is not known whether the interrupted restore has replaced the database";
    let mut session = Connection::open(database, FAILED, monitor)?;
    ask_outcome(&mut session, transaction, monitor).map_err(|stopped| session.failure(stopped))
}

fn ask_outcome(
    session: &mut Connection<'_>,
    transaction: &TransactionId,
    monitor: &Monitor,
) -> Result<Outcome, Stopped> {
    const LOOK: &str =
        "look whether the site's data are those of the backup, and restore again if not";
    let id = transaction.id;
    let here = server(session)?;
    if transaction.server.is_some() && here.is_some() && transaction.server != here {
        return Err(unknowable(format!(
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
            Some("committed") => return Ok(Outcome::Committed),
            Some("aborted") => return Ok(Outcome::Aborted),
            Some("in progress") => {}
            Some(_) => {
                return Err(unknowable(format!(
                    "the database server does not know its transaction {id}, was it set up anew? {LOOK}"
                )));
            }
            None => {
                return Err(unknowable(format!(
                    "its transaction {id} is so old that the database server has forgotten it: {LOOK}"
                )));
            }
        }
        if began.elapsed() > RUNNING_TIMEOUT {
            let pid: Option<i64> = session.ask(&format!(
                "SELECT to_json(max(pid)) FROM pg_stat_activity
                 WHERE backend_xid::text::bigint = {id} % 4294967296"
            ))?;
            let pid = pid.map_or_else(|| "…".into(), |pid| pid.to_string());
            return Err(fault(format!(
                "its transaction {id} still runs on the database server: wait until it has ended, or end \
                 it with SELECT pg_terminate_backend({pid}), and do this again"
            )));
        }
        monitor.check()?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn unknowable(reason: String) -> Stopped {
    Stopped::Error(Error::Unknowable(reason))
}
