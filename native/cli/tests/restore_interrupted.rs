//! A restore that was interrupted, and one that is under way: what the next command does, and says.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::postgres::Postgres;
use common::story::{Story, holds};
use common::{Running, SOON, Site, ZBACKUP, assert_same, tree, until, write};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// What a restore of these pieces leaves that was killed while the database was replaced, on a server that is
/// not there any more. What it had staged.
fn lost(site: &Site, pieces: &[&str]) -> PathBuf {
    let staged = site.path(".zbackup-restore-0123456789abcdef-0");
    write(&staged.join("tree/a.txt"), "of the interrupted restore");
    common::set_mode(&staged, 0o700);
    common::set_mode(&staged.join("tree"), 0o700);
    let journal = json!({
        "id": "0123456789abcdef",
        "backup": "site-lost",
        // No server has come as far as that.
        "state": { "loading": { "id": 4_000_000_000_000_u64, "server": null } },
        "pieces": pieces,
        "placements": [{
            "staged": staged, "target": site.path("media").canonicalize().unwrap(), "is_placed": false,
        }],
    });
    write(&site.backups().join(".restore.json"), journal.to_string());
    staged
}

#[test]
fn a_restore_of_all_takes_the_place_of_one_that_nobody_can_settle() {
    let server = Postgres::here();
    let story = Story::new(&server, false);
    let site = &story.site;
    let name = site.backup();
    story.disaster_again();
    let before = story.state();
    let staged = lost(site, &["database", "files"]);
    let journal = fs::read(site.backups().join(".restore.json")).unwrap();
    let is_kept = |what: &str| {
        assert!(staged.join("tree/a.txt").exists(), "{what}");
        let now = fs::read(site.backups().join(".restore.json")).unwrap();
        let [now, journal] =
            [&now, &journal].map(|text| serde_json::from_slice::<serde_json::Value>(text).unwrap());
        assert_eq!(now, journal, "{what}");
        let now = story.state();
        assert!(now.rows == before.rows, "{what}");
        assert_same(&now.media, &before.media);
    };
    let unknown = ["site-lost", "not known"];
    site.run("list").expect(0, &unknown[1..]);
    is_kept("list");
    // Half of it could make the site half of one backup and half of another.
    for only in ["database", "files", "files,config,security"] {
        site.run(&format!("restore {name} --yes --trust-dump --only {only}"))
            .expect(
                1,
                &["not known", "restore of database, files takes its place"],
            );
        is_kept(only);
    }
    // One that fails has taken nobody's place.
    let good = fs::read(site.part(&name, "files")).unwrap();
    fs::write(site.part(&name, "files"), &good[..good.len() - 40]).unwrap();
    site.run(&format!("restore {name} --yes --trust-dump"))
        .expect(4, &["damaged"]);
    is_kept("a damaged backup");
    fs::write(site.part(&name, "files"), good).unwrap();
    // Nobody wants back what may be half of each.
    let good = common::tree(&site.backups());
    for words in ["backup", "backup --database-only", "backup --json"] {
        site.run(words).expect(1, &["not known", "half restored"]);
        assert_same(&common::tree(&site.backups()), &good);
    }
    is_kept("a backup");

    site.run(&format!(
        "restore {name} --yes --trust-dump --only database,files --json"
    ))
    .expect(0, &["takes its place", "site-lost"]);
    assert!(!staged.exists());
    story.is_tidy();
    assert_eq!(story.state().rows, story.before.rows);
    site.run("list").good().without(&["warning"]);
    site.run("backup").good().without(&["warning"]);
}

/// Also where no good one would be replaced: it would be the newest, here and in the store.
#[test]
fn no_backup_is_made_of_a_site_that_may_be_half_restored() {
    let server = Postgres::here();
    let story = Story::new(&server, false);
    let site = &story.site;
    fs::create_dir(site.backups()).unwrap();
    lost(site, &["database", "files"]);
    site.run("backup")
        .expect(1, &["not known", "half restored"]);
    assert!(!site.backups().join("backup.json").exists());
}

/// What an interrupted restore has unpacked is in the way of nothing.
#[test]
fn what_cannot_be_removed_keeps_no_backup_from_being_made() {
    let server = Postgres::here();
    let story = Story::new(&server, false);
    let site = &story.site;
    fs::create_dir(site.backups()).unwrap();
    let staged = lost(site, &["files"]);
    fs::remove_dir_all(&staged).unwrap();
    write(&staged, "not a folder");
    for (state, is_placed) in [("staging", false), ("decided", true)] {
        let journal = site.backups().join(".restore.json");
        let mut text: serde_json::Value =
            serde_json::from_slice(&fs::read(&journal).unwrap()).unwrap();
        text["state"] = state.into();
        text["placements"][0]["is_placed"] = is_placed.into();
        write(&journal, text.to_string());
        site.run("backup").expect(0, &["cannot be removed"]);
    }
}

