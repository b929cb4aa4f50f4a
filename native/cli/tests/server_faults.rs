//! A database server that dies and comes back, and a `pg_dump` or a connection that ends, in the middle of a
//! backup or a restore. Its server restarts: tests beside these would see that.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::fault::{Tally, times};
use common::postgres::{Database, Postgres};
use common::story::{State, Story, holds};
use common::{PATIENCE, Ran, Running, SOON, assert_same, kill, run, tree, until};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One test at a time: they share the server that is killed.
static SERVER: Mutex<()> = Mutex::new(());

/// A process of the server dies as of a bug: the server ends all its others, and starts again.
fn crash(database: &Database<'_>) {
    let find = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'";
    let pid = database.admin(find);
    kill("KILL", pid.trim().parse().unwrap());
    // It answers for a moment still, before it sees that: it is back when it has another one.
    until("the server is back", || {
        let mut psql = Command::new("psql");
        psql.args(["-XqAt", "--command", find, "--dbname", "postgres"]);
        let ran = run(&mut psql);
        ran.status.success() && !["", pid.trim()].contains(&ran.stdout.trim())
    });
}

/// What is lost when a server dies is what it had not written yet: the servers of tests do not wait for that.
fn write_all(database: &Database<'_>) {
    database.admin("CHECKPOINT");
}

/// The processes of this name that the program has started.
fn children(of: u32, name: &str) -> Vec<u32> {
    let mut pgrep = Command::new("pgrep");
    pgrep.args(["--parent", &of.to_string()]);
    let mut found = Vec::new();
    for line in run(&mut pgrep).stdout.lines() {
        let pid = line.parse().unwrap();
        let path = format!("/proc/{pid}/comm");
        if std::fs::read_to_string(path).is_ok_and(|comm| comm.trim() == name) {
            found.push(pid);
        }
        found.extend(children(pid, name));
    }
    found
}

/// How long it takes when nothing happens. The least of some: accidents that are spread over a slow one come
/// too late for the others.
fn takes(command: &mut Command) -> Duration {
    let runs = (0..3).map(|_| {
        let began = Instant::now();
        Running::start(command).wait(PATIENCE).good();
        began.elapsed()
    });
    runs.min().unwrap()
}

/// Some may have ended by themselves meanwhile.
fn kill_all(pids: &[u32]) {
    for pid in pids {
        let _ = Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status();
    }
}

/// At different times of a run.
fn at_times(takes: Duration, mut accident: impl FnMut(Duration)) {
    let count = 8 * times();
    for number in 0..count {
        // The even ones early and late, the odd ones between: few show much already.
        let part = f64::from(number * 5 % count) / f64::from(count);
        accident(takes.mul_f64(part * 1.1));
    }
}

fn big(server: &Postgres) -> Story<'_> {
    let mut story = Story::new(server, true);
    story.database.sql(
        r#"CREATE TABLE "my ""Site""".big AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 30000) n"#,
    );
    story.before = story.state();
    story
}

#[test]
fn a_server_that_restarts_costs_no_backup() {
    let _alone = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Postgres::here();
    let story = big(&server);
    story.site.backup();
    let takes = takes(&mut story.site.zbackup("backup"));
    let mut tally = Tally::new("backup, the server restarts");
    at_times(takes, |moment| {
        let kept = tree(&story.site.backups());
        let running = Running::start(&mut story.site.zbackup("backup"));
        std::thread::sleep(moment);
        crash(&story.database);
        let ran = running.wait(PATIENCE);
        tally.step(backup_is_said(&ran));
        if !ran.status.success() {
            assert_same(&tree(&story.site.backups()), &kept);
        }
        story.site.run("verify").good();
    });
    story.site.backup();
    tally.finish(1);
}

/// Whether the accident was in time to be one.
#[track_caller]
fn backup_is_said(ran: &Ran) -> bool {
    if ran.status.success() {
        return false;
    }
    assert_eq!(ran.status.code(), Some(1), "{ran:#?}");
    assert!(ran.stderr.contains("database"), "{ran:#?}");
    assert!(!ran.said().contains("panicked"), "{ran:#?}");
    true
}

/// All of the site is of one time. The next command has settled what was begun.
#[track_caller]
fn is_one_of(story: &Story<'_>, lost: &State, ran: &Ran) -> bool {
    assert!(!ran.said().contains("panicked"), "{ran:#?}");
    // The server may still be taking back what was begun.
    until("it is settled", || story.site.run("list").status.success());
    let now = story.state();
    let is_restored = now.rows == story.before.rows;
    if is_restored {
        // What came after the backup stays.
        holds(&now.media, &story.before.media);
        holds(&now.security, &story.before.security);
        holds(&now.private, &story.before.private);
    } else {
        assert_eq!(now.rows, lost.rows, "{ran:#?}");
        assert_same(&now.media, &lost.media);
        assert_same(&now.security, &lost.security);
        assert_same(&now.private, &lost.private);
        assert!(!ran.status.success(), "{ran:#?}");
    }
    story.is_tidy();
    is_restored
}

fn restores(what: &'static str, mut accident: impl FnMut(&Story<'_>, &Running)) {
    let _alone = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Postgres::here();
    let story = big(&server);
    let name = story.site.backup();
    let words = format!("restore {name} --yes --trust-dump");
    let takes = takes(&mut story.site.zbackup(&words));
    story.disaster();
    write_all(&story.database);
    let mut lost = story.state();
    let mut tally = Tally::new(what);
    at_times(takes, |moment| {
        let running = Running::start(&mut story.site.zbackup(&words));
        std::thread::sleep(moment);
        accident(&story, &running);
        let ran = running.wait(PATIENCE);
        tally.step(!ran.status.success());
        if is_one_of(&story, &lost, &ran) {
            story.disaster_again();
            write_all(&story.database);
            lost = story.state();
        }
    });
    story.site.run(&words).good();
    story.site.run("verify").good();
    tally.finish(1);
}

#[test]
fn a_server_that_restarts_leaves_the_old_site_or_the_new_one() {
    restores("restore, the server restarts", |story, _| {
        crash(&story.database);
    });
}

#[test]
fn a_connection_that_breaks_leaves_the_old_site_or_the_new_one() {
    restores("restore, its connection is ended", |story, _| {
        story.database.admin(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE application_name = 'zbackup' AND datname = current_database()",
        );
    });
}

#[test]
fn a_pg_dump_that_is_killed_costs_no_backup() {
    let _alone = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Postgres::here();
    let story = big(&server);
    story.site.backup();
    let takes = takes(&mut story.site.zbackup("backup --database-only"));
    let mut tally = Tally::new("backup, the real pg_dump is killed");
    at_times(takes, |moment| {
        let kept = tree(&story.site.backups());
        let mut running = Running::start(&mut story.site.zbackup("backup"));
        std::thread::sleep(moment);
        let mut dumps = Vec::new();
        until("it dumps", || {
            dumps = children(running.pid(), "pg_dump");
            !dumps.is_empty() || !running.is_running()
        });
        kill_all(&dumps);
        let ran = running.wait(SOON * 6);
        tally.step(backup_is_said(&ran));
        if !ran.status.success() {
            assert_same(&tree(&story.site.backups()), &kept);
        }
        story.site.run("verify").good();
    });
    tally.finish(1);
}
