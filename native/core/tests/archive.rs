//! Folders into archives: whatever is in a folder comes out of every `tar` as it was, whatever
//! happens to the folder meanwhile never breaks the archive.
//!
//! Archives are made as a backup makes them, by [`zbackup_core::backup::run`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::site::*;
#[cfg(target_os = "linux")]
use common::unprivileged;
use common::watched;
use common::{Scratch, cancelled_at_once, fed, noise, password, stdout, succeeded, tool};
use jiff::civil::date;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::fs::{mkdirat, mknodat, openat};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zbackup_core::archive::check_tar;
use zbackup_core::backup::{self, Options, Report};
use zbackup_core::catalog::Part;
use zbackup_core::error::ErrorKind;
use zbackup_core::progress::{Cancel, Monitor, Phase, Progress, Snapshot};
use zbackup_core::site::Encryption;
use zbackup_core::verify;

#[test]
fn odd_things_survive() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let media = scratch.join("media");
    odd_tree(&media);
    let before = things(&media);
    // The file system must have kept the times that this is about.
    let years: BTreeSet<i64> = before.values().map(|thing| thing.modified >> 30).collect();
    assert!(years.contains(&-1) && years.contains(&8), "{years:?}");

    let (report, archive) = backup(&site);
    assert_eq!(reported(&report), BTreeMap::new());
    same("folder and archive", &as_listed(&before), &listed(&archive));
    assert!(
        things(&media) == before,
        "making a backup changed the folder"
    );

    let back = scratch.join("back");
    std::fs::create_dir(&back).unwrap();
    let mut command = tool("tar");
    command.arg("-xpzf").arg(&archive).arg("-C").arg(&back);
    let output = command.output().unwrap();
    succeeded(&command, &output);
    let after = things(&back);
    for (path, thing) in &before {
        let path = path.escape_ascii().to_string();
        let path = path.get(..150).unwrap_or(&path);
        assert_eq!(after.get(path_of(&before, thing)), Some(thing), "{path}");
    }
    assert_eq!(before.len(), after.len());
}

/// The path of a thing in its map.
fn path_of<'a>(things: &'a BTreeMap<Vec<u8>, Thing>, thing: &Thing) -> &'a [u8] {
    let mut all = things.iter();
    all.find(|(_, other)| std::ptr::eq(*other, thing))
        .unwrap()
        .0
}

/// Longer than what the operating system takes as one path: made, and read, step by step.
#[test]
fn no_path_is_too_long() {
    // Few folders may be open at the same time.
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = Some(limit.current.map_or(1024, |current| current.min(1024)));
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let scratch = Scratch::new();
    let site = site(&scratch);
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mode = Mode::from_raw_mode(0o755);
    for (name, levels) in [
        ("d".to_owned(), 2500),
        ("x".repeat(200), 40),
        ("y".repeat(255), 20),
    ] {
        let mut here = folder(CWD, scratch.join("media").as_os_str().as_bytes());
        let mut path = Vec::new();
        for level in 0..levels {
            mkdirat(&here, name.as_str(), mode).unwrap();
            here = folder(&here, name.as_bytes());
            path.extend_from_slice(name.as_bytes());
            path.push(b'/');
            expected.insert(path.clone(), Vec::new());
            if level + 1 == levels || level % (levels / 10) == 0 {
                // Names before and after that of the folder beside them.
                for file in ["a", "zzz"] {
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
                    let opened = openat(&here, file, flags, Mode::from_raw_mode(0o644)).unwrap();
                    let content = format!("{file} in level {level}").into_bytes();
                    File::from(opened).write_all(&content).unwrap();
                    expected.insert([&path, file.as_bytes()].concat(), content);
                }
            }
        }
        assert!(path.len() >= 5000);
    }

    let (report, archive) = backup(&site);
    assert_eq!(reported(&report), BTreeMap::new());
    let names: BTreeSet<Vec<u8>> = expected.keys().cloned().collect();
    same("folder and archive", &names, &listed(&archive));
    for entry in tar::Archive::new(unpacked(&archive)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path_bytes().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, expected[&path], "{}", path.escape_ascii());
    }
}

#[test]
fn an_empty_folder_is_an_archive_too() {
    let scratch = Scratch::new();
    let (report, archive) = backup(&site(&scratch));
    assert_eq!(reported(&report), BTreeMap::new());
    assert_eq!(listed(&archive), BTreeSet::new());
}

