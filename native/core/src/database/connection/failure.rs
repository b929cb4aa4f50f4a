//! Errors of a connection in words: what was not done, why, and the server's own words.

use super::{Stopped, is_fatal, shown};
use crate::error::Error;
use crate::site::Database;
use tokio_postgres::error::SqlState;

/// Returns the error for a person: what was not done, why, and the server's own words.
pub(super) fn failure(database: &Database, failed: &str, stopped: Stopped) -> Error {
    let Database {
        host,
        port,
        user,
        dbname,
        ..
    } = database;
    let server = format!("{host}:{port}");
    let (advice, said) = match stopped {
        Stopped::Error(Error::Database(reason)) => {
            return Error::Database(format!("{failed}: {reason}"));
        }
        Stopped::Error(Error::Usage(reason)) => return Error::Usage(format!("{failed}: {reason}")),
        Stopped::Error(Error::Unknowable(reason)) => {
            return Error::Unknowable(format!("{failed}: {reason}"));
        }
        Stopped::Error(error) => return error,
        Stopped::Refused(refused) => {
            let advice = if *refused.code() == SqlState::INVALID_PASSWORD
                || *refused.code() == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            {
                format!("{server} refuses the user or the password of the database: check both")
            } else if *refused.code() == SqlState::INVALID_CATALOG_NAME {
                format!(
                    "there is no database {dbname} on {server}: make it (createdb --owner {user} {dbname})"
                )
            } else if is_fatal(&refused) {
                format!("the database server {server} refuses the connection")
            } else {
                format!("the database server {server} refuses a statement")
            };
            (advice, shown(&refused))
        }
        Stopped::Broken(said) => {
            let advice = if said.contains("password missing") {
                format!("{server} refuses the user or the password of the database: check both")
            } else if said.contains("unsupported authentication method") {
                format!(
                    "{server} asks for a way to log in that zbackup does not have (GSSAPI, SSPI, Kerberos): \
                     give the role a password (scram-sha-256) or a client certificate"
                )
            } else if said.contains("error connecting to server") || said.starts_with("no answer") {
                format!("the database at {server} cannot be reached: is PostgreSQL running there?")
            } else if said.contains("TLS") {
                format!("the database at {server} cannot be reached by TLS")
            } else {
                format!("the connection to the database server {server} broke")
            };
            (advice, said)
        }
    };
    Error::Database(format!("{failed}: {advice}\nthe server said: {said}"))
}
