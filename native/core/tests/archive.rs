//! Folders into archives: whatever is in a folder comes out of every `tar` as it was, whatever
//! happens to the folder meanwhile never breaks the archive, and an archive or dump that is not whole
//! is not taken for one.
//!
//! Archives are made as a backup makes them, by [`zbackup_core::backup::run`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Scratch, cancelled_at_once, fed, noise, password, stdout, succeeded, tool, watched};
use flate2::read::MultiGzDecoder;
use jiff::civil::date;
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::fs::{mkdirat, mknodat, openat, readlinkat, statat, utimensat};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zbackup_core::archive::{Contents, Incomplete, check_dump, check_tar};
use zbackup_core::backup::{self, Options, Report};
use zbackup_core::catalog::Part;
use zbackup_core::error::{Error, ErrorKind};
use zbackup_core::progress::{Cancel, Monitor, Phase, Progress, Snapshot};
use zbackup_core::site::{Encryption, Site, SiteName};
use zbackup_core::verify;

// Making a backup.

/// A site that has only media files, in `media/` of a scratch folder.
fn site(scratch: &Scratch) -> Site {
    let media = scratch.join("media");
    std::fs::create_dir_all(&media).unwrap();
    Site {
        site: SiteName::try_from("test".to_owned()).unwrap(),
        backup_dir: scratch.join("backup"),
        media_dir: Some(media),
        config_files: Vec::new(),
        security_dir: None,
        timezone: None,
        database: None,
        encryption: None,
    }
}

/// Of a Monday.
const OPTIONS: Options = Options {
    database_only: false,
    day: Some(date(2024, 1, 1)),
};

fn backup(site: &Site) -> (Report, PathBuf) {
    let report = backup::run(site, OPTIONS, &Monitor::silent()).unwrap();
    (report, site.backup_dir.join("test-2.tar.gz"))
}

/// What was reported, path and reason.
fn reported(report: &Report) -> BTreeMap<&str, &str> {
    let skipped = report.skipped.iter();
    let paths: BTreeMap<_, _> = skipped
        .map(|skipped| (skipped.path.as_str(), skipped.reason.as_str()))
        .collect();
    assert_eq!(
        paths.len(),
        report.skipped.len(),
        "reported twice: {report:?}"
    );
    paths
}

// Reading it back.

fn unpacked(archive: &Path) -> impl Read + use<> {
    BufReader::new(MultiGzDecoder::new(BufReader::new(
        File::open(archive).unwrap(),
    )))
}

/// The names that GNU tar, bsdtar and Python see, which must be the same. A folder's ends in a slash.
fn listed(archive: &Path) -> BTreeSet<Vec<u8>> {
    const PYTHON: &str = "
import sys, tarfile
for member in tarfile.open(sys.argv[1], 'r:gz', encoding='utf-8', errors='surrogateescape'):
    print(member.name.encode('utf-8', 'surrogateescape').hex() + ('2f' if member.isdir() else ''))
";
    stdout(tool("gunzip").arg("-t").arg(archive));
    let gnu = stdout(
        tool("tar")
            .args(["--quoting-style=escape", "-tzf"])
            .arg(archive),
    );
    let bsd = stdout(tool("bsdtar").arg("-tzf").arg(archive));
    let python = stdout(common::python().args(["-c", PYTHON]).arg(archive));
    let [gnu, bsd, python] = [(gnu, false), (bsd, false), (python, true)].map(|(text, is_hex)| {
        let lines = text.split(|&byte| byte == b'\n');
        let names: Vec<Vec<u8>> = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                if is_hex {
                    hex::decode(line).unwrap()
                } else {
                    unescaped(line)
                }
            })
            .collect();
        let set: BTreeSet<Vec<u8>> = names.iter().cloned().collect();
        assert_eq!(set.len(), names.len(), "a name comes twice");
        set
    });
    same("GNU tar and bsdtar", &gnu, &bsd);
    same("GNU tar and Python", &gnu, &python);
    check_tar(unpacked(archive)).unwrap();
    gnu
}

