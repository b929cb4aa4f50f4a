//! Whatever happens to a folder while it is packed never breaks the archive.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::site::*;
use common::watched;
use common::{Scratch, noise, stdout, succeeded, tool};
use rustix::fs::{CWD, FileType};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zbackup_core::archive::check_tar;
use zbackup_core::backup::{self, Report};
use zbackup_core::progress::Phase;

/// Backs up a folder that `fill` has filled, and calls `act` with it while its first file, `a-big`, is
/// read. Gives the length that this file had.
fn changed(fill: fn(&Path), act: fn(&Path)) -> (Scratch, Report, PathBuf, u64) {
    // Progress comes after a quarter of a second: until then the file must not be through.
    for power in 29..36 {
        let scratch = Scratch::new();
        let site = site(&scratch);
        let media = scratch.join("media");
        fill(&media);
        let length = 1 << power;
        let big = File::create(media.join("a-big")).unwrap();
        big.set_len(length).unwrap();
        let acted = Arc::new(AtomicBool::new(false));
        let have_acted = acted.clone();
        let monitor = watched(move |snapshot| {
            let is_midway = snapshot.phase == Phase::Files && (1..length).contains(&snapshot.done);
            if is_midway && !have_acted.swap(true, Ordering::Relaxed) {
                act(&media);
            }
        });
        let report = backup::run(&site, OPTIONS, &monitor).unwrap();
        if acted.load(Ordering::Relaxed) {
            let archive = site.backup_dir.join("test-2.tar.gz");
            return (scratch, report, archive, length);
        }
    }
    panic!("a file of 32 GiB was read before there was any progress");
}

/// The entries of an archive that GNU tar takes: kind, length, and the start of the content.
fn entries(archive: &Path) -> BTreeMap<String, (tar::EntryType, u64, String)> {
    let mut command = tool("tar");
    let mut child = command
        .args(["-tf", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    io::copy(&mut unpacked(archive), &mut stdin).unwrap();
    drop(stdin);
    succeeded(&command, &child.wait_with_output().unwrap());

    check_tar(unpacked(archive)).unwrap();
    let mut entries = BTreeMap::new();
    for entry in tar::Archive::new(unpacked(archive)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut start = String::new();
        (&mut entry).take(100).read_to_string(&mut start).unwrap();
        entries.insert(path, (entry.header().entry_type(), entry.size(), start));
    }
    entries
}

#[test]
fn what_shrinks_vanishes_or_is_replaced_does_not_break_the_archive() {
    let fill = |media: &Path| {
        for name in ["b-vanishes", "d-fifo", "e-link", "f-folder", "g-stays"] {
            std::fs::write(media.join(name), name).unwrap();
        }
        std::fs::create_dir(media.join("c-folder")).unwrap();
        std::fs::write(media.join("c-folder/inside"), "").unwrap();
        std::fs::create_dir(media.join("h-file")).unwrap();
    };
    let act = |media: &Path| {
        let big = File::options()
            .write(true)
            .open(media.join("a-big"))
            .unwrap();
        big.set_len(3).unwrap();
        for name in ["b-vanishes", "d-fifo", "e-link", "f-folder"] {
            std::fs::remove_file(media.join(name)).unwrap();
        }
        std::fs::remove_dir_all(media.join("c-folder")).unwrap();
        std::fs::remove_dir(media.join("h-file")).unwrap();
        special(&media.join("d-fifo"), FileType::Fifo);
        symlink("g-stays", media.join("e-link")).unwrap();
        std::fs::create_dir(media.join("f-folder")).unwrap();
        std::fs::write(media.join("f-folder/new"), "new").unwrap();
        std::fs::write(media.join("h-file"), "file").unwrap();
        std::fs::write(media.join("i-too-late"), "").unwrap();
    };
    let (_scratch, report, archive, length) = changed(fill, act);
    let reported = reported(&report);
    let paths: Vec<&&str> = reported.keys().collect();
    assert_eq!(paths, [&"a-big", &"b-vanishes", &"c-folder", &"d-fifo"]);
    assert!(
        reported["a-big"].starts_with("it shrank while it was read"),
        "{reported:?}"
    );
    assert!(reported["b-vanishes"].contains("vanished"), "{reported:?}");
    assert!(reported["c-folder"].contains("vanished"), "{reported:?}");
    assert_eq!(reported["d-fifo"], "it is a FIFO, not a file");
    let entries = entries(&archive);
    let expected: [(&str, tar::EntryType, u64, &str); 6] = [
        ("a-big", tar::EntryType::Regular, length, &"\0".repeat(100)),
        ("e-link", tar::EntryType::Symlink, 0, ""),
        ("f-folder/", tar::EntryType::Directory, 0, ""),
        ("f-folder/new", tar::EntryType::Regular, 3, "new"),
        ("g-stays", tar::EntryType::Regular, 7, "g-stays"),
        ("h-file", tar::EntryType::Regular, 4, "file"),
    ];
    let expected = expected.map(|(path, kind, size, start)| {
        let path = path.to_owned();
        (path, (kind, size, start.to_owned()))
    });
    assert_eq!(entries, expected.into());
}

/// The one file is in the archive with the length that it had, and is reported.
fn is_reported(act: fn(&Path), reason: &str) {
    let (_scratch, report, archive, length) = changed(|_| (), act);
    let reported = reported(&report);
    assert_eq!(reported.keys().collect::<Vec<_>>(), [&"a-big"]);
    assert!(reported["a-big"].starts_with(reason), "{reported:?}");
    let entries = entries(&archive);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries["a-big"].1, length);
}

#[test]
fn a_file_that_grows_is_reported() {
    let act = |media: &Path| {
        let mut big = File::options()
            .append(true)
            .open(media.join("a-big"))
            .unwrap();
        big.write_all(&[b'x'; 5000]).unwrap();
    };
    is_reported(act, "it grew while it was read");
}

#[test]
fn a_file_that_is_removed_while_it_is_read_is_reported() {
    let act = |media: &Path| std::fs::remove_file(media.join("a-big")).unwrap();
    is_reported(act, "it was removed while it was read");
}

#[test]
fn a_file_that_is_written_to_while_it_is_read_is_reported() {
    let act = |media: &Path| {
        let mut big = File::options()
            .write(true)
            .open(media.join("a-big"))
            .unwrap();
        big.write_all(b"new").unwrap();
    };
    is_reported(act, "it was changed while it was read");
}

/// A log that is rotated, a file that an editor replaces: as it was when it was opened.
#[test]
fn a_file_that_is_renamed_over_while_it_is_read_is_reported() {
    let act = |media: &Path| {
        std::fs::write(media.join("new"), "new").unwrap();
        std::fs::rename(media.join("new"), media.join("a-big")).unwrap();
    };
    is_reported(act, "it was removed while it was read");
}

/// Between the look at what it is and the opening of it, a file becomes a FIFO: that must not wait for
/// somebody to write into it. It takes luck to meet that moment, and many tries: how many depends on the machine.
#[test]
fn a_file_that_becomes_a_fifo_is_not_waited_for() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let path = scratch.join("media/a");
    let other = scratch.join("other");
    std::fs::write(&path, "file").unwrap();
    special(&other, FileType::Fifo);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, &path, CWD, &other, exchange).unwrap();
            }
        });
        let mut reasons = BTreeSet::new();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            let (report, archive) = backup(&site);
            let reported = reported(&report);
            reasons.extend(reported.values().map(|&reason| reason.to_owned()));
            let count = check_tar(unpacked(&archive)).unwrap().entries;
            assert_eq!(count + reported.len() as u64, 1, "{reported:?}");
            if reasons.contains("it was replaced by another thing") {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(
            reasons.contains("it was replaced by another thing"),
            "{reasons:?}"
        );
    });
}

