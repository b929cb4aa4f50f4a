//! What became of the transaction of a load that was interrupted: the server knows.

use super::load::Trust;
use super::session::{Session, Stopped, fault};
use crate::error::{Error, Result};
use crate::progress::Monitor;
use crate::site::Database;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How long the end of a transaction is waited for.
const FATE_PATIENCE: Duration = Duration::from_secs(10);

/// A transaction, and the server that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionId {
    pub(super) id: u64,
    /// Where the server tells.
    pub(super) server: Option<String>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// What it did is there.
    Committed,
    /// It has changed nothing.
    Aborted,
}

/// What tells servers apart, where we may ask.
pub(super) fn server(session: &mut Session<'_>) -> Result<Option<String>, Stopped> {
    if session.ask("to_json(has_function_privilege('pg_control_system()', 'EXECUTE'))")? {
        return session.ask("SELECT to_json(system_identifier::text) FROM pg_control_system()");
    }
    Ok(None)
}

/// What became of a transaction that a load began.
///
/// # Errors
/// `Unknowable` when the server does not know, and never will; `Database` when it cannot be asked, or when the
/// transaction still runs: then somebody can tell later.
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
        Err(Stopped::Error(Error::Unknowable(reason))) => {
            Err(Error::Unknowable(format!("{FAILED}: {reason}")))
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
            Some("committed") => return Ok(Fate::Committed),
            Some("aborted") => return Ok(Fate::Aborted),
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
        if began.elapsed() > FATE_PATIENCE {
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
