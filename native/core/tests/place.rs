//! What is unpacked comes into its place whole, whatever is there and whenever it is killed; and a million
//! entries do not take the memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::site::*;
use common::tar::Tar;
#[cfg(target_os = "linux")]
use common::unprivileged;
use common::{Scratch, names, noise, set};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use zbackup_core::archive::{Skipped, unpack};
use zbackup_core::error::ErrorKind;
use zbackup_core::progress::Monitor;
use zbackup_core::restore::place;

fn all(path: &[u8]) -> Option<Vec<u8>> {
    Some(path.to_vec())
}

/// Unpacks into a new folder of that name.
fn staged(scratch: &Scratch, name: &str, archive: impl Read) -> PathBuf {
    let into = scratch.join(name);
    std::fs::create_dir(&into).unwrap();
    unpack(archive, &into, &all, &Monitor::silent()).unwrap();
    into
}

fn placed(staged: &Path, target: &Path) -> BTreeMap<String, String> {
    let aside = place(staged, target, &Monitor::silent()).unwrap();
    assert!(!staged.exists());
    let pairs = aside.into_iter();
    pairs
        .map(|Skipped { path, reason, .. }| (path, reason))
        .collect()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn aside(path: &str, now: &str) -> (String, String) {
    let reason = format!("something else was in its place: that is now {now}");
    (path.to_owned(), reason)
}

#[test]
fn what_is_not_in_the_backup_stays() {
    let scratch = Scratch::new();
    let site = scratch.join("site");
    std::fs::create_dir_all(site.join("a/own")).unwrap();
    for path in ["own", "a/own/x", "a/both", "both"] {
        std::fs::write(site.join(path), "old").unwrap();
    }
    std::os::unix::fs::symlink("old", site.join("link")).unwrap();
    // How a site has its groups: no archive gives that, and none takes it.
    set_mode(&site.join("a"), 0o2775);
    let open = File::open(site.join("both")).unwrap();
    let archive = Tar::new()
        .file("both", b"new")
        .mode(0o750)
        .folder("a")
        .mode(0o640)
        .file("a/both", b"new")
        .file("a/new/new", b"new")
        .link(b'2', "link", "new");
    let into = staged(&scratch, "into", &archive.end()[..]);
    assert_eq!(placed(&into, &site), BTreeMap::new());
    for (path, expected) in [
        ("own", "old"),
        ("a/own/x", "old"),
        ("both", "new"),
        ("a/both", "new"),
        ("a/new/new", "new"),
    ] {
        assert_eq!(read(site.join(path)), expected, "{path}");
    }
    assert_eq!(site.join("link").read_link().unwrap(), Path::new("new"));
    // It was replaced, not written over.
    assert_eq!(io::read_to_string(open).unwrap(), "old");
    let metadata = |path: &str| site.join(path).metadata().unwrap();
    assert_eq!(metadata("a").mode() & 0o7777, 0o2750);
    assert_eq!(metadata("a").mtime(), 1_000_000_000);
    assert_eq!(metadata("a/both").mode() & 0o7777, 0o640);
    assert_eq!(names(scratch.path()), set(["site"]));
}

#[test]
fn what_is_in_the_way_is_kept() {
    let scratch = Scratch::new();
    let (site, outside) = (scratch.join("site"), scratch.join("outside"));
    std::fs::create_dir_all(site.join("folder/deep")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("x"), "outside").unwrap();
    std::fs::write(site.join("folder/deep/x"), "in the folder").unwrap();
    std::fs::create_dir(site.join("empty")).unwrap();
    std::fs::write(site.join("file"), "the file").unwrap();
    std::fs::write(site.join("file.before-restore"), "an earlier one").unwrap();
    std::fs::write(site.join("to-link"), "was no link").unwrap();
    symlink(&outside, site.join("link")).unwrap();
    symlink(outside.join("x"), site.join("link-to-file")).unwrap();
    let long = "n".repeat(250);
    std::fs::create_dir(site.join(&long)).unwrap();
    std::fs::write(site.join("twice"), "the first").unwrap();
    let archive = Tar::new()
        .file("folder", b"new")
        .file("empty", b"new")
        .file("file/x", b"new")
        .file("link/x", b"new")
        .file("link-to-file", b"new")
        .link(b'2', "to-link", "file")
        .long(b'L', long.as_bytes())
        .file("n", b"new")
        // The name that the other would get.
        .file("twice/x", b"new")
        .file("twice.before-restore", b"new");
    let into = staged(&scratch, "into", &archive.end()[..]);
    let long_aside = format!("{}.before-restore", "n".repeat(240));
    let expected = [
        aside("folder", "folder.before-restore"),
        aside("empty", "empty.before-restore"),
        aside("file", "file.before-restore-2"),
        aside("link", "link.before-restore"),
        aside("link-to-file", "link-to-file.before-restore"),
        aside("to-link", "to-link.before-restore"),
        aside(&long, &long_aside),
        aside("twice", "twice.before-restore-2"),
    ];
    assert_eq!(placed(&into, &site), expected.into());
    for path in [
        "folder",
        "empty",
        "file/x",
        "link/x",
        "link-to-file",
        "twice/x",
    ] {
        assert_eq!(read(site.join(path)), "new", "{path}");
    }
    for (path, expected) in [
        ("folder.before-restore/deep/x", "in the folder"),
        ("file.before-restore", "an earlier one"),
        ("file.before-restore-2", "the file"),
        ("to-link.before-restore", "was no link"),
        ("link.before-restore/x", "outside"),
        ("link-to-file.before-restore", "outside"),
        ("twice.before-restore", "new"),
        ("twice.before-restore-2", "the first"),
    ] {
        assert_eq!(read(site.join(path)), expected, "{path}");
    }
    assert!(site.join(long_aside).is_dir());
    assert_eq!(names(&outside), set(["x"]));
    assert_eq!(read(outside.join("x")), "outside");
}

#[test]
fn the_target_may_be_a_link_and_may_be_missing() {
    let scratch = Scratch::new();
    let real = scratch.join("real");
    std::fs::create_dir(&real).unwrap();
    symlink(&real, scratch.join("site")).unwrap();
    let archive = Tar::new().folder("./").file("./x", b"new").end();
    let before = real.metadata().unwrap();
    placed(
        &staged(&scratch, "into", &archive[..]),
        &scratch.join("site"),
    );
    assert_eq!(read(real.join("x")), "new");
    let after = real.metadata().unwrap();
    assert_eq!((before.mode(), before.ino()), (after.mode(), after.ino()));
    assert!(
        scratch
            .join("site")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );

    let missing = scratch.join("not/there/yet");
    placed(&staged(&scratch, "into", &archive[..]), &missing);
    assert_eq!(read(missing.join("x")), "new");
    assert_eq!(missing.metadata().unwrap().mode() & 0o7777, 0o700);

    // What is done already is done.
    assert_eq!(placed(&scratch.join("into"), &missing), BTreeMap::new());
}

/// As a user without root's rights: into folders that were restored as read-only before.
#[cfg(target_os = "linux")]
#[test]
fn folders_without_access_are_restored_as_such() {
    let scratch = Scratch::new();
    let site = scratch.join("site");
    let modes = [
        ("none", 0),
        ("none/inner", 0o111),
        ("read", 0o555),
        ("search", 0o311),
    ];
    for round in ["first", "second"] {
        let mut archive = Tar::new();
        for (path, mode) in modes {
            let file = format!("{path}/file");
            archive = archive.mode(mode).folder(path).mode(0o400);
            archive = archive
                .file(&file, round.as_bytes())
                .link(b'1', &format!("{file}2"), &file);
        }
        let archive = archive.end();
        let found = unprivileged(|| {
            let into = staged(&scratch, "into", &archive[..]);
            // Not in the backup this time, and to be as it was.
            let aside = placed(&into, &site);
            (aside, site.join("read/file").metadata().unwrap().mode())
        });
        assert_eq!(found, (BTreeMap::new(), 0o100_400));
        let things = things(&site);
        for (path, mode) in modes {
            assert_eq!(things[path.as_bytes()].mode, mode, "{path}");
            assert_eq!(things[path.as_bytes()].modified, 1_000_000_000);
            assert_eq!(read(site.join(path).join("file")), round);
        }
    }
    // Folders that the archive does not name have the mode that they had.
    set_mode(&site.join("read"), 0o505);
    set_mode(&site.join("none"), 0o055);
    let archive = Tar::new()
        .file("read/more", b"")
        .file("none/inner/more", b"")
        .end();
    unprivileged(|| placed(&staged(&scratch, "into", &archive[..]), &site));
    let things = things(&site);
    let modes = ["none", "none/inner", "read"].map(|path| things[path.as_bytes()].mode);
    assert_eq!(modes, [0o055, 0o111, 0o505]);
    assert!(things.contains_key(&b"none/inner/more"[..]));
}

#[cfg(target_os = "linux")]
#[test]
fn another_file_system_loses_nothing() {
    let scratch = Scratch::new();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| path.metadata().unwrap().dev();
    assert_ne!(
        device(other.path()),
        device(scratch.path()),
        "a test needs two"
    );
    std::fs::write(other.path().join("a"), "old").unwrap();
    let archive = Tar::new().folder("f").file("a", b"new").end();
    let into = staged(&scratch, "into", &archive[..]);
    let error = place(&into, other.path(), &Monitor::silent()).unwrap_err();
    let said = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(
        said.contains("another file system than") && said.contains("/into"),
        "{said}"
    );
    assert_eq!(read(other.path().join("a")), "old");
    placed(&into, &scratch.join("site"));
    assert_eq!(read(scratch.join("site/a")), "new");
}

/// Longer than what the operating system takes as one path, there and back.
#[test]
fn no_path_is_too_long() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = Some(limit.current.map_or(1024, |current| current.min(1024)));
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let scratch = Scratch::new();
    let site = site(&scratch);
    let mode = Mode::from_raw_mode(0o755);
    let trees = [("d".to_owned(), 2500), ("y".repeat(255), 20)];
    for (name, levels) in &trees {
        let mut here = folder(CWD, scratch.join("media").as_os_str().as_encoded_bytes());
        for level in 0..*levels {
            mkdirat(&here, name.as_str(), mode).unwrap();
            here = folder(&here, name.as_bytes());
            if level % (levels / 10) == 0 || level + 1 == *levels {
                for file in ["a", "zzz"] {
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
                    let opened = openat(&here, file, flags, Mode::from_raw_mode(0o644)).unwrap();
                    let content = format!("{file} in level {level}");
                    io::Write::write_all(&mut File::from(opened), content.as_bytes()).unwrap();
                }
            }
        }
    }
    let (_, archive) = backup(&site);
    let target = scratch.join("target");
    // Also where there is one already.
    for _ in 0..2 {
        placed(&staged(&scratch, "into", unpacked(&archive)), &target);
    }
    for (name, levels) in &trees {
        let mut here = folder(CWD, target.as_os_str().as_encoded_bytes());
        for level in 0..*levels {
            here = folder(&here, name.as_bytes());
            if level + 1 == *levels || level % (levels / 10) == 0 {
                for file in ["a", "zzz"] {
                    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                    let opened = openat(&here, file, flags, Mode::empty()).unwrap();
                    let content = io::read_to_string(File::from(opened)).unwrap();
                    assert_eq!(content, format!("{file} in level {level}"));
                }
            }
        }
    }
}

