//! A load that is cut short: nothing has changed, or the server knows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::postgres::{Db, changed_site as site, has, loads, with};
use common::until;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zbackup_core::database::{Outcome, Purpose, TransactionId, Trust, load, outcome};
use zbackup_core::error::{Error, ErrorKind};
use zbackup_core::progress::{Cancel, Monitor, NoProgress};
use zbackup_core::site::Database;

/// A dump, in the middle of which something happens.
struct Midway<'a, F: FnMut()> {
    dump: &'a [u8],
    at: usize,
    then: F,
}

impl<F: FnMut()> Read for Midway<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(1000).min(self.dump.len());
        buffer[..count].copy_from_slice(&self.dump[..count]);
        self.dump = &self.dump[count..];
        if self.at < count {
            (self.then)();
            self.at = usize::MAX;
        } else {
            self.at = self.at.saturating_sub(count);
        }
        Ok(count)
    }
}

fn load_with(
    database: &Database,
    dump: &str,
    at: usize,
    then: impl FnMut(),
    monitor: &Monitor,
) -> (Result<(), Error>, Option<TransactionId>) {
    let mut dump = Some(Midway {
        dump: dump.as_bytes(),
        at,
        then,
    });
    let open = || Ok(dump.take().expect("it is loaded once"));
    match load(database, Trust::Unproven, Purpose::Replace, open, monitor) {
        Ok((pending, _)) => {
            let id = pending.id().clone();
            (pending.commit().map(|_| ()), Some(id))
        }
        Err(error) => (Err(error), None),
    }
}

#[test]
fn a_connection_that_breaks_changes_nothing() {
    let (db, dump) = site();
    let before = db.all();
    let database = db.settings("site");
    let silent = Monitor::silent();
    let backends = format!(
        "FROM pg_stat_activity WHERE application_name = 'zbackup' AND datname = '{}'",
        db.name
    );
    let terminate = || {
        db.sql(&format!("SELECT pg_terminate_backend(pid) {backends}"));
    };
    for at in [0, dump.len() / 2, dump.len() - 1] {
        let (result, _) = load_with(&database, &dump, at, terminate, &silent);
        has(
            &result.unwrap_err(),
            &[
                "the connection to the database server",
                "broke",
                "terminating connection",
                "is as it was",
            ],
        );
        assert!(db.all() == before);
    }
    // Between the load and its end.
    let open = || Ok(dump.as_bytes());
    let (pending, _) = load(&database, Trust::Unproven, Purpose::Replace, open, &silent).unwrap();
    let id = pending.id().clone();
    terminate();
    has(&pending.commit().unwrap_err(), &["broke", "is as it was"]);
    assert_eq!(outcome(&database, &id, &silent).unwrap(), Outcome::Aborted);
    assert!(db.all() == before);
}

/// Also when the server is in the middle of a long statement.
#[test]
fn a_cancelled_load_ends_at_once() {
    let (db, dump) = site();
    let before = db.all();
    let backends = format!(
        "FROM pg_stat_activity WHERE application_name = 'zbackup' AND datname = '{}'",
        db.name
    );
    let cancel = Cancel::default();
    let monitor = Monitor::new(std::sync::Arc::new(NoProgress), cancel.clone());
    let slow = with(
        &dump,
        "CREATE MATERIALIZED VIEW site.slow AS SELECT pg_catalog.pg_sleep(1000)::text WITH NO DATA;
         REFRESH MATERIALIZED VIEW site.slow;",
    );
    let database = db.settings("site");
    let took = std::thread::scope(|scope| {
        let (sender, cancelled) = std::sync::mpsc::channel();
        let is_in_it = format!("SELECT count(*) {backends} AND wait_event = 'PgSleep'");
        let db = &db;
        scope.spawn(move || {
            until("the statement runs", || db.sql(&is_in_it) == "1");
            sender.send(Instant::now()).unwrap();
            cancel.cancel();
        });
        let (result, _) = load_with(&database, &slow, usize::MAX, || (), &monitor);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
        cancelled.recv().unwrap().elapsed()
    });
    assert!(took < Duration::from_secs(10), "{took:?}");
    let count = format!("SELECT count(*) {backends}");
    until("all of them are gone", || db.sql(&count) == "0");
    assert!(db.all() == before);
}

#[test]
fn nothing_is_final_before_the_commit() {
    let (db, dump) = site();
    let before = db.all();
    let database = db.settings("site");
    let silent = Monitor::silent();
    // Somebody could not write it down, or verify the backup.
    let open = || Ok(dump.as_bytes());
    drop(load(&database, Trust::Unproven, Purpose::Replace, open, &silent).unwrap());
    assert!(db.all() == before);
    // A dump that cannot be read to its end.
    let open = || Ok(dump.as_bytes()[..2000].chain(Failing));
    let error = load(&database, Trust::Unproven, Purpose::Replace, open, &silent)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(db.all() == before);
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(Error::Damaged {
            path: "x".into(),
            reason: "a bit".into(),
        }
        .into())
    }
}