/// The disk with what was unpacked does not come back, and there is a new one.
#[test]
fn a_restore_takes_the_place_of_one_whose_files_are_gone() {
    let server = Postgres::here();
    let story = Story::new(&server, false);
    let site = &story.site;
    let name = site.backup();
    story.disaster_again();
    let staged = lost(site, &["database", "files"]);
    fs::remove_dir_all(&staged).unwrap();
    let journal = site.backups().join(".restore.json");
    let text = fs::read_to_string(&journal).unwrap();
    let mut text: serde_json::Value = serde_json::from_str(&text).unwrap();
    text["state"] = "decided".into();
    write(&journal, text.to_string());
    site.run("backup")
        .expect(1, &["half restored", "could not be moved"]);
    site.run(&format!("restore {name} --yes --trust-dump --only files"))
        .expect(1, &["restore of database, files takes its place"]);
    site.run(&format!(
        "restore {name} --yes --trust-dump --only database,files"
    ))
    .expect(0, &["takes its place"]);
    story.is_tidy();
    assert_eq!(story.state().rows, story.before.rows);
    site.run("backup").good().without(&["warning"]);
}

/// Wherever a restore is killed that takes the place of another one, either of them is there to be settled.
#[test]
fn a_kill_of_the_one_that_takes_the_place_loses_neither() {
    let server = Postgres::here();
    let story = Story::new(&server, false);
    let site = &story.site;
    let name = site.backup();
    let wanted = story.state();
    let mut seen = [false; 2];
    for calls in ["rename,renameat,renameat2", "unlink,unlinkat,rmdir"] {
        for nth in 1..200 {
            story.disaster_again();
            let staged = lost(site, &["database", "files"]);
            let mut command = site.command("strace");
            command
                .args(["--follow-forks", "--quiet=all", "--signal=none"])
                .args(["--output", "/dev/null"])
                .arg(format!("--trace={calls}"))
                .arg(format!("--inject={calls}:signal=KILL:when={nth}"))
                .args([
                    ZBACKUP,
                    "restore",
                    &name,
                    "--yes",
                    "--trust-dump",
                    "--config",
                ])
                .arg(site.config());
            let ran = Running::start(&mut command).wait(SOON * 6);
            if ran.status.success() {
                break;
            }
            let at = format!("{calls} {nth}");
            let listed = site.run("list").good();
            let is_done = !site.backups().join(".restore.json").exists();
            seen[usize::from(is_done)] = true;
            if is_done {
                assert_eq!(story.state().rows, wanted.rows, "{at}");
                holds(&story.state().media, &wanted.media);
                story.is_tidy();
            } else {
                assert!(listed.stderr.contains("not known"), "{at}: {listed:#?}");
                assert!(staged.join("tree/a.txt").exists(), "{at}");
                assert_ne!(story.state().rows, wanted.rows, "{at}");
            }
        }
    }
    assert_eq!(seen, [true; 2], "undone, done");
}

/// Of files alone the journal decides. Where it cannot be written nobody may be told to look for what is not
/// there any more.
#[test]
fn a_disk_that_fails_when_files_are_decided_on_leaves_no_restore_that_nobody_can_end() {
    let site = Site::new();
    let name = site.backup();
    let photo = site.path("media/a.txt");
    let [old, new] = [b"overwritten".to_vec(), fs::read(&photo).unwrap()];
    let mut ends = [0; 2];
    for (nth, for_ever) in (1..24).flat_map(|nth| [(nth, ""), (nth, "+")]) {
        write(&photo, &old);
        let mut command = site.command("strace");
        command
            .args(["--follow-forks", "--quiet=all", "--signal=none"])
            .args(["--output", "/dev/null", "--trace=fsync,unlink"])
            .arg(format!("--inject=fsync:error=EIO:when={nth}{for_ever}"))
            // The journal stays, too.
            .arg("--inject=unlink:error=EROFS")
            .args([
                ZBACKUP,
                "restore",
                &name,
                "--yes",
                "--trust-dump",
                "--only",
                "files",
                "--config",
            ])
            .arg(site.config());
        let ran = Running::start(&mut command).wait(SOON * 6);
        let at = format!("fsync {nth}{for_ever}: {ran:#?}");
        assert!(!ran.status.success(), "{at}");
        let listed = site.run("list").good();
        assert!(
            !site.backups().join(".restore.json").exists(),
            "{at}, {listed:#?}"
        );
        let now = fs::read(&photo).unwrap();
        assert!(now == old || now == new, "{at}");
        if ran.stderr.contains("not known whether") {
            ends[usize::from(now == new)] += 1;
        }
        let left = fs::read_dir(site.path("")).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with(".zbackup-restore")
        });
        assert_eq!(left.count(), 0, "{at}, {listed:#?}");
    }
    assert!(ends.iter().sum::<u32>() > 0, "{ends:?}");
}