fn same(what: &str, one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>) {
    let only = |one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>| -> Vec<String> {
        let difference = one.difference(other).take(5);
        difference
            .map(|name| name.escape_ascii().to_string())
            .collect()
    };
    let (first, second) = (only(one, other), only(other, one));
    assert!(
        first.is_empty() && second.is_empty(),
        "{what} differ: only the first has {first:?}, only the second {second:?}"
    );
}

/// A name as `tar` prints it in the locale C: like a string in C.
fn unescaped(line: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            name.push(byte);
            continue;
        }
        let digits = rest
            .iter()
            .take(3)
            .take_while(|&byte| (b'0'..=b'7').contains(byte));
        let count = digits.count();
        if count > 0 {
            let (digits, after) = rest.split_at(count);
            let text = std::str::from_utf8(digits).unwrap();
            name.push(u8::from_str_radix(text, 8).unwrap());
            rest = after;
            continue;
        }
        let (&letter, after) = rest.split_first().unwrap();
        rest = after;
        name.push(match letter {
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            other => other,
        });
    }
    name
}

/// Something on the disk.
#[derive(Debug, PartialEq, Eq)]
struct Thing {
    kind: FileType,
    mode: u32,
    owner: (u32, u32),
    modified: i64,
    /// Length and hash of a file, target of a link.
    content: (u64, Vec<u8>),
}

/// All that is below a folder. No path in it may be longer than the operating system's longest.
fn things(root: &Path) -> BTreeMap<Vec<u8>, Thing> {
    let root = folder(CWD, root.as_os_str().as_bytes());
    let mut things = BTreeMap::new();
    let mut folders = vec![b".".to_vec()];
    while let Some(path) = folders.pop() {
        for entry in Dir::read_from(folder(&root, &path)).unwrap() {
            let name = entry.unwrap().file_name().to_bytes().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            let path = match path.as_slice() {
                b"." => name,
                path => [path, b"/", &name].concat(),
            };
            let stat = statat(&root, path.as_slice(), AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let kind = FileType::from_raw_mode(stat.st_mode);
            let content = match kind {
                FileType::Directory => {
                    folders.push(path.clone());
                    (0, Vec::new())
                }
                FileType::RegularFile => {
                    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                    let file = openat(&root, path.as_slice(), flags, Mode::empty()).unwrap();
                    let mut bytes = Vec::new();
                    File::from(file).read_to_end(&mut bytes).unwrap();
                    (bytes.len() as u64, Sha256::digest(&bytes).to_vec())
                }
                FileType::Symlink => {
                    let target = readlinkat(&root, path.as_slice(), Vec::new()).unwrap();
                    (0, target.into_bytes())
                }
                _ => (0, Vec::new()),
            };
            let thing = Thing {
                kind,
                mode: stat.st_mode & 0o7777,
                owner: (stat.st_uid, stat.st_gid),
                modified: stat.st_mtime,
                content,
            };
            assert!(things.insert(path, thing).is_none());
        }
    }
    things
}

fn folder(above: impl std::os::fd::AsFd, path: &[u8]) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(above, path, flags, Mode::empty()).unwrap()
}

/// The names that an archive of these things lists.
fn as_listed(things: &BTreeMap<Vec<u8>, Thing>) -> BTreeSet<Vec<u8>> {
    let names = things.iter().map(|(path, thing)| match thing.kind {
        FileType::Directory => [path, &b"/"[..]].concat(),
        _ => path.clone(),
    });
    names.collect()
}

fn set_modified(path: &Path, seconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn special(path: &Path, kind: FileType) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), 0).unwrap();
}

// Whatever is in a folder.