/// A disk with a bad block: what was read before it is in the archive, zeros in the place of the rest,
/// and all other files.
///
/// strace lets the reads of one file fail in a second run of this test.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_becomes_unreadable_does_not_break_the_archive() {
    const CHILD: &str = "ZBACKUP_TEST_UNREADABLE";
    if let Some(folder) = std::env::var_os(CHILD) {
        // The scratch folder is the other run's: it removes it.
        let scratch = std::mem::ManuallyDrop::new(Scratch::at(folder.into()));
        let (report, _) = backup(&site(&scratch));
        let report = serde_json::to_vec(&report.skipped).unwrap();
        std::fs::write(scratch.join("report.json"), report).unwrap();
        return;
    }
    for good_reads in [0, 1, 2, 3] {
        let scratch = Scratch::new();
        let site = site(&scratch);
        let media = scratch.join("media");
        let content = noise(3_000_001, 3);
        std::fs::write(media.join("a"), "before it").unwrap();
        std::fs::write(media.join("bad"), &content).unwrap();
        std::fs::write(media.join("c"), "after it").unwrap();
        let mut command = tool("strace");
        command
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=read"])
            .args([
                "-e",
                &format!("inject=read:error=EIO:when={}+", good_reads + 1),
            ])
            .arg("-P")
            .arg(media.join("bad"))
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_file_that_becomes_unreadable_does_not_break_the_archive",
            ])
            .env(CHILD, scratch.path());
        stdout(&mut command);
        let report = std::fs::read_to_string(scratch.join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report.as_array().unwrap().len(), 1, "{report}");
        assert_eq!(report[0]["path"], "bad");
        let reason = report[0]["reason"].as_str().unwrap();
        assert!(reason.starts_with("it became unreadable"), "{reason}");

        let archive = site.backup_dir.join("test-2.tar.gz");
        let names = [&b"a"[..], b"bad", b"c"].map(<[u8]>::to_vec);
        assert_eq!(listed(&archive), names.into(), "after {good_reads} reads");
        let back = |name: &str| stdout(tool("tar").arg("-xOzf").arg(&archive).arg(name));
        assert_eq!(back("a"), b"before it");
        assert_eq!(back("c"), b"after it");
        let bad = back("bad");
        assert_eq!(bad.len(), content.len());
        let same = bad
            .iter()
            .zip(&content)
            .take_while(|(one, other)| one == other)
            .count();
        assert_eq!(
            same > 0,
            good_reads > 0,
            "{same} bytes after {good_reads} reads"
        );
        assert!(bad[same..].iter().all(|&byte| byte == 0));
        // What is said about it is so.
        let missing: usize = reason
            .split(' ')
            .find_map(|word| word.parse().ok())
            .unwrap();
        assert!(
            missing.abs_diff(content.len() - same) < 8,
            "{reason}: {same} bytes are right"
        );
    }
}
