//! A load that is cut short, and a `psql` that is not as it should be: nothing has changed, or the server knows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::postgres::{Db, changed_site as site, has, loads, script, with};
use common::{Scratch, until};
use std::io::{self, Read};
use std::time::{Duration, Instant};
use zbackup_core::database::{Fate, Purpose, TransactionId, Trust, fate, load};
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
) -> (Result<(), Error>, TransactionId) {
    let mut id = None;
    let dump = Midway {
        dump: dump.as_bytes(),
        at,
        then,
    };
    let began = |begun| {
        id = Some(begun);
        Ok(())
    };
    let result = load(
        database,
        dump,
        Trust::Unproven,
        Purpose::Replace,
        began,
        || Ok(()),
        monitor,
    );
    (result.map(|_| ()), id.unwrap())
}

#[test]
fn a_connection_that_breaks_changes_nothing() {
    let (db, dump) = site();
    let before = db.all();
    let scratch = Scratch::new();
    let mut database = db.settings("site");
    let silent = Monitor::silent();
    let backends = format!(
        "FROM pg_stat_activity WHERE application_name = 'zbackup' AND datname = '{}'",
        db.name
    );
    let terminate = || {
        db.sql(&format!("SELECT pg_terminate_backend(pid) {backends}"));
    };
    for at in [0, dump.len() / 2, dump.len() - 1] {
        let (result, id) = load_with(&database, &dump, at, terminate, &silent);
        has(
            &result.unwrap_err(),
            &[
                "the connection to the database server",
                "broke",
                "is as it was",
            ],
        );
        assert_eq!(fate(&database, &id, &silent).unwrap(), Fate::Aborted);
        assert!(db.all() == before);
    }
    // psql itself.
    let pid = scratch.join("pid");
    let psql = format!(
        "#!/bin/sh\necho $$ >'{}'; exec psql \"$@\"\n",
        pid.display()
    );
    database.psql = Some(script(scratch.join("psql"), &psql));
    let kill = || {
        let pid = std::fs::read_to_string(&pid).unwrap();
        assert!(
            std::process::Command::new("kill")
                .args(["-9", pid.trim()])
                .status()
                .unwrap()
                .success()
        );
    };
    for at in [0, dump.len() - 1] {
        let (result, id) = load_with(&database, &dump, at, kill, &silent);
        has(&result.unwrap_err(), &["killed by signal 9"]);
        assert_eq!(fate(&database, &id, &silent).unwrap(), Fate::Aborted);
        assert!(db.all() == before);
    }
    // Also when psql is in the middle of a long statement.
    let cancel = Cancel::default();
    let monitor = Monitor::new(std::sync::Arc::new(NoProgress), cancel.clone());
    let slow = with(
        &dump,
        "INSERT INTO site.rsc (\"Title \"\"1\"\"\") SELECT pg_sleep(1000)::text;",
    );
    let database = db.settings("site");
    let (took, id) = std::thread::scope(|scope| {
        let (sender, cancelled) = std::sync::mpsc::channel();
        let is_in_it = format!("SELECT count(*) {backends} AND wait_event = 'PgSleep'");
        let db = &db;
        scope.spawn(move || {
            until("the statement runs", || db.sql(&is_in_it) == "1");
            sender.send(Instant::now()).unwrap();
            cancel.cancel();
        });
        let (result, id) = load_with(&database, &slow, usize::MAX, || (), &monitor);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
        (cancelled.recv().unwrap().elapsed(), id)
    });
    assert!(took < Duration::from_secs(10), "{took:?}");
    // The server notices that nobody listens, and stops.
    assert_eq!(fate(&database, &id, &silent).unwrap(), Fate::Aborted);
    let count = format!("SELECT count(*) {backends}");
    until("all of them are gone", || db.sql(&count) == "0");
    assert!(db.all() == before);
}

#[test]
fn nothing_is_changed_before_its_start_is_written_down_and_the_backup_is_proven() {
    let (db, dump) = site();
    let before = db.all();
    let database = db.settings("site");
    let silent = Monitor::silent();
    let refuse = || Err(Error::Usage("no".into()));
    let result = load(
        &database,
        dump.as_bytes(),
        Trust::Unproven,
        Purpose::Replace,
        |_| refuse(),
        || Ok(()),
        &silent,
    );
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Usage);
    let result = load(
        &database,
        dump.as_bytes(),
        Trust::Unproven,
        Purpose::Replace,
        |_| Ok(()),
        refuse,
        &silent,
    );
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Usage);
    assert!(db.all() == before);
    // A dump that cannot be read to its end.
    let broken = dump.as_bytes()[..2000].chain(Failing);
    let result = load(
        &database,
        broken,
        Trust::Unproven,
        Purpose::Replace,
        |_| Ok(()),
        || Ok(()),
        &silent,
    );
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Damaged);
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