/// A restore whose transaction still runs is no case for another one.
#[test]
fn a_restore_that_the_server_still_works_on_is_waited_for_and_not_replaced() {
    let server = Postgres::here();
    let story = Story::new(&server, false);
    let site = &story.site;
    let name = site.backup();
    let staged = lost(site, &["database", "files"]);
    let path = site.backups().join(".restore.json");
    let journal = |id: u64| {
        let mut journal: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        journal["state"]["loading"]["id"] = json!(id);
        write(&path, journal.to_string());
    };
    let mut psql = std::process::Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--dbname", &story.database.name])
        .args([
            "--command",
            "BEGIN; CREATE TABLE running (); SELECT pg_sleep(600)",
        ]);
    let running = Running::start(&mut psql);
    const OTHERS: &str =
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                          AND backend_xid IS NOT NULL";
    let ask = |what: &str| story.database.admin(&format!("SELECT {what} {OTHERS}"));
    until("it runs", || !ask("backend_xid").is_empty());
    journal(ask("backend_xid").trim().parse().unwrap());
    let restore = format!("restore {name} --yes --trust-dump");
    site.run(&restore)
        .expect(1, &["still runs", "pg_terminate_backend"])
        .without(&["takes its place"]);
    assert!(staged.join("tree/a.txt").exists());
    ask("pg_terminate_backend(pid)");
    running.wait(SOON);
    site.run(&restore).expect(0, &["taken back"]);
    story.is_tidy();
}

/// A site with a backup, and a restore of it that is under way.
fn restoring() -> (Site, Running) {
    let mut site = Site::new();
    let there = site.load_for_ever();
    let name = site.backup();
    let running = Running::start(&mut site.zbackup(&format!("restore {name} --yes --trust-dump")));
    until("it restores", || there.exists());
    (site, running)
}

#[test]
fn what_only_reads_works_while_a_restore_is_under_way() {
    let (site, running) = restoring();
    let during = tree(&site.backups());
    let busy = format!("PID {}", running.pid());
    for words in ["list", "verify"] {
        let ran = site.run(words).good();
        assert!(
            ran.stderr.contains("a restore from") && ran.stderr.contains(&busy),
            "{ran:#?}"
        );
        assert!(!ran.said().contains("a backup "), "{ran:#?}");
        site.run(&format!("{words} --json")).good().json();
    }
    // What does not is told what is under way.
    for words in ["backup", "restore recent --yes --trust-dump"] {
        site.run(words)
            .expect(1, &["a restore from", &busy, "try again"]);
    }
    assert_same(&tree(&site.backups()), &during);
    running.signal("INT");
    running.wait(SOON);
    site.run("list").good().without(&["warning"]);

    let (site, running) = common::busy();
    for words in ["list", "verify"] {
        site.run(words).good().without(&["warning"]);
    }
    site.run("restore recent --yes --trust-dump")
        .expect(1, &["a backup to", &format!("PID {}", running.pid())]);
    running.signal("INT");
    running.wait(SOON);
}

/// Names are used again: next week's backup has this one's.
#[test]
fn only_the_backup_that_was_agreed_to_is_restored() {
    let site = Site::new();
    let name = site.backup();
    let made = site.catalog()[&name]["timestamp"].as_i64().unwrap();
    write(&site.path("media/a.txt"), "later");
    let now = tree(&site.path("media"));
    let restore = format!("restore {name} --yes --trust-dump --only files");
    let other = made - 7 * 86_400;
    site.run(&format!("{restore} --timestamp {other}"))
        .expect(1, &[&name, "that was chosen", "not there any more"]);
    let ran = site.run(&format!("{restore} --json --timestamp {other}"));
    assert_eq!(ran.expect(1, &[]).json()["error"], "unknown_backup");
    assert_same(&tree(&site.path("media")), &now);

    // While a person thinks about the question.
    const PERSON: &str = r#"
import json, os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
screen, typed = b"", False
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    screen += more
    if not typed and b"[y/N]" in screen:
        with open(sys.argv[1]) as file:
            catalog = json.load(file)
        for entry in catalog.values():
            entry["timestamp"] += 604800
        with open(sys.argv[1], "w") as file:
            json.dump(catalog, file)
        os.write(terminal, b"y\n")
        typed = True
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
os.write(1, screen)
sys.exit(status if status >= 0 else 100)
"#;
    let mut command = site.command("python3");
    command
        .args(["-c", PERSON])
        .arg(site.backups().join("backup.json"))
        .args([ZBACKUP, "restore", &name, "--only", "files", "--config"])
        .arg(site.config());
    Running::start(&mut command)
        .wait(SOON * 3)
        .expect(1, &["Go on?", &name, "not there any more"]);
    assert_same(&tree(&site.path("media")), &now);

    let made = site.catalog()[&name]["timestamp"].as_i64().unwrap();
    site.run(&format!("{restore} --timestamp {made}")).good();
    assert_eq!(
        fs::read_to_string(site.path("media/a.txt")).unwrap(),
        "hello\n".repeat(1000)
    );
}
