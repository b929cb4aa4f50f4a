//! When a nightly backup is due given the backups that are there, what a new backup removes, what is
//! proven before it replaces anything, and what is remembered beside the list.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::Scratch;
use common::postgres::script;
use common::site::{OPTIONS, backup, site};
use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use zbackup_core::backup::{self, Options};
use zbackup_core::catalog::{Failure, LastRestore, Status};
use zbackup_core::error::ErrorKind;
use zbackup_core::nightly::{self, Nightly};
use zbackup_core::progress::{Monitor, Phase};
use zbackup_core::schedule::TimeOfDay;
use zbackup_core::site::Database;
use zbackup_core::{list, verify};

const WEEK: i64 = 7 * 24 * 3600;

// Due ----------------------------------------------------------------------------------------------

fn looked(folder: &Path, with_files: bool, now: &str) -> Nightly {
    let now = now.parse().unwrap();
    nightly::run(
        folder,
        with_files,
        TimeOfDay::default(),
        &TimeZone::UTC,
        now,
    )
    .unwrap()
}

fn is_due(folder: &Path, with_files: bool, now: &str) -> bool {
    looked(folder, with_files, now).due.is_some()
}

fn seconds(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_second()
}

/// A folder with the files of backups of which only the list says when they were made.
fn folder(entries: Value) -> Scratch {
    let scratch = Scratch::new();
    for entry in entries.as_object().unwrap().values() {
        for key in ["database", "files"] {
            if let Some(file) = entry[key].as_str() {
                scratch.file(file, b"x");
            }
        }
    }
    scratch.file("backup.json", entries.to_string().as_bytes());
    scratch
}

#[test]
fn due_until_there_is_a_backup_of_the_night() {
    let night = seconds("2026-11-24T03:05:00Z");
    let one = folder(json!({"s-3": {"timestamp": night, "database": "s-3.sql.gz"}}));
    let at = looked(one.path(), false, "2026-11-24T12:00:00Z");
    assert_eq!((at.due, at.last_good), (None, Some(night)));
    assert_eq!(at.next.at.as_second(), seconds("2026-11-25T03:00:00Z"));
    assert!(!is_due(one.path(), false, "2026-11-25T02:59:59Z"));
    let due = looked(one.path(), false, "2026-11-25T03:00:00Z")
        .due
        .unwrap();
    assert_eq!(due.day, date(2026, 11, 25));
    // Missed for days: the last night is made up, under its own name.
    let due = looked(one.path(), false, "2026-11-28T02:00:00Z")
        .due
        .unwrap();
    assert_eq!(due.day, date(2026, 11, 27));
}

#[test]
fn due_where_there_is_nothing() {
    let scratch = Scratch::new();
    for folder in [scratch.path().to_owned(), scratch.join("not/there")] {
        let at = looked(&folder, true, "2026-11-24T12:00:00Z");
        assert!(at.due.is_some() && at.last_good.is_none());
    }
    // The next backup makes a new list.
    scratch.file("backup.json", b"{");
    assert!(is_due(scratch.path(), true, "2026-11-24T12:00:00Z"));
}

#[test]
fn only_a_backup_that_is_there_is_good() {
    let night = seconds("2026-11-24T03:05:00Z");
    let now = "2026-11-24T12:00:00Z";
    let entry = json!({"timestamp": night, "database": "s-3.sql.gz", "database_size": 1,
                       "writer": "zbackup"});
    let whole = folder(json!({"s-3": entry}));
    assert!(!is_due(whole.path(), false, now));
    fs::write(whole.join("s-3.sql.gz"), b"longer").unwrap();
    assert!(is_due(whole.path(), false, now));
    fs::remove_file(whole.join("s-3.sql.gz")).unwrap();
    assert!(is_due(whole.path(), false, now));
    let empty = folder(json!({"s-3": {"timestamp": night}}));
    assert!(is_due(empty.path(), false, now));
    let future = folder(json!({"s-3": {"timestamp": seconds("2027-01-01T00:00:00Z"),
                                       "database": "s-3.sql.gz"}}));
    let at = looked(future.path(), false, now);
    assert!(at.due.is_some() && at.last_good.is_none());
}

#[test]
fn a_backup_that_failed_its_proof_is_no_good() {
    let night = seconds("2026-11-24T03:05:00Z");
    let with = |verified: Value| {
        folder(json!({"s-3": {"timestamp": night, "database": "s-3.sql.gz", "verified": verified}}))
    };
    let now = "2026-11-24T12:00:00Z";
    let bad = with(json!({"at": night, "ok": false, "problem": "broken"}));
    assert!(is_due(bad.path(), false, now));
    let good = with(json!({"at": night, "ok": true}));
    assert!(!is_due(good.path(), false, now));
}

