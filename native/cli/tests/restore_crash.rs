//! A restore that is killed at any instant: the database is entirely as before or entirely as in the
//! backup, no file is half of one, and the next command completes what was decided.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::fault::{Tally, times};
use common::postgres::{Database, Postgres};
use common::{PATIENCE, Ran, Running, SOON, Site, ZBACKUP, noise, sh, tree, until, write};
use std::fs;
use std::time::{Duration, Instant};

/// A site that differs from its backup in everything.
struct Story<'a> {
    site: Site,
    database: Database<'a>,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Old,
    New,
}

const FILES: usize = 4;

impl<'a> Story<'a> {
    fn new(server: &'a Postgres) -> Self {
        let database = server.database();
        let mut site = Site::new();
        site.set_database(&database.settings("site"));
        site.encrypt(true);
        let mut story = Self {
            site,
            database,
            name: String::new(),
        };
        story.become_version("new");
        story.name = story.site.backup();
        story
    }

    /// The site as it is when a restore begins.
    fn begin(&self) {
        self.become_version("old");
    }

    fn become_version(&self, version: &str) {
        self.database.sql(&format!(
            "SET client_min_messages TO warning; DROP SCHEMA IF EXISTS site CASCADE; CREATE SCHEMA site;
             CREATE TABLE site.rsc AS SELECT n, '{version}' AS v FROM generate_series(1, 3000) n;
             CREATE TABLE site.edge AS SELECT n, '{version}' AS v FROM generate_series(1, 3000) n"
        ));
        for number in 0..FILES {
            write(
                &self.site.path(format!("media/{number}/file")),
                content(version, number),
            );
        }
        write(&self.site.path("priv/zotonic_site.config"), version);
        write(&self.site.path("security/ssl/site.key"), version);
    }

    /// What the database is of; it is of one thing only.
    fn rows(&self, at: &str) -> Version {
        let found = self.database.sql(
            "SELECT string_agg(DISTINCT v, ' '), count(*)
             FROM (SELECT v FROM site.rsc UNION ALL SELECT v FROM site.edge) all_rows",
        );
        match found.trim() {
            "old|6000" => Version::Old,
            "new|6000" => Version::New,
            mix => panic!("the database after a kill at {at}: {mix}"),
        }
    }

    /// What each file is of: whole, one or the other.
    fn files(&self, at: &str) -> Vec<Version> {
        let media = (0..FILES).map(|number| {
            let now = fs::read(self.site.path(format!("media/{number}/file"))).unwrap();
            if now == content("old", number) {
                Version::Old
            } else if now == content("new", number) {
                Version::New
            } else {
                panic!("half a file after a kill at {at}");
            }
        });
        let others = ["priv/zotonic_site.config", "security/ssl/site.key"].map(|name| {
            match fs::read_to_string(self.site.path(name)).unwrap().as_str() {
                "old" => Version::Old,
                "new" => Version::New,
                other => panic!("{name} after a kill at {at}: {other}"),
            }
        });
        media.chain(others).collect()
    }

    /// After an accident, and after the next start.
    fn check(&self, ran: &Ran, at: &str) -> Version {
        // At once: nothing is half.
        self.files(at);
        // The server may still be rolling back what the killed one had begun.
        self.site.run("list").good();
        let rows = self.rows(at);
        for file in self.files(at) {
            assert_eq!(
                file, rows,
                "after a kill at {at} and the next start: {ran:#?}"
            );
        }
        let left = sh(
            "find \"$1\" -name '.zbackup-*' -o -name '.restore*' -o -name .staging",
            &[&self.site.path("")],
        );
        assert_eq!(left.good().stdout, "", "left after a kill at {at}");
        let schemas = self
            .database
            .sql("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'before'");
        assert_eq!(schemas.trim(), "0", "after a kill at {at}");
        rows
    }

    fn restore(&self) -> std::process::Command {
        self.site
            .zbackup(&format!("restore {} --yes --trust-dump", self.name))
    }
}

fn content(version: &str, number: usize) -> Vec<u8> {
    let seed = number as u64 * 2 + u64::from(version == "new") + 1;
    noise(20_000 + number, seed)
}

/// A restore that meets with an accident at the `nth` of these calls.
fn accident(story: &Story<'_>, calls: &str, what: &str, nth: u32) -> Ran {
    let mut command = story.site.command("strace");
    command
        .args(["--follow-forks", "--quiet=all", "--signal=none"])
        .args(["--output", "/dev/null"])
        .arg(format!("--trace={calls}"))
        .arg(format!("--inject={calls}:{what}:when={nth}"))
        .args([
            ZBACKUP,
            "restore",
            &story.name,
            "--yes",
            "--trust-dump",
            "--config",
        ])
        .arg(story.site.config());
    Running::start(&mut command).wait(SOON * 6)
}