/// Stands between a client and the server, and cuts the connection at its `COMMIT`: before the server hears of it, or
/// before the client hears the answer.
fn cut_at_commit(server: u16, is_heard: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let is_cut = Arc::new(AtomicBool::new(false));
        let is_silent = is_cut.clone();
        let answering = std::thread::spawn(move || {
            let mut block = [0; 1 << 16];
            while let Ok(count @ 1..) = answers.read(&mut block) {
                if is_silent.load(Ordering::SeqCst) {
                    return; // the server has done what it was told
                }
                if back.write_all(&block[..count]).is_err() {
                    return;
                }
            }
        });
        let mut block = [0; 1 << 16];
        while let Ok(count @ 1..) = client.read(&mut block) {
            if block[..count].windows(7).any(|part| part == b"COMMIT\0") {
                is_cut.store(true, Ordering::SeqCst);
                if is_heard {
                    server.write_all(&block[..count]).unwrap();
                    answering.join().unwrap();
                }
                break;
            }
            if server.write_all(&block[..count]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    });
    port
}

#[test]
fn a_commit_that_is_not_answered_is_undecided_and_the_server_knows() {
    for (is_heard, wanted) in [(false, Outcome::Aborted), (true, Outcome::Committed)] {
        let (db, dump) = site();
        let before = db.all();
        let database = db.settings("site");
        let mut cut = database.clone();
        cut.port = cut_at_commit(database.port, is_heard);
        let (result, id) = load_with(&cut, &dump, usize::MAX, || (), &Monitor::silent());
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Undecided(_)), "{error:?}");
        // It is written down meanwhile.
        let id = serde_json::from_str(&serde_json::to_string(&id).unwrap()).unwrap();
        assert_eq!(outcome(&database, &id, &Monitor::silent()).unwrap(), wanted);
        assert_eq!(db.all() == before, wanted == Outcome::Aborted);
    }
}

/// A trigger that is deferred strikes at the commit: that is an answer.
#[test]
fn a_commit_that_is_refused_leaves_the_old_site() {
    let (db, _) = site();
    db.sql("CREATE FUNCTION site.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$");
    let dump = with(
        &db.dump("site"),
        "CREATE TABLE site.late (x int);
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON site.late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
             EXECUTE FUNCTION site.no();
         INSERT INTO site.late VALUES (1);",
    );
    let before = db.all();
    let error = db.load("site", &dump, Purpose::Replace).unwrap_err();
    has(&error, &["not today", "is as it was"]);
    assert!(db.all() == before);
}

#[test]
fn an_outcome_that_the_server_does_not_know_is_not_guessed() {
    let db = Db::new();
    let database = db.settings("site");
    let server = db.sql("SELECT system_identifier FROM pg_control_system()");
    let ask = |id: &str, server: &str| {
        let id = serde_json::from_str(&format!("{{\"id\":{id},\"server\":\"{server}\"}}")).unwrap();
        outcome(&database, &id, &Monitor::silent())
    };
    for (id, server, words) in [
        ("123456789", &*server, "does not know"),
        ("100", "77", "not the one"),
    ] {
        let error = ask(id, server).unwrap_err();
        assert!(matches!(error, Error::Unknowable(_)), "{error:?}");
        has(&error, &[words, "restore again"]);
    }
    let mut session = db.session();
    session.run("BEGIN; CREATE TABLE x AS SELECT txid_current() AS id");
    let id = db.sql("SELECT backend_xid FROM pg_stat_activity WHERE application_name = 'tester' AND state LIKE 'idle in%' AND datname = current_database()");
    let pid = db.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'tester' AND state LIKE 'idle in%' AND datname = current_database()");
    // There it will be known, and so it is where nobody answers now.
    let error = ask(&id, &server).unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    has(
        &error,
        &["still runs", &format!("pg_terminate_backend({pid})")],
    );
    session.run("COMMIT");
    assert_eq!(ask(&id, &server).unwrap(), Outcome::Committed);
    let mut away = db.settings("site");
    away.port = 1;
    let id = serde_json::from_str(&format!("{{\"id\":{id},\"server\":\"{server}\"}}")).unwrap();
    let error = outcome(&away, &id, &Monitor::silent()).unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    has(&error, &["not known", "cannot be reached"]);
}

/// It was the command that loaded dumps.
#[test]
fn the_setting_psql_is_taken_and_ignored() {
    let (db, dump) = site();
    let mut database = db.settings("site");
    database.psql = Some("/nowhere/psql".into());
    loads(&database, &dump, Purpose::Drill).unwrap();
}