/// Odd things, all of them with paths that the operating system takes in one piece.
fn odd_tree(root: &Path) {
    let at = |name: &[u8]| root.join(OsStr::from_bytes(name));
    let file = |name: &[u8], content: &[u8]| {
        let path = at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        path
    };
    let names: [&[u8]; 22] = [
        b"latin1-\xe9\xff\xfe",
        b"new\nline",
        b"\nfirst",
        b"tab\tand\rreturn",
        b"back\\slash",
        b"back\\n",
        b"back\\134",
        b"-rf",
        b"--checkpoint-action=exec=false",
        b" space in front",
        b"space behind ",
        b"'quotes\"",
        b"*?[glob]",
        b"$(command)`command`",
        b"c:colon",
        b"...",
        b".hidden",
        b"\x01\x1b[31m\x7f",
        "ünïcödé ☃ 🦀".as_bytes(),
        "e\u{301} decomposed".as_bytes(),
        b"@LongLink",
        b"~",
    ];
    for name in names {
        file(&[b"names/", name].concat(), name);
        std::fs::create_dir_all(at(&[b"folders/", name].concat())).unwrap();
        file(&[b"folders/", name, b"/", name].concat(), b"");
    }
    file(&[b"names/".as_slice(), &[b'n'; 255]].concat(), b"255");
    file(&[b"names/".as_slice(), &[0xff; 255]].concat(), b"255");

    // A header has room for 100 bytes of a path.
    for length in [
        98, 99, 100, 101, 102, 154, 155, 156, 255, 256, 257, 511, 512, 513, 1000, 3000,
    ] {
        for (start, is_file) in [("f", true), ("d", false)] {
            let mut path = format!("{start}{length}/").into_bytes();
            path.extend((path.len()..length).map(|index| {
                if index % 90 == 0 && index + 1 < length {
                    b'/'
                } else {
                    b'x'
                }
            }));
            assert_eq!(path.len(), length);
            if is_file {
                file(&path, &path);
            } else {
                std::fs::create_dir_all(at(&path)).unwrap();
            }
        }
    }

    // 2000 folders, one in the other; on the way back there is more to be read in some.
    let mut deep = b"deep".to_vec();
    for level in 0..2000 {
        std::fs::create_dir(at(&deep)).unwrap();
        if level % 250 == 0 {
            file(&[&deep, &b"/a"[..]].concat(), &deep);
            file(&[&deep, &b"/z"[..]].concat(), &deep);
            file(&[&deep, &b"/zz/z"[..]].concat(), &deep);
        }
        deep.extend_from_slice(b"/d");
    }
    file(&deep, b"the bottom");

    std::fs::create_dir_all(at(b"empty/empty/empty")).unwrap();
    let block = 1 << 20;
    for length in [
        0,
        1,
        511,
        512,
        513,
        1023,
        1024,
        1025,
        65_535,
        block - 1,
        block,
        block + 1,
    ] {
        file(
            format!("lengths/{length}").as_bytes(),
            &noise(length, length as u64),
        );
    }
    file(b"lengths/text", &b"the quick brown fox ".repeat(200_000));
    file(b"lengths/zeros", &[0; 5000]);

    std::fs::create_dir(at(b"links")).unwrap();
    let targets: [&[u8]; 11] = [
        b"nowhere",
        b"/etc/passwd",
        b"../names",
        b".",
        b"self",
        b"/",
        b"new\nline \xff",
        &[b't'; 99],
        &[b't'; 100],
        &[b't'; 101],
        &[b'/'; 4000],
    ];
    for (index, target) in targets.into_iter().enumerate() {
        let link = at(format!("links/{index}").as_bytes());
        symlink(OsStr::from_bytes(target), &link).unwrap();
        set_modified(&link, 1_000_000_000 + index as i64);
    }
    symlink("self", at(b"links/self")).unwrap();
    // A long name and a long target in one.
    let long = [b"links/", [b'l'; 200].as_slice()].concat();
    symlink(OsStr::from_bytes(&[b't'; 300]), at(&long)).unwrap();

    for mode in [
        0o600, 0o755, 0o644, 0o777, 0o400, 0o4755, 0o2755, 0o6711, 0o1644, 0o666,
    ] {
        set_mode(&file(format!("modes/{mode:o}").as_bytes(), b"mode"), mode);
    }
    for mode in [0o700, 0o755, 0o1777, 0o2775, 0o500] {
        let path = at(format!("modes/d{mode:o}").as_bytes());
        std::fs::create_dir(&path).unwrap();
        set_mode(&path, mode);
    }

    let day = 86_400;
    let times = [
        0,
        -1,
        -day * 365 * 20,
        1,
        (1 << 31) - 1,
        1 << 31, // 2038
        (1 << 32) - 1,
        1 << 32,
        (1 << 33) - 1,
        1 << 33, // 2242, and more than 11 octal digits hold
        (1 << 33) + day * 365 * 100,
    ];
    for time in times {
        let path = file(format!("times/{time}").as_bytes(), b"time");
        set_modified(&path, time);
        let path = at(format!("times/d{time}").as_bytes());
        std::fs::create_dir(&path).unwrap();
        set_modified(&path, time);
        let path = at(format!("times/l{time}").as_bytes());
        symlink("nowhere", &path).unwrap();
        set_modified(&path, time);
    }
    // Twice the same file.
    std::fs::hard_link(at(b"lengths/513"), at(b"lengths/513-again")).unwrap();
}

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

