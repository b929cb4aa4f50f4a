//! What is unpacked comes into its place whole, whatever is there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::room::*;
use common::site::*;
use common::tar::Tar;
#[cfg(target_os = "linux")]
use common::unprivileged;
use common::{Scratch, names, noise, set};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

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

/// A copy is as a move: all of it is there, as it was.
#[cfg(target_os = "linux")]
#[test]
fn another_file_system_gets_a_copy() {
    let scratch = Scratch::new();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let device = |path: &Path| path.metadata().unwrap().dev();
    assert_ne!(
        device(other.path()),
        device(scratch.path()),
        "a test needs two"
    );
    std::fs::write(other.path().join("a"), "old").unwrap();
    std::fs::write(other.path().join("stays"), "old").unwrap();
    // As a copy that was killed leaves it.
    std::fs::write(other.path().join("into.copy"), "half").unwrap();
    symlink("old", other.path().join("link")).unwrap();
    let open = File::open(other.path().join("a")).unwrap();
    let content = noise(200_000, 3);
    let archive = Tar::new()
        .mode(0o640)
        .file("a", &content)
        .mode(0o550)
        .folder("f")
        .mode(0o440)
        .file("f/b", b"")
        .link(b'1', "f/c", "a")
        .link(b'2', "link", "new")
        .link(b'2', "out", "/etc/passwd")
        .file("zeros", &[0; 1 << 20]);
    let archive = archive.end();
    let expected = {
        placed(
            &staged(&scratch, "into", &archive[..]),
            &scratch.join("site"),
        );
        things(&scratch.join("site"))
    };
    let into = staged(&scratch, "into", &archive[..]);
    assert_eq!(placed(&into, other.path()), BTreeMap::new());
    let mut found = things(other.path());
    assert_eq!(read(other.path().join("stays")), "old");
    found.remove(&b"stays"[..]);
    assert!(found == expected, "{found:#?}");
    let zeros = other.path().join("zeros").metadata().unwrap();
    assert!(zeros.blocks() < 64, "{} blocks", zeros.blocks());
    // It was replaced, not written over.
    assert_eq!(io::read_to_string(open).unwrap(), "old");
    assert_eq!(names(scratch.path()), set(["site"]));
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