#[test]
fn what_is_no_file_is_skipped_and_reported() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let media = scratch.join("media");
    std::fs::create_dir(media.join("folder")).unwrap();
    special(&media.join("a-fifo"), FileType::Fifo);
    special(&media.join("folder/fifo"), FileType::Fifo);
    special(&media.join("folder/socket"), FileType::Socket);
    std::fs::write(media.join("z"), "z").unwrap();
    // Only root may make one; it would be nothing to read.
    let device = mknodat(
        CWD,
        media.join("null"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    );
    let (report, archive) = backup(&site);
    let mut expected = BTreeMap::from([
        ("a-fifo", "it is a FIFO, not a file"),
        ("folder/fifo", "it is a FIFO, not a file"),
        ("folder/socket", "it is a socket, not a file"),
    ]);
    if device.is_ok() {
        expected.insert("null", "it is a device, not a file");
    }
    assert_eq!(reported(&report), expected);
    assert_eq!(
        listed(&archive),
        [&b"folder/"[..], b"z"].map(<[u8]>::to_vec).into()
    );
}

#[cfg(target_os = "linux")]
#[test]
fn what_may_not_be_read_is_reported() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let media = scratch.join("media");
    for name in ["a", "closed", "locked/inside", "z"] {
        let path = media.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
    // Its names could be read, but not what they are of.
    std::fs::create_dir(media.join("names-only")).unwrap();
    std::fs::write(media.join("names-only/inside"), "").unwrap();
    set_mode(&media.join("names-only"), 0o400);
    set_mode(&media.join("closed"), 0);
    set_mode(&media.join("locked"), 0);
    let (report, archive) = unprivileged(|| backup(&site));
    let denied = "it may not be read: permission denied";
    let expected = ["closed", "locked", "names-only"].map(|path| (path, denied));
    assert_eq!(reported(&report), expected.into());
    let names = [&b"a"[..], b"locked/", b"names-only/", b"z"];
    assert_eq!(listed(&archive), names.map(<[u8]>::to_vec).into());

    // The folder itself is another matter.
    set_mode(&media, 0);
    let error = unprivileged(|| backup::run(&site, OPTIONS, &Monitor::silent())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
}

#[test]
fn the_same_folder_is_the_same_archive() {
    let names: Vec<String> = (0..300)
        .map(|index| format!("{:x}", index * 7919))
        .collect();
    let archives = [false, true].map(|backwards| {
        let scratch = Scratch::new();
        let site = site(&scratch);
        let media = scratch.join("media");
        let mut order: Vec<&String> = names.iter().collect();
        if backwards {
            order.reverse();
        }
        for name in order {
            let folder = media.join(&name[..1]);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), name.repeat(1000)).unwrap();
            set_modified(&folder.join(name), 1_700_000_000);
        }
        for name in &names {
            set_modified(&media.join(&name[..1]), 1_700_000_000);
        }
        let (_, archive) = backup(&site);
        let first = std::fs::read(&archive).unwrap();
        // A file system may give names in the same order every time: that is not what decides.
        let mut order: Vec<Vec<u8>> = Vec::new();
        for entry in tar::Archive::new(unpacked(&archive)).entries().unwrap() {
            order.push(entry.unwrap().path_bytes().into_owned());
        }
        assert!(order.len() > 300 && order.is_sorted());
        // Also over itself, and on another day.
        let options = Options {
            day: Some(date(2024, 1, 2)),
            ..OPTIONS
        };
        backup::run(&site, options, &Monitor::silent()).unwrap();
        assert!(std::fs::read(site.backup_dir.join("test-3.tar.gz")).unwrap() == first);
        first
    });
    assert!(archives[0] == archives[1]);
}

#[test]
fn content_decides_what_is_compressed() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let path = scratch.join("media/noise.txt");
    let content = noise(8_000_000, 1);
    std::fs::write(&path, &content).unwrap();
    let (report, archive) = backup(&site);
    let made = &report.made[0];
    assert!(made.source_bytes > 8_000_000 && made.size < made.source_bytes * 1001 / 1000);
    // It is there as it is: nothing was deflated.
    let packed = std::fs::read(&archive).unwrap();
    let part = &content[4_000_000..4_000_100];
    assert!(packed.windows(part.len()).any(|window| window == part));

    std::fs::remove_file(path).unwrap();
    let text: Vec<u8> = (0..80_000)
        .flat_map(|line| format!("{line} lines of text\n").into_bytes())
        .collect();
    std::fs::write(scratch.join("media/text.jpg"), &text).unwrap();
    let (report, archive) = backup(&site);
    assert!(
        report.made[0].size < text.len() as u64 / 4,
        "{:?}",
        report.made
    );
    assert_eq!(listed(&archive).len(), 1);
}

/// Keeps the start of what goes by.
struct Start<R> {
    reader: R,
    start: Vec<u8>,
}

impl<R: Read> Read for Start<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let room = 4096_usize.saturating_sub(self.start.len());
        self.start.extend(&buffer[..count.min(room)]);
        Ok(count)
    }
}