// In a process of its own: this program, once more.

/// What a child does is in its environment.
const CHILD: &str = "ZBACKUP_TEST_CHILD";

#[test]
fn child() {
    let Ok(words) = std::env::var(CHILD) else {
        return;
    };
    let words: Vec<&str> = words.split('\n').collect();
    match words[..] {
        ["place", staged, target] => {
            println!("begins");
            place(Path::new(staged), Path::new(target), &Monitor::silent()).unwrap();
            println!("ends");
        }
        ["restore", into, target, entries] => {
            let archive = Many::new(entries.parse().unwrap());
            std::fs::create_dir(into).unwrap();
            unpack(archive, Path::new(into), &all, &Monitor::silent()).unwrap();
            place(Path::new(into), Path::new(target), &Monitor::silent()).unwrap();
            let status = read("/proc/self/status");
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            println!("peak {}", line.unwrap().trim().strip_suffix(" kB").unwrap());
        }
        _ => panic!("{words:?}"),
    }
}

fn child_with(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]);
    command.env(CHILD, words.join("\n")).stdout(Stdio::piped());
    command
}

/// A tree of which every file says whether it is of the old or the new one.
fn versioned(version: &str) -> Tar {
    let mut archive = Tar::new();
    for number in 0..40 {
        archive = archive.mode(if number % 3 == 0 { 0o555 } else { 0o755 });
        archive = archive.folder(&format!("f{number}")).mode(0o644);
        for file in 0..10 {
            let content = format!("{version} {number} {file}").repeat(50);
            archive = archive.file(&format!("f{number}/{file}"), content.as_bytes());
        }
        archive = archive.link(b'2', &format!("f{number}/link"), version);
    }
    // Once a folder, once a file.
    let (folder, file) = ("turns-a", "turns-b");
    let (folder, file) = if version == "new" {
        (folder, file)
    } else {
        (file, folder)
    };
    archive
        .file(&format!("{folder}/x"), b"in it")
        .file(file, b"it")
}

