//! The start of a connection: each way that the TLS mode allows, and the settings that come with the request.

use super::{
    CONNECT_TIMEOUT, Connected, IDLE_OPTION, STARTUP_OPTIONS, Shared, Stopped, Waiting, lock,
    shown, whole,
};
use crate::database::pgpass;
use crate::database::tls::{self, Tls};
use crate::error::Result;
use crate::site::Database;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{AsyncMessage, Config, Error as ClientError};

/// Connects, in the ways that the TLS mode allows, as libpq does.
pub(super) fn connect(
    waiting: &mut Waiting<'_>,
    database: &Database,
    tls: &Tls,
) -> Result<Connected, Stopped> {
    let config = config(database)?;
    let is_socket = database.host.starts_with('/');
    let modes: &[SslMode] = if is_socket {
        &[SslMode::Disable]
    } else {
        tls.modes()
    };
    let mut options = STARTUP_OPTIONS.to_owned();
    let mut modes = modes.iter();
    let mut mode = modes.next();
    loop {
        let mut config = config.clone();
        config.ssl_mode(mode.copied().unwrap_or(SslMode::Disable));
        if !options.is_empty() {
            config.options(&options);
        }
        let error = match attempt(waiting, &config, tls)? {
            Ok(connected) => {
                lock(&connected.1).options = options;
                return Ok(connected);
            }
            Err(Some(error)) => error,
            Err(None) if !options.ends_with(IDLE_OPTION) => {
                options += IDLE_OPTION;
                continue;
            }
            Err(None) => return Err(Stopped::Broken("idle-session timeout".into())),
        };
        let code = error.code();
        let refused = error.as_db_error().map_or("", DbError::message);
        if refused.contains("unsupported startup parameter") && !options.is_empty() {
            options.clear(); // a pooler, which has sessions of its own
        } else if (code == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
            || tls::is_tls_error(&error))
            && let Some(next) = modes.next()
        {
            mode = Some(next);
        } else {
            return Err(match error.as_db_error() {
                Some(refused) => Stopped::Refused(Box::new(refused.clone())),
                None => Stopped::Broken(whole(&error)),
            });
        }
    }
}

/// Connects once, and runs a first statement. The error is `None` where an idle timeout of the role struck before that.
fn attempt(
    waiting: &mut Waiting<'_>,
    config: &Config,
    tls: &Tls,
) -> Result<Result<Connected, Option<ClientError>>, Stopped> {
    let connecting = async { timeout(CONNECT_TIMEOUT, config.connect(tls.connector())).await };
    let (client, mut connection) = match waiting.wait(connecting)? {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Ok(Err(Some(error))),
        Err(_) => {
            let seconds = CONNECT_TIMEOUT.as_secs();
            return Err(Stopped::Broken(format!("no answer within {seconds} s")));
        }
    };
    let shared = Arc::new(Mutex::new(Shared::default()));
    lock(&shared).note_parameters(|name| connection.parameter(name));
    let is_since_14 = lock(&shared).major_version() >= 14;
    let listener = shared.clone();
    waiting.runtime()?.spawn(async move {
        loop {
            let message = poll_fn(|context| {
                let polled = connection.poll_message(context);
                lock(&listener).note_parameters(|name| connection.parameter(name));
                polled
            });
            match message.await {
                Some(Ok(AsyncMessage::Notice(notice))) => lock(&listener).note(&notice),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let said = error.as_db_error().map(shown);
                    lock(&listener).ended = Some(said.unwrap_or_else(|| whole(&error)));
                    break;
                }
                None => break,
            }
        }
    });
    // From here on no timeout of the role strikes.
    let first = match is_since_14 {
        true => "SET search_path = pg_catalog, pg_temp; SET idle_session_timeout = 0",
        false => "SET search_path = pg_catalog, pg_temp",
    };
    match waiting.wait(client.batch_execute(first))? {
        Ok(()) => Ok(Ok((client, shared))),
        Err(_) if is_idle_timeout(&shared) => Ok(Err(None)),
        Err(error) => Ok(Err(Some(error))),
    }
}

/// True if the server ended a connection that did nothing for a moment, before the first statement of ours.
fn is_idle_timeout(shared: &Mutex<Shared>) -> bool {
    let code = SqlState::IDLE_SESSION_TIMEOUT;
    let ended = lock(shared).ended.clone();
    ended.is_some_and(|ended| ended.contains(code.code()))
}

fn config(database: &Database) -> Result<Config> {
    let mut config = Config::new();
    for host in database.host.split(',') {
        config.host(host);
    }
    config
        .port(database.port)
        .user(&database.user)
        .dbname(&database.dbname)
        .application_name("zbackup")
        .connect_timeout(CONNECT_TIMEOUT);
    if let Some(password) = pgpass::password(database)? {
        config.password(password.expose());
    }
    Ok(config)
}