/// Over 8 GiB a length does not fit into the octal digits of a header.
#[test]
fn a_file_over_8_gib_has_its_length() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let length = (8 << 30) + 12_345;
    let sparse = File::create(scratch.join("media/a-sparse")).unwrap();
    sparse.set_len(length).unwrap();
    std::fs::write(scratch.join("media/b"), "after it").unwrap();
    let (report, archive) = backup(&site);
    assert_eq!(reported(&report), BTreeMap::new());
    assert!(report.made[0].size < 64 << 20, "{:?}", report.made);

    let mut stream = Start {
        reader: unpacked(&archive),
        start: Vec::new(),
    };
    let contents = check_tar(&mut stream).unwrap();
    assert_eq!(contents.entries, 2);
    assert_eq!(
        contents.bytes,
        512 + length.next_multiple_of(512) + 512 + 512 + 1024
    );
    // GNU tar prints an entry before it misses the rest.
    let output = fed(
        tool("tar").args(["--full-time", "-tvf", "-"]),
        &stream.start,
    );
    let line = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[2], length.to_string(), "{line}");
    assert_eq!(words[5], "a-sparse", "{line}");
}

// Whatever happens to it meanwhile.

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
/// somebody to write into it. It takes luck to meet that moment, and many tries.
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
        for _ in 0..2000 {
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

// What else a backup is asked for.

#[test]
fn configuration_has_its_place_in_the_archive() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    site.media_dir = None;
    let file = |name: &str| {
        let path = scratch.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, name).unwrap();
        path
    };
    let own = file("site/priv/zotonic_site.config");
    let more = file("site/priv/config.d/10-more.config");
    file("site/security/ca.pem");
    file("site/security/keys/key.pem");
    special(&scratch.join("site/security/fifo"), FileType::Fifo);
    site.config_files = vec![own, more];
    site.security_dir = Some(scratch.join("site/security"));
    let report = backup::run(&site, OPTIONS, &Monitor::silent()).unwrap();
    assert_eq!(report.made.len(), 1);
    assert_eq!(report.made[0].part, Part::Config);
    let names = listed(&site.backup_dir.join("config-test-2.tar.gz"));
    let files: Vec<&str> = names
        .iter()
        .map(|name| std::str::from_utf8(name).unwrap())
        .filter(|name| !name.ends_with('/'))
        .collect();
    let expected = [
        "config-test/config/config.d/10-more.config",
        "config-test/config/priv/zotonic_site.config",
        "config-test/security/ca.pem",
        "config-test/security/keys/key.pem",
    ];
    assert_eq!(files, expected);
    // It is reported by the path that it would have there.
    assert_eq!(
        reported(&report).into_keys().collect::<Vec<_>>(),
        ["config-test/security/fifo"]
    );

    // What is named is a file: not a folder, and not what has no end.
    let made = content(&site.backup_dir);
    special(&scratch.join("site/priv/fifo"), FileType::Fifo);
    for name in ["site/priv/config.d", "site/priv/fifo"] {
        site.config_files = vec![scratch.join(name)];
        let error = backup::run(&site, OPTIONS, &Monitor::silent()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{name}: {error}");
        assert!(content(&site.backup_dir) == made, "{name}");
    }
}

/// No archive has a way out of the folder that it is unpacked in.
#[test]
fn configuration_stays_in_its_place() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    site.media_dir = None;
    std::fs::create_dir_all(scratch.join("config.d/sub")).unwrap();
    scratch.file("outside", b"x");
    scratch.file("config.d/inside", b"x");
    site.config_files = vec![
        scratch.join("config.d/../outside"),
        scratch.join("config.d/sub/../inside"),
    ];
    // Either it is refused or its names are plain.
    match backup::run(&site, OPTIONS, &Monitor::silent()) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Usage, "{error}"),
        Ok(_) => {
            for name in listed(&site.backup_dir.join("config-test-2.tar.gz")) {
                let name = String::from_utf8(name).unwrap();
                assert!(!name.split('/').any(|step| step == ".."), "{name}");
            }
        }
    }
}

/// It would be backed up with the media, and grow every night.
#[test]
fn a_backup_folder_inside_of_the_media_is_refused() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    symlink("media", scratch.join("link")).unwrap();
    std::fs::write(scratch.join("media/file"), "x").unwrap();
    let inside = [
        "media",
        "media/backup",
        "media/new/backup",
        "link",
        "link/backup",
        "link/new/backup",
    ];
    for name in inside {
        site.backup_dir = scratch.join(name);
        let result = backup::run(&site, OPTIONS, &Monitor::silent());
        let Err(error) = result else {
            panic!("{name} was taken");
        };
        assert_eq!(error.kind(), ErrorKind::Usage, "{name}: {error}");
        assert_eq!(
            common::names(&scratch.join("media")),
            common::set(["file"]),
            "{name}"
        );
    }
    // A name that only begins like it is another folder.
    site.backup_dir = scratch.join("media-backup");
    backup::run(&site, OPTIONS, &Monitor::silent()).unwrap();
}