/// Runs on a thread that has the rights of its user, also where that is root.
#[cfg(target_os = "linux")]
fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            let all = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            sets.effective.remove(all);
            set_capabilities(None, sets).unwrap();
            work()
        });
        thread.join().unwrap()
    })
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
        let verify = || verify::run(&site.backup_dir, &[], word.as_ref(), &Monitor::silent());
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

// The proof that an archive is whole.

/// A small archive: folders, files, a file of zeros, a long name, a link.
fn small() -> Vec<u8> {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let at = |name: &str| scratch.join("media").join(name);
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("folder/zeros"), [0; 3 * 512]).unwrap();
    std::fs::write(at("n".repeat(150).as_str()), "long").unwrap();
    std::fs::write(at("text"), "the quick brown fox ".repeat(50)).unwrap();
    symlink("text", at("zlink")).unwrap();
    std::fs::write(at("zzeros"), [0; 4 * 512]).unwrap();
    let (_, archive) = backup(&site);
    let mut bytes = Vec::new();
    unpacked(&archive).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Where the headers are.
fn headers(archive: &[u8]) -> Vec<usize> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().raw(true);
    entries
        .map(|entry| usize::try_from(entry.unwrap().raw_header_position()).unwrap())
        .collect()
}

fn structure(result: Result<Contents, Incomplete>, what: impl std::fmt::Display) -> String {
    match result {
        Err(Incomplete::Structure(reason)) => reason,
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_whole_archive_is_whole() {
    let archive = small();
    let contents = check_tar(&archive[..]).unwrap();
    // With the entry that holds the long name.
    assert_eq!(contents.entries, 7);
    assert_eq!(contents.bytes, archive.len() as u64);
    // Other programs end an archive with more zeros.
    for zeros in [512, 10 << 10, 100_000] {
        let padded = [&archive[..], &vec![0; zeros]].concat();
        assert_eq!(check_tar(&padded[..]).unwrap().bytes, padded.len() as u64);
    }
    let nothing = check_tar(&[0; 1024][..]).unwrap();
    assert_eq!((nothing.entries, nothing.bytes), (0, 1024));
}

#[test]
fn archives_of_other_programs_are_whole() {
    let scratch = Scratch::new();
    let media = scratch.join("media");
    std::fs::create_dir(&media).unwrap();
    odd_tree(&media);
    // What these programs themselves find too much.
    std::fs::remove_dir_all(media.join("times")).unwrap();
    stdout(tool("rm").arg("-rf").arg(media.join("deep")));
    let formats = [
        ("tar", "gnu"),
        ("tar", "posix"),
        ("bsdtar", "pax"),
        ("bsdtar", "gnutar"),
    ];
    for (program, format) in formats {
        let archive = scratch.join("other.tar");
        let mut command = tool(program);
        command
            .arg(format!("--format={format}"))
            .arg("-cf")
            .arg(&archive);
        // pax headers hold text: names are that in this locale, or they are taken as bytes.
        command
            .env("LC_ALL", "C.UTF-8")
            .arg("-C")
            .arg(&media)
            .arg(".");
        let output = command.output().unwrap();
        let listed = stdout(tool("tar").arg("-tf").arg(&archive));
        let names = listed.split(|&byte| byte == b'\n').count() - 1;
        assert!(names > 150, "{program} {format}: {output:?}");
        let contents = check_tar(File::open(&archive).unwrap())
            .unwrap_or_else(|error| panic!("{program} {format}: {error}"));
        assert!(
            contents.entries >= names as u64,
            "{program} {format}: {contents:?}"
        );
    }
}

#[test]
fn every_truncation_of_an_archive_is_seen() {
    let archive = small();
    for length in 0..archive.len() {
        let near = length % 512;
        if (2..510).contains(&near) {
            continue;
        }
        structure(
            check_tar(&archive[..length]),
            format_args!("{length} bytes"),
        );
    }
}

#[test]
fn data_after_the_end_of_an_archive_is_seen() {
    let archive = small();
    for more in [
        &b"x"[..],
        &[1; 512],
        &[&[0; 4096][..], b"x"].concat(),
        &small(),
    ] {
        let more = [&archive[..], more].concat();
        let said = structure(check_tar(&more[..]), more.len());
        assert!(said.contains("after the end"), "{said}");
    }
}

/// All of a header is under its checksum; not all of the checksum's own field is significant.
#[test]
fn every_flipped_bit_of_a_header_is_seen() {
    let archive = small();
    let whole = check_tar(&archive[..]).unwrap();
    for header in headers(&archive) {
        for bit in 0..512 * 8 {
            let mut changed = archive.clone();
            changed[header + bit / 8] ^= 1 << (bit % 8);
            let result = check_tar(&changed[..]);
            if (148..156).contains(&(bit / 8)) {
                assert!(result.map_or(true, |contents| contents == whole));
            } else {
                structure(result, format_args!("bit {bit} of the header at {header}"));
            }
        }
    }
}

/// An error of the stream below is not one of the archive.
#[test]
fn an_unreadable_archive_is_not_called_a_wrong_one() {
    struct Broken<'a>(&'a [u8]);
    impl Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(Error::Cancelled.into());
            }
            self.0.read(buffer)
        }
    }
    let archive = small();
    for length in (0..=archive.len()).step_by(256) {
        let result = check_tar(Broken(&archive[..length]));
        let Err(Incomplete::Read(error)) = result else {
            panic!("{length} bytes: {result:?}");
        };
        let own = error.downcast::<Error>().unwrap();
        assert_eq!(own.kind(), ErrorKind::Cancelled, "{length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Headers of somebody who can compute a checksum.
    #[test]
    fn no_header_is_too_much(
        at: prop::sample::Index,
        edits in prop::collection::vec((0..512_usize, any::<u8>()), 1..20),
        size: Option<[u8; 12]>,
        fixed: bool,
    ) {
        thread_local!(static SMALL: Vec<u8> = small());
        let mut archive = SMALL.with(Clone::clone);
        let headers = headers(&archive);
        let header = headers[at.index(headers.len())];
        let bytes = &mut archive[header..header + 512];
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        if let Some(size) = size {
            bytes[124..136].copy_from_slice(&size);
        }
        if fixed {
            let mut fixed = tar::Header::from_byte_slice(bytes).clone();
            fixed.set_cksum();
            bytes.copy_from_slice(fixed.as_bytes());
        }
        if let Ok(contents) = check_tar(&archive[..]) {
            prop_assert_eq!(contents.bytes, archive.len() as u64);
        }
    }

    #[test]
    fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = check_tar(&bytes[..]);
        let _ = check_dump(&bytes[..]);
    }
}

