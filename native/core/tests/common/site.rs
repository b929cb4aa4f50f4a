//! A site with a folder of odd things, its backup, and what other programs see in that.

#![allow(dead_code)] // not every test uses all of it
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Scratch, noise, stdout, tool};
use flate2::read::MultiGzDecoder;
use jiff::civil::date;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::fs::{mknodat, openat, readlinkat, statat, utimensat};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use zbackup_core::archive::check_tar;
use zbackup_core::backup::{self, Options, Report};
use zbackup_core::progress::Monitor;
use zbackup_core::site::{Site, SiteName};

// Making a backup.

/// A site that has only media files, in `media/` of a scratch folder.
pub(crate) fn site(scratch: &Scratch) -> Site {
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
        revisions: Default::default(),
        offsite: None,
    }
}

/// Of a Monday.
pub(crate) const OPTIONS: Options = Options {
    database_only: false,
    day: Some(date(2024, 1, 1)),
    prove: false,
};

pub(crate) fn backup(site: &Site) -> (Report, PathBuf) {
    let report = backup::run(site, OPTIONS, &Monitor::silent()).unwrap();
    (report, site.backup_dir.join("test-2.tar.gz"))
}

/// What was reported, path and reason.
pub(crate) fn reported(report: &Report) -> BTreeMap<&str, &str> {
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

pub(crate) fn unpacked(archive: &Path) -> impl Read + use<> {
    BufReader::new(MultiGzDecoder::new(BufReader::new(
        File::open(archive).unwrap(),
    )))
}

/// The names that GNU tar, bsdtar and Python see, which must be the same. A folder's ends in a slash.
pub(crate) fn listed(archive: &Path) -> BTreeSet<Vec<u8>> {
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
    let python = stdout(super::python().args(["-c", PYTHON]).arg(archive));
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

pub(crate) fn same(what: &str, one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>) {
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
pub(crate) fn unescaped(line: &[u8]) -> Vec<u8> {
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
pub(crate) struct Thing {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: i64,
    /// Length and hash of a file, target of a link.
    pub(crate) content: (u64, Vec<u8>),
}

/// All that is below a folder. No path in it may be longer than the operating system's longest.
pub(crate) fn things(root: &Path) -> BTreeMap<Vec<u8>, Thing> {
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

pub(crate) fn folder(above: impl std::os::fd::AsFd, path: &[u8]) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(above, path, flags, Mode::empty()).unwrap()
}

/// The names that an archive of these things lists.
pub(crate) fn as_listed(things: &BTreeMap<Vec<u8>, Thing>) -> BTreeSet<Vec<u8>> {
    let names = things.iter().map(|(path, thing)| match thing.kind {
        FileType::Directory => [path, &b"/"[..]].concat(),
        _ => path.clone(),
    });
    names.collect()
}

pub(crate) fn set_modified(path: &Path, seconds: i64) {
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

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

pub(crate) fn special(path: &Path, kind: FileType) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), 0).unwrap();
}

// Whatever is in a folder.

/// Odd things, all of them with paths that the operating system takes in one piece.
pub(crate) fn odd_tree(root: &Path) {
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