#[test]
fn only_the_database_is_not_enough_where_files_are_wanted() {
    let (night, later) = (
        seconds("2026-11-24T03:05:00Z"),
        seconds("2026-11-24T09:00:00Z"),
    );
    let now = "2026-11-24T12:00:00Z";
    let database = folder(json!({"s-3": {"timestamp": later, "database": "s-3.sql.gz"}}));
    assert!(is_due(database.path(), true, now));
    assert!(!is_due(database.path(), false, now));
    // A full one at night, and one of only the database in the morning: all of it is of this night.
    let kept = |files: i64| {
        folder(
            json!({"s-3": {"timestamp": later, "database": "s-3.sql.gz", "files": "s-3.tar.gz",
                              "files_timestamp": files}}),
        )
    };
    assert!(!is_due(kept(night).path(), true, now));
    // Media files of the week before do not make it one of today.
    let old = kept(night - WEEK);
    assert!(is_due(old.path(), true, now));
    assert!(!is_due(old.path(), false, now));
}

#[test]
fn a_time_of_day_that_is_none_is_refused_in_words() {
    let error = nightly::time_of_day("25:00").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("25:00"));
}

// What goes --------------------------------------------------------------------------------------

/// Makes a file that was changed some weeks ago.
fn old_file(folder: &Path, name: &str, weeks: i64) {
    let path = folder.join(name);
    fs::write(&path, name).unwrap();
    let time = Timespec {
        tv_sec: Timestamp::now().as_second() - weeks * WEEK,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
}

fn stored(folder: &Path) -> BTreeSet<String> {
    common::names(folder)
        .into_iter()
        .map(|name| name.into_string().unwrap())
        .filter(|name| name.contains(".gz"))
        .collect()
}

fn former(timestamp: i64, name: &str) -> Value {
    json!({
        "timestamp": timestamp,
        "database": format!("{name}.sql.gz"),
        "config_files": format!("config-{name}.tar.gz.enc"),
    })
}

#[test]
fn former_names_go_after_five_weeks() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let dir = site.backup_dir.clone();
    fs::create_dir(&dir).unwrap();
    let now = Timestamp::now().as_second();
    let list = json!({
        "test-1": former(now - 5 * WEEK - 60, "test-1"),
        "test-w0": former(now - 5 * WEEK + 60, "test-w0"),
        "test-7": former(now - 9 * WEEK, "test-7"),
        // The list is one that is kept.
        "test-4": former(now - 86_400, "test-4"),
        "other-1": former(now - 9 * WEEK, "other-1"),
    });
    fs::write(dir.join("backup.json"), list.to_string()).unwrap();
    for name in ["test-1", "test-w0", "test-7", "other-1"] {
        old_file(&dir, &format!("{name}.sql.gz"), 9);
        old_file(&dir, &format!("config-{name}.tar.gz.enc"), 9);
    }
    backup(&site);
    let names: BTreeSet<String> = list::run(&dir)
        .unwrap()
        .backups
        .iter()
        .map(|backup| backup.entry.name.to_string())
        .collect();
    // The name of a day is replaced on that day, and not before: it may be all that there is.
    assert_eq!(
        names.iter().map(String::as_str).collect::<Vec<_>>(),
        ["other-1", "test-2", "test-4", "test-7", "test-w0"]
    );
    let files = stored(&dir);
    for name in ["test-w0", "test-7", "other-1"] {
        assert!(files.contains(&format!("{name}.sql.gz")), "{name}");
        assert!(
            files.contains(&format!("config-{name}.tar.gz.enc")),
            "{name}"
        );
    }
    assert!(
        !files.iter().any(|file| file.contains("test-1.")),
        "{files:?}"
    );
}

#[test]
fn files_of_no_backup_go_when_they_are_old_or_replaced() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let dir = site.backup_dir.clone();
    fs::create_dir(&dir).unwrap();
    let now = Timestamp::now().as_second();
    let list = json!({"test-5": former(now - 86_400, "test-5")});
    fs::write(dir.join("backup.json"), list.to_string()).unwrap();
    // Of the new backup's name, as encryption that was switched off leaves them: at once.
    for name in [
        "test-2.sql.gz.enc",
        "test-2.tar.gz.enc",
        "config-test-2.tar.gz",
        "test-2.sql.gz",
    ] {
        old_file(&dir, name, 0);
    }
    for name in [
        "test-3.tar.gz",
        "config-test-w1.tar.gz.enc",
        "test-1.sql.gz",
        "test-w0.tar.gz",
    ] {
        old_file(&dir, name, 6);
    }
    let kept = [
        "test-4.tar.gz", // not old
        "test-0.tar.gz", // no name of a backup
        "test-w5.tar.gz",
        "testing-3.tar.gz",
        "test-3.tar.gz.old",
        "test-3.sql",
    ];
    for name in kept {
        old_file(&dir, name, if name == "test-4.tar.gz" { 4 } else { 60 });
    }
    backup(&site);
    for name in kept {
        assert!(dir.join(name).exists(), "{name}");
    }
    let left: Vec<String> = stored(&dir)
        .into_iter()
        .filter(|name| !kept.contains(&name.as_str()))
        .collect();
    assert_eq!(left, ["test-2.tar.gz"]);
}