// The proof that a dump is whole.

const DUMP_START: &str = "--\n-- PostgreSQL database dump\n--\n\n";
const DUMP_END: &str = "--\n-- PostgreSQL database dump complete\n--\n\n";
const DUMP_MIDDLE: &str = "-- Dumped from database version 15.5
-- Dumped by pg_dump version 15.5

SET statement_timeout = 0;
SET client_encoding = 'UTF8';

--
-- Name: t; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE \"public\".\"t\" (
    \"line\" \"text\"
);

COPY \"public\".\"t\" (\"line\") FROM stdin;
first\\nrow
second row
\\.

CREATE INDEX \"t_line\" ON \"public\".\"t\" USING \"btree\" (\"line\");

";

fn dump() -> String {
    [DUMP_START, DUMP_MIDDLE, DUMP_END].concat()
}

/// As newer versions of `pg_dump` write it.
fn restricted_dump() -> String {
    let token = "Oy3hV0bPzYbTQvZ1tqk8bYqmn7YcGqRcvXkWq1VhT0sZ9c6rB3Jf5Ld2Ng4Hs7a";
    format!("{DUMP_START}\\restrict {token}\n\n{DUMP_MIDDLE}{DUMP_END}\\unrestrict {token}\n\n")
}

/// Gives a few bytes at a time.
struct Dripping<'a>(&'a [u8], usize);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(self.1);
        self.0.read(&mut buffer[..room])
    }
}

