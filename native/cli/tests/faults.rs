//! A disk that is full or fails at any write, one that does things by halves, and a clock that jumps: a
//! backup and a restore end well or say why not, and nothing that was good before is lost.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::fault::{SmallDisk, Tally, failing_write, faulty, times};
use common::{DUMP, PATIENCE, Ran, Running, Site, assert_same, is_alive, noise, sh, tree, write};
use std::fs;
use std::path::Path;

const ENOSPC: &str = "28";
const EIO: &str = "5";

/// A site with a good backup, which has changed since.
fn site(is_encrypted: bool) -> Site {
    let mut site = Site::new();
    site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    site.encrypt(is_encrypted);
    site.backup();
    write(&site.path("media/new"), "new\n".repeat(20_000));
    site
}

/// A command that fails says why, in words of a person; and what it can have left is no half of a backup.
#[track_caller]
fn is_whole_after(site: &Site, ran: &Ran, at: &str) {
    if !ran.status.success() {
        assert_eq!(ran.status.code(), Some(1), "{at}: {ran:#?}");
        assert!(ran.stderr.contains("zbackup: "), "{at}: {ran:#?}");
    }
    assert!(!ran.said().contains("panicked"), "{at}: {ran:#?}");
    site.run("list").good().without(&["missing"]);
    let ran = site.run("verify");
    assert_eq!(ran.status.code(), Some(0), "{at}: {ran:#?}");
}

#[test]
fn a_disk_that_fails_at_any_write_leaves_a_whole_backup() {
    let mut tally = Tally::new("backup, each write fails");
    for is_encrypted in [true, false] {
        let site = site(is_encrypted);
        for faults in [
            &[("FAULT_ERRNO", ENOSPC), ("FAULT_FOREVER", "1")][..],
            &[("FAULT_ERRNO", EIO)],
        ] {
            for nth in 1.. {
                let (has_struck, ran) = failing_write(&site, "backup", nth, faults);
                let at = format!("write {nth} with {faults:?}");
                is_whole_after(&site, &ran, &at);
                tally.step(has_struck);
                if !has_struck {
                    assert!(ran.status.success(), "{at}: {ran:#?}");
                    break;
                }
                // No write is one that does not matter, and none that failed passes for one that did not.
                assert!(!ran.status.success(), "{at}: {ran:#?}");
            }
        }
    }
    tally.finish(20);
}

#[test]
fn a_disk_that_fails_at_any_write_leaves_the_old_site_or_the_new_one() {
    let mut tally = Tally::new("restore, each write fails");
    let mut site = site(true);
    site.set_database("");
    let name = site.backup();
    let good = tree(&site.path("media"));
    write(&site.path("media/a.txt"), "worse");
    fs::remove_file(site.path("media/new")).unwrap();
    let worse = tree(&site.path("media"));
    let words = format!("restore {name} --yes --trust-dump");
    for faults in [
        &[("FAULT_ERRNO", ENOSPC), ("FAULT_FOREVER", "1")][..],
        &[("FAULT_ERRNO", EIO)],
    ] {
        for nth in 1.. {
            let (has_struck, ran) = failing_write(&site, &words, nth, faults);
            let at = format!("write {nth} with {faults:?}: {ran:#?}");
            assert!(!ran.said().contains("panicked"), "{at}");
            tally.step(has_struck);
            // What was decided is completed by the next command, with a disk that works.
            site.run("list").good();
            let now = tree(&site.path("media"));
            if now.get(Path::new("a.txt")) == worse.get(Path::new("a.txt")) {
                assert_same(&now, &worse);
                assert!(!ran.status.success(), "{at}");
            } else {
                assert_same(&now, &good);
                write(&site.path("media/a.txt"), "worse");
                fs::remove_file(site.path("media/new")).unwrap();
            }
            if !has_struck {
                assert!(ran.status.success(), "{at}");
                break;
            }
        }
    }
    tally.finish(8);
}