#[test]
fn only_the_database_leaves_media_files_that_it_does_not_know() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    let security = scratch.join("security");
    fs::create_dir(&security).unwrap();
    site.security_dir = Some(security);
    fs::create_dir(&site.backup_dir).unwrap();
    old_file(&site.backup_dir, "test-2.tar.gz", 0);
    let options = Options {
        database_only: true,
        ..OPTIONS
    };
    backup::run(&site, options, &Monitor::silent()).unwrap();
    assert!(site.backup_dir.join("test-2.tar.gz").exists());
}

#[test]
fn nothing_of_another_backup_goes_while_a_damaged_list_lies_aside() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let dir = site.backup_dir.clone();
    fs::create_dir(&dir).unwrap();
    old_file(&dir, "test-3.tar.gz", 60);
    fs::write(dir.join("backup.json"), "{").unwrap();
    backup(&site);
    assert!(dir.join("test-3.tar.gz").exists());
    backup(&site);
    assert!(dir.join("test-3.tar.gz").exists());
    let aside = common::names(&dir)
        .into_iter()
        .find(|name| name.to_string_lossy().contains("damaged"))
        .unwrap();
    fs::remove_file(dir.join(aside)).unwrap();
    // A list of which nothing is of these weeks may be a new one beside old copies.
    backup(&site);
    assert!(dir.join("test-3.tar.gz").exists());
    let list = fs::read(dir.join("backup.json")).unwrap();
    let mut list: Value = serde_json::from_slice(&list).unwrap();
    list["test-5"] = former(Timestamp::now().as_second() - 86_400, "test-5");
    fs::write(dir.join("backup.json"), list.to_string()).unwrap();
    backup(&site);
    assert!(!dir.join("test-3.tar.gz").exists());
}

#[test]
fn nothing_goes_when_the_backup_fails() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    let dir = site.backup_dir.clone();
    fs::create_dir(&dir).unwrap();
    let list = json!({"test-1": former(1, "test-1")});
    fs::write(dir.join("backup.json"), list.to_string()).unwrap();
    for name in [
        "test-1.sql.gz",
        "config-test-1.tar.gz.enc",
        "test-2.tar.gz.enc",
        "test-3.tar.gz",
    ] {
        old_file(&dir, name, 60);
    }
    let before = stored(&dir);
    site.media_dir = Some(scratch.join("gone"));
    backup::run(&site, OPTIONS, &Monitor::silent()).unwrap_err();
    assert_eq!(stored(&dir), before);
    assert_eq!(list::run(&dir).unwrap().backups.len(), 1);
}

// What is proven before it counts ----------------------------------------------------------------

const PROVEN: Options = Options {
    prove: true,
    ..OPTIONS
};

#[test]
fn a_backup_that_is_not_proven_replaces_nothing() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    fs::write(scratch.join("media/file"), common::noise(10_000, 1)).unwrap();
    let (_, archive) = backup(&site);
    let dir = &site.backup_dir;
    let all = || {
        (
            stored(dir),
            fs::read(&archive).unwrap(),
            fs::read(dir.join("backup.json")).unwrap(),
        )
    };
    let before = all();
    let staged = dir.join(".staging/test-2.tar.gz");
    let damage = common::watched(move |snapshot| {
        if snapshot.phase == Phase::Verify {
            let good = fs::read(&staged).unwrap();
            fs::write(&staged, &good[..good.len() - 1]).unwrap();
        }
    });
    let error = backup::run(&site, PROVEN, &damage).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("could not be proven"), "{error}");
    assert!(all() == before);
    assert!(!dir.join(".staging").exists());

    let report = backup::run(&site, PROVEN, &Monitor::silent()).unwrap();
    let proof = report.backup.verified.unwrap();
    assert!(proof.ok);
    let listed = list::run(dir).unwrap().backups.remove(0).entry;
    assert_eq!(listed.verified, Some(proof));
    assert!(verify::run(dir, &[], None, None, &Monitor::silent()).unwrap()[0].ok);
}

#[test]
fn damaged_media_of_before_do_not_stop_the_rest() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    let security = scratch.join("security");
    fs::create_dir(&security).unwrap();
    site.security_dir = Some(security);
    fs::write(scratch.join("media/file"), common::noise(10_000, 1)).unwrap();
    let (report, archive) = backup(&site);
    let first = report.backup.timestamp;
    let mut bytes = fs::read(&archive).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&archive, bytes).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let options = Options {
        database_only: true,
        ..PROVEN
    };
    let backup = backup::run(&site, options, &Monitor::silent())
        .unwrap()
        .backup;
    assert!(backup.timestamp > first && backup.files_timestamp == Some(first));
    let proof = backup.verified.unwrap();
    assert!(!proof.ok && proof.problem.unwrap().contains("test-2.tar.gz"));
}