#[test]
fn a_whole_dump_is_whole() {
    for dump in [dump(), restricted_dump()] {
        for step in [1, 2, 7, 100, 1000, 100_000] {
            let contents = check_dump(Dripping(dump.as_bytes(), step)).unwrap();
            assert_eq!(contents.bytes, dump.len() as u64);
            assert_eq!(contents.entries, dump.lines().count() as u64);
        }
    }
    // As small as can be.
    check_dump([DUMP_START, DUMP_END].concat().as_bytes()).unwrap();
}

#[test]
fn every_truncation_of_a_dump_is_seen() {
    let dump = dump();
    // Without its last, empty line it is still all there.
    for length in 0..dump.len() - 1 {
        structure(check_dump(&dump.as_bytes()[..length]), &dump[..length]);
    }
}

/// It says at its start how it ends.
#[test]
fn every_truncation_of_a_restricted_dump_is_seen() {
    let dump = restricted_dump();
    for length in 0..dump.trim_end().len() {
        structure(check_dump(&dump.as_bytes()[..length]), &dump[..length]);
    }
}

#[test]
fn what_is_no_dump_is_seen() {
    let whole = dump();
    let cases = [
        String::new(),
        "x".repeat(1000),
        format!("{DUMP_MIDDLE}{DUMP_END}"),
        format!(" {whole}"),
        whole.replacen("database dump", "database cluster dump", 1),
        format!("{whole}DROP TABLE \"public\".\"t\";\n"),
        format!("{whole}{whole}x"),
        whole.replace("dump complete", "dump completed"),
    ];
    for case in cases {
        structure(check_dump(case.as_bytes()), &case);
    }
}

/// The last lines may be in the data too; a dump that stops after them has not come to its end.
#[test]
fn data_that_looks_like_the_end_is_not_the_end() {
    let row = "--\n-- PostgreSQL database dump complete\n--\n";
    let unrestrict = "\\\\unrestrict x\n"; // a row has two backslashes for one
    for rows in [row, &format!("{row}\n"), &format!("{row}\n{unrestrict}")] {
        let middle = DUMP_MIDDLE.replace("second row\n", rows);
        assert!(middle.len() > DUMP_MIDDLE.len());
        for dump in [dump(), restricted_dump()] {
            let dump = dump.replace(DUMP_MIDDLE, &middle);
            check_dump(dump.as_bytes()).unwrap();
            let end = dump.rfind("--\n-- PostgreSQL").unwrap();
            for length in 0..end {
                structure(check_dump(&dump.as_bytes()[..length]), &dump[..length]);
            }
        }
    }
}

/// Nor are they the end in a function or a comment, where nothing marks them as data.
#[test]
fn a_dump_that_holds_the_words_of_its_end_is_whole() {
    let text = "COMMENT ON TABLE \"public\".\"t\" IS 'it ends in\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n';\n\n";
    for dump in [dump(), restricted_dump()] {
        for before in ["COPY ", "CREATE INDEX "] {
            let dump = dump.replacen(before, &format!("{text}{before}"), 1);
            let contents = check_dump(dump.as_bytes()).unwrap();
            assert_eq!(contents.entries, dump.lines().count() as u64);
        }
    }
}

#[test]
fn a_dump_is_followed_through_long_lines() {
    // Longer than what is kept of the end, and than a block that is read at once.
    let row = format!("{}\n", "x".repeat(200_000));
    let middle = DUMP_MIDDLE.replace("second row\n", &row);
    let dump = dump().replace(DUMP_MIDDLE, &middle);
    assert_eq!(
        check_dump(dump.as_bytes()).unwrap().bytes,
        dump.len() as u64
    );
    let end = dump.rfind("--\n-- PostgreSQL").unwrap();
    for length in (1..end).step_by(4999) {
        structure(check_dump(&dump.as_bytes()[..length]), length);
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