/// What a run can have taken at most, if it ended before the kill. The first one, which the kills are spread
/// over, may have been a slow one, and most of the kills would come too late.
fn longest(ran: &Ran, started: Instant) -> Duration {
    if ran.status.success() {
        started.elapsed()
    } else {
        Duration::MAX
    }
}

fn every(tally: &'static str, what: &str, mut check: impl FnMut(&Story<'_>, &Ran, &str)) {
    let server = Postgres::here();
    let story = Story::new(&server);
    let mut tally = Tally::new(tally);
    for calls in [
        "rename,renameat,renameat2",
        "fsync,syncfs,fdatasync",
        "unlink,unlinkat,rmdir",
        "mkdir,mkdirat",
    ] {
        let mut harmless = 0;
        for nth in 1..200 {
            story.begin();
            let ran = accident(&story, calls, what, nth);
            if ran.status.success() {
                tally.step(false);
                harmless += 1;
                if harmless == 2 {
                    break;
                }
                continue;
            }
            harmless = 0;
            check(&story, &ran, &format!("{calls} {nth}"));
            tally.step(true);
        }
    }
    // Fewer, and this was not the right trace.
    tally.finish(21);
}

#[test]
fn a_kill_at_any_step_leaves_the_old_site_or_the_new_one() {
    let mut seen = Vec::new();
    every(
        "restore, a kill at each call",
        "signal=KILL",
        |story, ran, at| seen.push(story.check(ran, at)),
    );
    for version in [Version::Old, Version::New] {
        assert!(seen.contains(&version), "no kill led to {version:?}");
    }
}

#[test]
fn a_failing_disk_at_any_step_leaves_the_old_site_or_the_new_one() {
    every("restore, each call fails", "error=EIO", |story, ran, at| {
        assert!(ran.stderr.contains("zbackup: "), "{at}: {ran:#?}");
        story.check(ran, at);
    });
}

#[test]
fn a_kill_at_any_time_leaves_the_old_site_or_the_new_one() {
    let server = Postgres::here();
    let story = Story::new(&server);
    story.begin();
    let started = Instant::now();
    Running::start(&mut story.restore()).wait(PATIENCE).good();
    let mut takes = started.elapsed();
    let kills = 60 * times();
    let mut tally = Tally::new("restore, a kill at any time");
    for number in 0..kills {
        story.begin();
        let started = Instant::now();
        let running = Running::start(&mut story.restore());
        std::thread::sleep(takes.mul_f64(f64::from(number % 60) / 60.0 * 1.1));
        running.signal("KILL");
        let ran = running.wait(SOON);
        takes = takes.min(longest(&ran, started));
        story.check(&ran, &format!("{number} of {kills}"));
        tally.step(ran.status.code().is_none());
    }
    tally.finish(10);
}

#[test]
fn a_server_that_ends_the_connection_is_an_error_and_the_site_is_as_before() {
    let server = Postgres::here();
    let story = Story::new(&server);
    let find = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE application_name = 'zbackup' AND datname = current_database()
                AND backend_xid IS NOT NULL";
    // A restore can be over before it is seen.
    for _ in 0..50 {
        story.begin();
        let mut running = Running::start(&mut story.restore());
        let mut found = false;
        until("a transaction was ended", || {
            found = story.database.sql(find).trim() != "0";
            found || !running.is_running()
        });
        let ran = running.wait(PATIENCE);
        if found {
            let version = story.check(&ran, "terminate");
            assert_eq!(ran.status.success(), version == Version::New, "{ran:#?}");
            return;
        }
    }
    panic!("no restore was ever seen");
}

#[test]
fn a_backup_killed_at_any_time_leaves_a_whole_one() {
    let server = Postgres::here();
    let story = Story::new(&server);
    let started = Instant::now();
    story.site.run("backup").good();
    let mut takes = started.elapsed();
    let kills = 100 * times();
    let mut tally = Tally::new("backup, a kill at any time");
    for number in 0..kills {
        let started = Instant::now();
        let running = Running::start(&mut story.site.zbackup("backup"));
        std::thread::sleep(takes.mul_f64(f64::from(number % 100) / 100.0 * 1.1));
        running.signal("KILL");
        let ran = running.wait(SOON);
        takes = takes.min(longest(&ran, started));
        // Another process, right after it: all that is listed is whole.
        story.site.run("list").good().without(&["missing"]);
        if number % 5 == 0 {
            story.site.run("verify").good();
        }
        tally.step(ran.status.code().is_none());
    }
    tally.finish(10);
    story.site.run("backup").good();
    story.site.run("verify").good();
    assert_eq!(tree(&story.site.backups()).len(), 4);
}
