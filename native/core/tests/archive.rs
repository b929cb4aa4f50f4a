//! Folders into archives: whatever is in a folder comes out of every `tar` as it was.
//!
//! Archives are made as a backup makes them, by [`zbackup_core::backup::run`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::site::*;
#[cfg(target_os = "linux")]
use common::unprivileged;
use common::{Scratch, fed, noise, succeeded, tool};
use jiff::civil::date;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::fs::{mkdirat, mknodat, openat};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use zbackup_core::archive::check_tar;
use zbackup_core::backup::{self, Options};
use zbackup_core::error::ErrorKind;
use zbackup_core::progress::Monitor;

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