#[test]
fn a_dump_that_a_restore_would_refuse_is_kept_and_not_called_proven() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    let dump = "--\n-- PostgreSQL database dump\n--\n\nCREATE SCHEMA \"s\";\n\nVACUUM \"s\".t;\n\n\
                --\n-- PostgreSQL database dump complete\n--\n\n";
    let text = format!("#!/bin/sh\ncat <<'END'\n{dump}END\n");
    let pg_dump = script(scratch.join("pg_dump"), &text);
    site.database = Some(Database {
        host: "localhost".into(),
        port: 5432,
        user: "nobody".into(),
        password: None,
        dbname: "none".into(),
        schema: "s".into(),
        pg_dump,
        psql: None,
    });
    let backup = backup::run(&site, PROVEN, &Monitor::silent())
        .unwrap()
        .backup;
    let proof = backup.verified.unwrap();
    let problem = proof.problem.unwrap();
    assert!(!proof.ok);
    assert!(
        problem.contains("a restore would refuse it") && problem.contains("VACUUM"),
        "{problem}"
    );
    let dump = backup.database.unwrap();
    assert!(site.backup_dir.join(dump.file.as_str()).is_file());
}

// What is remembered -----------------------------------------------------------------------------

#[test]
fn a_proof_is_kept_until_there_is_another_backup() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    fs::write(scratch.join("media/file"), "content").unwrap();
    let (_, archive) = backup(&site);
    let dir = &site.backup_dir;
    let prove = || verify::run(dir, &[], None, None, &Monitor::silent()).unwrap();
    let kept = || list::run(dir).unwrap().backups[0].entry.verified.clone();
    assert_eq!(kept(), None);
    let at = Timestamp::now();
    verify::record(dir, &prove(), at).unwrap();
    let proof = kept().unwrap();
    assert_eq!(
        (proof.at, proof.ok, proof.problem),
        (at.as_second(), true, None)
    );
    // What others keep in the list stays, and the backup is what it was.
    assert!(prove()[0].ok);

    let old = prove();
    let good = fs::read(&archive).unwrap();
    fs::write(&archive, &good[..good.len() - 1]).unwrap();
    verify::record(dir, &prove(), at).unwrap();
    let proof = kept().unwrap();
    assert!(!proof.ok && proof.problem.unwrap().contains("test-2.tar.gz"));

    // A proof of the backup that was there before says nothing of the one that is there now.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    backup(&site);
    assert_eq!(kept(), None);
    verify::record(dir, &old, at).unwrap();
    assert_eq!(kept(), None);
}

#[test]
fn a_failure_is_remembered() {
    let scratch = Scratch::new();
    assert_eq!(Status::load(scratch.path()).unwrap(), Status::default());
    let failure = Failure {
        at: 1_795_000_000,
        kind: "database".into(),
        message: "why, ба́тарея".into(),
    };
    let status = Status {
        failure: Some(failure.clone()),
        told: true,
        jobs: [("restore".to_owned(), failure)].into(),
        restored: Some(LastRestore {
            name: "site-3".into(),
            timestamp: 1_794_000_000,
            at: 1_795_000_000,
            database: Some("site on localhost".into()),
        }),
    };
    status.save(scratch.path()).unwrap();
    assert_eq!(Status::load(scratch.path()).unwrap(), status);
    let name = scratch.names().into_iter().next().unwrap();
    assert_eq!(scratch.names().len(), 1, "nothing unfinished is left");
    use std::os::unix::fs::PermissionsExt;
    let mode = scratch.join(&name).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // One that is empty begins anew; of one that was cut it is not known what it said.
    fs::write(scratch.join(&name), "").unwrap();
    assert_eq!(Status::load(scratch.path()).unwrap(), Status::default());
    fs::write(scratch.join(&name), "{\"told\":tr").unwrap();
    let damaged = Status::load(scratch.path()).unwrap_err();
    assert_eq!(damaged.kind().name(), "damaged");
    assert!(
        damaged.to_string().contains(name.to_str().unwrap()),
        "{damaged}"
    );
    Status::default().save(scratch.path()).unwrap();
    // One that cannot be read is not taken for one that says nothing.
    fs::remove_file(scratch.join(&name)).unwrap();
    fs::create_dir(scratch.join(&name)).unwrap();
    Status::load(scratch.path()).unwrap_err();
    Status::default()
        .save(&scratch.join("not/there"))
        .unwrap_err();
}