#[test]
fn an_end_that_is_not_heard_of_is_undecided_and_the_server_knows() {
    let scratch = Scratch::new();
    for (name, until, fated) in [
        ("before", "/^COMMIT;$/ { s/.*//; q }", Fate::Aborted),
        ("after", "/^COMMIT;$/ q", Fate::Committed),
    ] {
        let (db, dump) = site();
        let before = db.all();
        let mut database = db.settings("site");
        let psql = format!("#!/bin/bash\nexec psql \"$@\" < <(exec sed -u '{until}')\n");
        database.psql = Some(script(scratch.join(name), &psql));
        let (result, id) = load_with(&database, &dump, usize::MAX, || (), &Monitor::silent());
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Undecided(_)), "{error:?}");
        // It is written down meanwhile.
        let id = serde_json::from_str(&serde_json::to_string(&id).unwrap()).unwrap();
        database.psql = None;
        assert_eq!(fate(&database, &id, &Monitor::silent()).unwrap(), fated);
        assert_eq!(db.all() == before, fated == Fate::Aborted);
    }
}

#[test]
fn an_answer_without_end_is_not_waited_for() {
    let scratch = Scratch::new();
    let db = Db::new();
    let mut database = db.settings("site");
    let psql = r#"#!/bin/bash
while read -r line; do
    token=${line#*"SELECT 'z"}
    [ "$token" = "$line" ] || { printf z%s "${token%%\'*}"; head -c 20M /dev/zero | tr '\0' 1; echo; }
done
"#;
    database.psql = Some(script(scratch.join("psql"), psql));
    let cancel = Cancel::default();
    let monitor = Monitor::new(std::sync::Arc::new(NoProgress), cancel.clone());
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(120));
        cancel.cancel();
    });
    let id = serde_json::from_str(r#"{"id":100,"server":null}"#).unwrap();
    let error = fate(&database, &id, &monitor).unwrap_err();
    has(&error, &["psql", "more than 16 MiB"]);
}

#[test]
fn a_fate_that_the_server_does_not_know_is_not_guessed() {
    let db = Db::new();
    let database = db.settings("site");
    let server = db.sql("SELECT system_identifier FROM pg_control_system()");
    let ask = |id: &str, server: &str| {
        let id = serde_json::from_str(&format!("{{\"id\":{id},\"server\":\"{server}\"}}")).unwrap();
        fate(&database, &id, &Monitor::silent())
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
    assert_eq!(ask(&id, &server).unwrap(), Fate::Committed);
    let mut away = db.settings("site");
    away.port = 1;
    let id = serde_json::from_str(&format!("{{\"id\":{id},\"server\":\"{server}\"}}")).unwrap();
    let error = fate(&away, &id, &Monitor::silent()).unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    has(&error, &["not known", "cannot be reached"]);
}

#[test]
fn an_old_psql_loads_only_what_is_authenticated() {
    let (db, dump) = site();
    let scratch = Scratch::new();
    let before = db.all();
    let mut database = db.settings("site");
    let psql = "#!/bin/bash\nread -r line\ncase $line in '\\restrict '*)\necho 'psql:<stdin>:1: error: invalid command \\restrict' >&2; exit 3 ;; esac\n\
                exec psql \"$@\" < <(printf '%s\\n' \"$line\"; exec cat)\n";
    database.psql = Some(script(scratch.join("psql"), psql));
    let error = loads(&database, &dump, Purpose::Replace).unwrap_err();
    has(
        &error,
        &[
            "psql is too old",
            "15.14",
            "setting psql",
            "invalid command",
        ],
    );
    assert!(db.all() == before);
    let authenticated = |dump: &str| {
        let silent = Monitor::silent();
        load(
            &database,
            dump.as_bytes(),
            Trust::Authenticated,
            Purpose::Replace,
            |_| Ok(()),
            || Ok(()),
            &silent,
        )
    };
    authenticated(&with(&dump, "\\! x")).unwrap_err();
    assert!(db.all() == before);
    authenticated(&dump).unwrap();
    assert!(db.all() != before);
}

#[test]
fn psql_is_the_one_beside_pg_dump_or_the_one_that_is_named() {
    let (db, dump) = site();
    let scratch = Scratch::new();
    let marks = |name: &str| {
        let text = format!(
            "#!/bin/sh\n: >'{}'\nexec psql \"$@\"\n",
            scratch.join(format!("{name} ran")).display()
        );
        script(scratch.join(name), &text)
    };
    marks("psql");
    let ran = |name: &str| std::fs::remove_file(scratch.join(format!("{name} ran"))).is_ok();
    let mut database = db.settings("site");
    loads(&database, &dump, Purpose::Drill).unwrap();
    assert!(!ran("psql"));
    database.pg_dump = scratch.join("pg_dump");
    loads(&database, &dump, Purpose::Drill).unwrap();
    assert!(ran("psql"));
    database.psql = Some(marks("other"));
    loads(&database, &dump, Purpose::Drill).unwrap();
    assert!(ran("other") && !ran("psql"));
    // In a site.toml it may be relative to that.
    let toml = scratch.file(
        "site.toml",
        b"site = 's'\nbackup_dir = 'b'\n[database]\nuser = 'u'\ndbname = 'd'\npsql = './psql'\n",
    );
    let site = zbackup_core::site::Site::from_file(&toml).unwrap();
    assert_eq!(site.database.unwrap().psql.unwrap(), scratch.join("psql"));
}