/// The same with a disk that is really full, at any of its pages: there was room when the backup began.
#[test]
fn a_disk_that_is_full_at_any_page_leaves_a_whole_backup() {
    let mut tally = Tally::new("backup, disk full at each page");
    for is_encrypted in [false, true] {
        let mut site = site(is_encrypted);
        let disk = match SmallDisk::mount(&site.path("disk"), 4 << 20) {
            Ok(disk) => disk,
            Err(words) => return eprintln!("{words}"),
        };
        site.set("backup_dir", "\"disk/backup\"");
        disk.run(&site.zbackup("backup")).good();
        // Somebody else fills it while the database is dumped.
        let full = site.path("full");
        let (disk_at, full_at) = (site.path("disk"), full.display());
        site.fake_dump(&format!(
            "{}\ncat <<'EOF'\n{DUMP}EOF",
            common::fault::fill(&disk_at, &format!("$(cat {full_at})"))
        ));
        // Deriving a password takes a while: not each page, unless there is time.
        let step = match (is_encrypted, times()) {
            (true, 1) => 12,
            (false, 1) => 4,
            _ => 1,
        };
        for pages in (0..).step_by(step) {
            disk.empty();
            write(&full, pages.to_string());
            let ran = disk.run(&site.zbackup("backup"));
            let is_full = !ran.status.success();
            if is_full {
                ran.expect(1, &["No space left", "free some space", "untouched"]);
            }
            let left = tree(&disk.seen().join("backup"));
            assert_eq!(left.len(), 4, "with {pages} pages: {:?}", left.keys());
            disk.run(&site.zbackup("verify")).good();
            tally.step(is_full);
            if !is_full {
                break;
            }
        }
    }
    tally.finish(20);
}

#[test]
fn a_disk_that_is_full_at_any_page_leaves_the_old_site() {
    let mut tally = Tally::new("restore, disk full at each page");
    let mut site = Site::new();
    let disk = match SmallDisk::mount(&site.path("disk"), 4 << 20) {
        Ok(disk) => disk,
        Err(words) => return eprintln!("{words}"),
    };
    site.set("media_dir", "\"disk/media\"");
    let media = disk.seen().join("media");
    write(&media.join("a.txt"), "good");
    write(&media.join("deep/photo.jpg"), noise(60_000, 3));
    let good = tree(&media);
    let ran = disk.run(&site.zbackup("backup --json")).good();
    let name = ran.json()["backup"]["name"].as_str().unwrap().to_owned();
    write(&media.join("a.txt"), "worse");
    let worse = tree(&media);
    let step = if times() == 1 { 64 } else { 4 };
    for pages in (0..).step_by(step) {
        disk.fill(pages);
        let ran = disk.run(&site.zbackup(&format!("restore {name} --yes --trust-dump")));
        let is_full = !ran.status.success();
        tally.step(is_full);
        if is_full {
            ran.expect(1, &["free some space"]);
            disk.empty();
            disk.run(&site.zbackup("list")).good();
            assert_same(&tree(&media), &worse);
            assert_eq!(fs::read_dir(disk.seen()).unwrap().count(), 1, "{pages}");
        } else {
            assert_same(&tree(&media), &good);
            break;
        }
    }
    tally.finish(5);
}

/// Reads and writes that do a part of what they were asked for, or are interrupted, are no faults.
#[test]
fn a_disk_that_does_things_by_halves_is_no_fault() {
    let mut tally = Tally::new("short and interrupted reads and writes");
    for is_encrypted in [true, false] {
        let site = site(is_encrypted);
        let short = |words: &str| {
            let mut command = faulty(&site, words, &[("FAULT_SHORT", "1")]);
            Running::start(&mut command).wait(PATIENCE).good()
        };
        let before = tree(&site.path("media"));
        let ran = short("backup --json");
        let name = ran.json()["backup"]["name"].as_str().unwrap().to_owned();
        tally.step(true);
        // By the one and by the other kind of disk.
        site.run("verify").good();
        short("verify");
        tally.step(true);
        write(&site.path("media/a.txt"), "worse");
        short(&format!(
            "restore {name} --yes --trust-dump --only files,config,security"
        ));
        tally.step(true);
        assert_same(&tree(&site.path("media")), &before);
    }
    tally.finish(6);
}