#[test]
fn killed_at_any_instant_it_can_be_completed() {
    let scratch = Scratch::new();
    let site = scratch.join("site");
    let [old, new] = ["old", "new"].map(|version| versioned(version).end());
    let mut expected = {
        let into = staged(&scratch, "into", &new[..]);
        placed(&into, &scratch.join("expected"));
        things(&scratch.join("expected"))
    };
    let mut in_the_middle = 0;
    let mut delays = noise(100_000, 7).into_iter();
    let began = Instant::now();
    while in_the_middle < 30 {
        assert!(
            began.elapsed() < Duration::from_secs(240),
            "only {in_the_middle}"
        );
        let _ = Command::new("rm").arg("-rf").arg(&site).status().unwrap();
        placed(&staged(&scratch, "first", &old[..]), &site);
        let into = staged(&scratch, "into", &new[..]);
        let words = ["place", into.to_str().unwrap(), site.to_str().unwrap()];
        loop {
            let mut child = child_with(&words).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            // What the test harness says is before it.
            let begins = lines.find(|line| line.as_ref().unwrap().ends_with("begins"));
            assert!(begins.is_some());
            let delay = u64::from(delays.next().unwrap()) * 60;
            std::thread::sleep(Duration::from_micros(delay));
            // It is ours, and not waited for yet: no other process has this number.
            child.kill().unwrap();
            child.wait().unwrap();
            if lines.any(|line| line.unwrap() == "ends") {
                break;
            }
            let now = things(&site);
            let mut moved = 0;
            for number in 0..40 {
                for file in 0..10 {
                    let path = format!("f{number}/{file}");
                    let content = read(site.join(&path));
                    let [old, new] =
                        ["old", "new"].map(|v| format!("{v} {number} {file}").repeat(50));
                    assert!(content == old || content == new, "{path}: {content}");
                    moved += usize::from(content == new);
                    // What is not in its place is still to be moved.
                    let is_there = into.join("tree").join(&path).exists();
                    assert!(is_there != (content == new), "{path}");
                }
            }
            in_the_middle += usize::from((1..400).contains(&moved));
            assert!(now.len() >= 40 * 12);
        }
        let mut now = things(&site);
        // What was in the way.
        for path in ["turns-a", "turns-b", "turns-b/x"] {
            let kept = path.replacen("turns-a", "turns-a.before-restore", 1);
            let kept = kept.replacen("turns-b", "turns-b.before-restore", 1);
            now.remove(kept.as_bytes()).unwrap();
        }
        // A folder that no archive names has the time of now.
        for all in [&mut now, &mut expected] {
            all.get_mut(&b"turns-a"[..]).unwrap().modified = 0;
        }
        assert!(now == expected);
        assert!(!into.exists());
    }
}