/// The files of a folder, with their content.
fn content(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let names = common::names(folder).into_iter();
    names
        .map(|name| {
            let content = std::fs::read(folder.join(&name)).unwrap();
            (name, content)
        })
        .collect()
}

#[test]
fn a_cancelled_backup_leaves_the_one_before_it() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    std::fs::write(scratch.join("media/b"), "old").unwrap();
    let error = backup::run(&site, OPTIONS, &cancelled_at_once()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(content(&site.backup_dir), BTreeMap::new());

    backup(&site);
    let before = content(&site.backup_dir);
    assert_eq!(before.len(), 2);
    std::fs::write(scratch.join("media/b"), "new").unwrap();
    let error = backup::run(&site, OPTIONS, &cancelled_at_once()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(content(&site.backup_dir) == before);
}

struct CancelMidway(Cancel);

impl Progress for CancelMidway {
    fn update(&self, snapshot: Snapshot) {
        if snapshot.done > 0 {
            self.0.cancel();
        }
    }
}

#[test]
fn a_backup_that_is_cancelled_midway_leaves_the_one_before_it() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    std::fs::write(scratch.join("media/b"), "old").unwrap();
    backup(&site);
    let before = content(&site.backup_dir);
    // So large that only a cancelled one ends.
    let big = File::create(scratch.join("media/a-big")).unwrap();
    big.set_len(1 << 43).unwrap();
    let cancel = Cancel::default();
    let monitor = Monitor::new(Arc::new(CancelMidway(cancel.clone())), cancel);
    let error = backup::run(&site, OPTIONS, &monitor).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(content(&site.backup_dir) == before);
}

#[test]
fn what_is_damaged_is_said_by_verify() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    std::fs::write(scratch.join("media/noise"), noise(3 << 20, 4)).unwrap();
    std::fs::write(scratch.join("media/text"), "text".repeat(1000)).unwrap();
    for word in [None, Some(password("word"))] {
        site.encryption = word.clone().map(Encryption::Password);
        let report = backup::run(&site, OPTIONS, &Monitor::silent()).unwrap();
        let path = site.backup_dir.join(report.made[0].file.as_str());
        let verify = || {
            verify::run(
                &site.backup_dir,
                &[],
                word.as_ref(),
                None,
                &Monitor::silent(),
            )
        };
        let good = verify().unwrap();
        assert!(good[0].ok, "{good:?}");
        assert_eq!(good[0].parts[0].contents.unwrap().entries, 2);

        let file = std::fs::read(&path).unwrap();
        let flipped = |at: usize| {
            let mut file = file.clone();
            file[at] ^= 1;
            file
        };
        let half = file.len() / 2;
        // The middle third is gone.
        let lost = [&file[..half - 5], &file[half + 5..]].concat();
        let damages = [
            ("one byte short", file[..file.len() - 1].to_vec()),
            ("half of it", file[..half].to_vec()),
            ("its first bytes", file[..20].to_vec()),
            ("nothing", Vec::new()),
            ("a flipped bit", flipped(half)),
            ("a flipped bit at the end", flipped(file.len() - 1)),
            ("a flipped bit in the header", flipped(3)),
            ("bytes lost", lost),
            ("a byte more", [&file[..], b"x"].concat()),
        ];
        for (what, damaged) in damages {
            std::fs::write(&path, damaged).unwrap();
            let found = verify().unwrap_or_else(|error| panic!("{what}, {path:?}: {error}"));
            assert!(!found[0].ok, "{what}, {path:?}");
            let part = &found[0].parts[0];
            assert_eq!(
                part.kind,
                Some(ErrorKind::Damaged),
                "{what}, {path:?}: {part:?}"
            );
        }
        std::fs::remove_file(path).unwrap();
        let found = verify().unwrap();
        assert_eq!(found[0].parts[0].kind, Some(ErrorKind::NotFound));
    }
}

/// What a command prints, for the sake of the metadata that no other test looks at: who owns a file.
#[test]
fn owners_are_kept() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let path = scratch.join("media/file");
    std::fs::write(&path, "x").unwrap();
    // Only root may give a file away; large numbers do not fit into octal digits.
    for owner in [1234, 2_097_151, 2_097_152, 4_000_000_000] {
        let _ = std::os::unix::fs::chown(&path, Some(owner), Some(owner));
        let metadata = path.metadata().unwrap();
        let (_, archive) = backup(&site);
        let mut command: Command = tool("tar");
        command.args(["--numeric-owner", "-tvzf"]).arg(archive);
        let line = String::from_utf8(stdout(&mut command)).unwrap();
        let expected = format!("{}/{}", metadata.uid(), metadata.gid());
        assert_eq!(
            line.split_whitespace().nth(1),
            Some(expected.as_str()),
            "{line}"
        );
    }
}