const DAY: i64 = 86_400;

/// A clock that is anywhere, and somewhere else each time that it is looked at.
#[test]
fn a_clock_that_jumps_costs_no_backup() {
    let mut tally = Tally::new("backup, the clock jumps");
    let site = site(false);
    let name = site.backup();
    let known = site.catalog()[&name].clone();
    // Another day's, which a wrong clock could make old.
    let copy = |to: &str| {
        let names = [
            ("database", "{}.sql.gz"),
            ("config_files", "config-{}.tar.gz"),
            ("files", "{}.tar.gz"),
        ];
        let mut entry = known.clone();
        for (key, pattern) in names {
            let file = pattern.replace("{}", to);
            fs::copy(site.part(&name, key), site.backups().join(&file)).unwrap();
            entry[key] = file.into();
        }
        site.edit_catalog(|catalog| catalog[to] = entry.clone());
    };
    for slot in ["1", "w1", "w2", "w3"] {
        if name != format!("site-{slot}") {
            copy(&format!("site-{slot}"));
        }
    }
    let before = site.catalog();
    let jumps = [
        vec![0, 400 * DAY],
        vec![0, -400 * DAY, 7 * DAY],
        vec![1, -1],
        vec![-DAY, DAY, 0, -DAY],
        vec![-30 * 365 * DAY],
        vec![150 * 365 * DAY],
        vec![-100 * 365 * DAY],
        vec![0, -100 * 365 * DAY],
    ];
    for offsets in &jumps {
        let text: Vec<_> = offsets.iter().map(i64::to_string).collect();
        let clock = text.join(",");
        for words in ["backup", "list", "verify"] {
            let mut command = faulty(&site, words, &[("FAULT_CLOCK", &clock)]);
            let ran = Running::start(&mut command).wait(PATIENCE);
            assert!(
                !ran.said().contains("panicked"),
                "{words} at {clock}: {ran:#?}"
            );
            assert!(
                matches!(ran.status.code(), Some(0..=2)),
                "{words} at {clock}: {ran:#?}"
            );
            tally.step(true);
        }
        site.run("list").good().without(&["missing"]);
        let ran = site.run("verify");
        assert_eq!(ran.status.code(), Some(0), "{clock}: {ran:#?}");
        // No backup but the one of the day that it was went away.
        let now = site.catalog();
        for name in before.as_object().unwrap().keys() {
            assert!(
                now.get(name).is_some(),
                "{name} is gone after {clock}: {now:#}"
            );
        }
    }
    // With the right time all is as it was.
    site.backup();
    site.run("verify").good();
    tally.finish(20);
}

/// A `pg_dump` that is killed at any time is no backup.
#[test]
fn a_dump_that_is_killed_is_no_backup() {
    let mut tally = Tally::new("backup, pg_dump is killed");
    let mut site = site(true);
    let pid = site.path("pid");
    site.fake_dump(&format!(
        "echo $$ >'{}'\nprintf -- '--\\n-- PostgreSQL database dump\\n--\\n'\nwhile sleep 0.01; do echo '-- more'; done",
        pid.display()
    ));
    let kept = site.kept();
    for number in 0..4 * times() {
        let _ = fs::remove_file(&pid);
        let running = Running::start(&mut site.zbackup("backup"));
        let mut dump = None;
        common::until("it dumps", || {
            dump = fs::read_to_string(&pid)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            dump.is_some()
        });
        std::thread::sleep(std::time::Duration::from_millis(u64::from(number % 40) * 5));
        let dump: u32 = dump.unwrap();
        common::kill(["KILL", "TERM"][number as usize % 2], dump);
        running.wait(PATIENCE).expect(1, &["pg_dump"]);
        assert!(!is_alive(dump));
        kept.check();
        tally.step(true);
    }
    sh("rm -f \"$1\"", &[&pid]).good();
    tally.finish(4);
}