/// An archive of these many entries. The first are files, links out and folders that nobody may write, with
/// long names; a disk takes its time for them. After that come the folders again and again.
struct Many {
    number: u64,
    entries: u64,
    block: io::Cursor<Vec<u8>>,
}

impl Many {
    fn new(entries: u64) -> Self {
        Self {
            number: 0,
            entries,
            block: io::Cursor::default(),
        }
    }
}

impl Read for Many {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.block.read(buffer)?;
        if count > 0 || self.number > self.entries {
            return Ok(count);
        }
        let (folder, file) = (self.number / 1000, self.number % 1000);
        let above = format!("folder-{}", folder % 30);
        let name = format!("{above}/{file:0>230}");
        let long = || Tar::new().long(b'L', name.as_bytes());
        let tar = match file {
            _ if self.number == self.entries => Tar::new().end(),
            _ if folder >= 30 => {
                Tar::new()
                    .mode(0o555 + 0o200 * (file % 2) as u32)
                    .folder(&above)
                    .0
            }
            0 => Tar::new().folder(&above).0,
            1..100 => long().mode(0o500).folder("x").0,
            100..200 => long().link(b'2', "x", "/etc/passwd").0,
            _ => long().file("x", b"").0,
        };
        self.number += 1;
        self.block = io::Cursor::new(tar);
        self.block.read(buffer)
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_million_entries_take_little_memory() {
    let peak = |entries: u64| -> u64 {
        let scratch = Scratch::new();
        let [into, site] = ["into", "site"].map(|name| scratch.join(name));
        let entries = entries.to_string();
        let words = [
            "restore",
            into.to_str().unwrap(),
            site.to_str().unwrap(),
            &entries,
        ];
        let output = child_with(&words).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let peak = said.lines().find_map(|line| line.split_once("peak "));
        peak.unwrap_or_else(|| panic!("{said}")).1.parse().unwrap()
    };
    let (few, many) = (peak(2000), peak(1_000_000));
    eprintln!("{few} kB for two thousand entries, {many} kB for a million");
    assert!(many < few + (4 << 10), "{few} kB, then {many} kB");
}
