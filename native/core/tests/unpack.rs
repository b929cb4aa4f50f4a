//! Archives into folders, and from there into their place: nothing outside is touched, nothing is lost,
//! and what was begun can be ended.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::room::*;
use common::tar::Tar;
use common::{Scratch, noise};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use zbackup_core::archive::{Incomplete, Unpacked, check_tar, unpack};
use zbackup_core::error::{Error, ErrorKind};
use zbackup_core::progress::{Cancel, Monitor, NoProgress};

// What no honest program writes.

#[test]
fn names_that_lead_out_are_refused() {
    for name in [
        "../outside/x",
        "..",
        "a/..",
        "a/../../outside/x",
        "./../x",
        "a/../b",
        "a//..//../x",
    ] {
        let why = format!("the entry {name:?} has \"..\" in its name");
        is_refused(Tar::new().file(name, b"x"), &why);
        is_refused(Tar::new().folder(name), "in its name");
        is_refused(Tar::new().link(b'2', name, "target"), &why);
        is_refused(Tar::new().file("a", b"").link(b'1', name, "a"), &why);
        is_refused(Tar::new().pax(&[("path", name)]).file("a", b""), &why);
        is_refused(Tar::new().long(b'L', name.as_bytes()).file("a", b""), &why);
        // Of what is left out in any case, too.
        is_refused(Tar::new().link(b'6', name, ""), &why);
        let archive = Tar::new().file(name, b"x").end();
        let error = check_tar(&archive[..]).unwrap_err();
        assert!(error.to_string().contains(&why), "verify: {error}");
        let result = Room::new().unpack_as(&archive[..], &|_| None);
        assert!(result.unwrap_err().to_string().contains(&why));
    }
    for name in ["/etc/x", "/", "//x"] {
        let why = "has an absolute path as its name";
        is_refused(Tar::new().folder(name), why);
        is_refused(Tar::new().pax(&[("path", name)]).file("a", b""), why);
    }
    is_refused(Tar::new().pax(&[("path", "a\0b")]).file("a", b""), "NUL");
    is_refused(Tar::new().long(b'L', b"a\0b").file("a", b""), "NUL");
    is_refused(
        Tar::new().pax(&[("linkpath", "a\0b")]).link(b'2', "a", "b"),
        "NUL",
    );
    is_refused(Tar::new().file("", b"x"), "has no name");
    is_refused(Tar::new().file("./", b"x"), "the name of a folder");
    is_refused(Tar::new().file(".", b""), "the folder itself");
    // And what the caller makes of them is looked at again.
    let archive = Tar::new().file("a", b"x").end();
    for bad in ["../outside/x", "/etc/x", "a\0"] {
        let result = Room::new().unpack_as(&archive[..], &|_| Some(bad.into()));
        assert!(matches!(result, Err(Incomplete::Structure(_))), "{bad}");
    }
}

#[test]
fn nothing_goes_through_a_link() {
    let outside = Scratch::new();
    let outside = outside.path().to_str().unwrap().to_owned();
    let below = "the archive itself has made a file or a link";
    // One that is left out, one that is not.
    for target in ["/etc", &outside, "../outside", "folder", "."] {
        let start = || Tar::new().folder("folder").link(b'2', "l", target);
        is_refused(start().file("l/x", b"x"), below);
        is_refused(start().file("l/x/y", b"x"), below);
        is_refused(start().folder("l/x"), below);
        is_refused(start().link(b'2', "l/x", "y"), below);
        is_refused(start().link(b'6', "l/x", ""), below);
        is_refused(start().link(b'1', "x", "l/victim"), "no earlier file");
        is_refused(start().folder("l"), "comes twice");
        is_refused(start().folder("l/"), "comes twice");
        is_refused(start().file("l", b"x"), "comes twice");
        is_refused(start().file("f", b"x").link(b'1', "l", "f"), "comes twice");
    }
    is_refused(Tar::new().file("f", b"").file("f/x", b""), below);
    is_refused(Tar::new().file("f", b"").folder("f"), "comes twice");
    is_refused(Tar::new().folder("f").file("f", b""), "comes twice");
    is_refused(Tar::new().folder("f").link(b'2', "f", "x"), "comes twice");
    is_refused(Tar::new().link(b'6', "f", "").file("f", b""), "comes twice");
    is_refused(Tar::new().link(b'3', "f", "").file("f/x", b""), below);
}

#[test]
fn a_hard_link_is_to_an_earlier_file() {
    let why = "is a hard link to what is no earlier file of the archive";
    for target in [
        "../victim",
        "/etc/passwd",
        "a/../../victim",
        "later",
        "self",
        "folder",
        ".",
        "",
        "folder/nothing/x",
        "a/x",
    ] {
        let start = || Tar::new().file("a", b"a").folder("folder");
        is_refused(start().link(b'1', "self", target).file("later", b""), why);
    }
    let victim = Scratch::new();
    let victim = victim.file("victim", b"untouched");
    is_refused(Tar::new().link(b'1', "a", victim.to_str().unwrap()), why);
    assert_eq!(victim.metadata().unwrap().nlink(), 1);
}

#[test]
fn memory_is_not_the_archive_s_to_decide() {
    for kind in [b'L', b'K'] {
        let long = vec![b'x'; 1 << 20];
        is_refused(Tar::new().long(kind, &long).file("a", b""), "too long");
    }
    let long = "x/".repeat(150 << 10);
    is_refused(
        Tar::new().pax(&[("path", &long)]).file("a", b""),
        "too long",
    );
    let long = "x".repeat(5 << 20);
    is_refused(
        Tar::new().pax(&[("comment", &long)]).file("a", b""),
        "too long",
    );
    for kind in [b'L', b'K', b'x', b'g'] {
        // It says so, and has not.
        is_refused(Tar::new().raw(kind, "a", "", 1 << 40, b""), "too long");
    }
    for size in [u64::MAX >> 1, (u64::MAX >> 1) - 600] {
        is_refused(Tar::new().raw(b'0', "a", "", size, b""), "cut off");
    }
}

#[test]
fn what_is_not_right_is_refused() {
    let pax = |text: &[u8]| Tar::new().raw(b'x', "p", "", text.len() as u64, text);
    for text in [
        &b"x"[..],
        b"10 path=a",
        b"5 a=b\n6 c=d\n",
        b"99999999999999999999 a=b\n",
        b"3 \n",
        b"8 path\n1",
        b"12 size=abc\n",
        b"11 mtime=x\n",
        b"11 size=-1\n",
    ] {
        is_refused(pax(text).file("a", b""), "PAX header");
    }
    is_refused(Tar::new().long(b'L', b"a"), "cut off");
    is_refused(pax(b"9 path=a\n"), "cut off");
    let twice = Tar::new().long(b'L', b"a").long(b'L', b"b");
    is_refused(twice.file("a", b""), "two names");
    let all = Tar::new().raw(b'g', "p", "", 9, b"9 path=a\n");
    is_refused(all.file("b", b""), "for all entries");
    is_refused(Tar::new().raw(b'0', "a/", "", 1, b"x"), "name of a folder");
    let fields = [(100..108, "mode"), (124..136, "length"), (136..148, "time")];
    for (field, what) in fields {
        for text in [&b"x"[..], b"\xff\xff\xff", b"9"] {
            let mut archive = Tar::new().file("a", b"").end();
            archive[field.clone()].fill(if text[0] == 0xff { 0xff } else { b' ' });
            archive[field.start..][..text.len()].copy_from_slice(text);
            // A time before 1970, or a mode of all bits, is what it is.
            if text[0] == 0xff && what != "length" {
                continue;
            }
            Tar::checksum(&mut archive[..512]);
            is_refused_bytes(&archive, what);
        }
    }
}

#[test]
fn every_truncation_is_seen() {
    let archive = Tar::new()
        .folder("folder")
        .file("folder/a", &noise(1500, 1))
        .long(b'L', &[b'n'; 600])
        .file("x", b"long")
        .pax(&[("path", "by/pax")])
        .file("y", b"pax")
        .link(b'2', "l", "x")
        .end();
    assert!(Room::new().unpack(&archive[..]).is_ok());
    for length in 0..archive.len() {
        if (2..510).contains(&(length % 512)) {
            continue;
        }
        is_refused_bytes(&archive[..length], "cut off");
    }
    is_refused_bytes(&[&archive[..], b"x"].concat(), "after the end");
}

// What is left out.

#[test]
fn links_out_and_devices_are_left_out() {
    let links = [
        ("absolute", "/etc/passwd"),
        ("root", "/"),
        ("up", ".."),
        ("a/b/up", "../../../outside"),
        ("a/over", "b/../../x"),
        // Where `b` is a link, this is not `a`.
        ("a/through", "b/.."),
        ("hidden", "a/b/../../../outside/victim"),
        ("empty", ""),
    ];
    let mut archive = Tar::new().folder("a").folder("a/b");
    for (name, target) in links {
        archive = archive.link(b'2', name, target);
    }
    archive = archive
        .link(b'3', "char", "")
        .link(b'4', "block", "")
        .link(b'6', "fifo", "")
        .raw(b'V', "a title", "", 0, b"")
        .raw(b'Z', "unknown", "", 700, &[7; 700])
        .link(b'1', "again", "absolute")
        .link(b'1', "device", "char")
        .file("end", b"the end");
    let archive = archive.end();
    check_tar(&archive[..]).unwrap();
    let room = Room::new();
    let unpacked = room.unpack(&archive[..]).unwrap();
    let out = "it is a link that leads, or could lead, out of the folder";
    let mut expected: BTreeMap<&str, &str> = links.map(|(name, _)| (name, out)).into();
    expected.extend([
        ("char", "it is a device, not a file"),
        ("block", "it is a device, not a file"),
        ("fifo", "it is a FIFO, not a file"),
        ("a title", "it is an entry of the unknown kind 'V'"),
        ("unknown", "it is an entry of the unknown kind 'Z'"),
        ("again", "it is a hard link to something that is left out"),
        ("device", "it is a hard link to something that is left out"),
    ]);
    assert_eq!(reasons(&unpacked.skipped), expected);
    assert_eq!(unpacked.entries, 3);
    // What is there under these names stays.
    room.scratch.file("site/fifo", b"the site's");
    std::os::unix::fs::symlink("/etc", room.at("root")).unwrap();
    assert_eq!(room.place(), []);
    let paths: Vec<Vec<u8>> = room.site().into_keys().collect();
    assert_eq!(paths, ["a", "a/b", "end", "fifo", "root"].map(Vec::from));
    assert_eq!(content(&room, "fifo"), "the site's");
}

#[test]
fn links_that_stay_inside_are_links() {
    let links = [
        ("to-file", "file"),
        ("dangling", "nowhere"),
        ("self", "self"),
        ("dot", "."),
        ("a/up", "../file"),
        ("a/b/up", "../.././/./a"),
        ("a/b/top", "../.."),
        ("slash", "a/"),
        ("odd", "new\nline"),
    ];
    let mut archive = Tar::new().file("file", b"x").folder("a").folder("a/b");
    for (name, target) in links {
        archive = archive.link(b'2', name, target);
    }
    // At another place the same link would lead out.
    archive = archive.link(b'1', "a/b/again", "a/b/up");
    let (room, unpacked) = restored(archive);
    assert_eq!(unpacked.skipped, []);
    for (name, target) in links.into_iter().chain([("a/b/again", "../.././/./a")]) {
        assert_eq!(room.at(name).read_link().unwrap(), Path::new(target));
        assert_eq!(
            room.at(name).symlink_metadata().unwrap().mtime(),
            1_000_000_000
        );
    }
    let room = Room::new();
    let archive = Tar::new()
        .link(b'2', "a/b/up", "../..")
        .link(b'1', "up", "a/b/up");
    let unpacked = room.unpack(&archive.end()[..]).unwrap();
    assert_eq!(unpacked.skipped.len(), 1);
}

#[test]
fn privileges_are_not_restored() {
    let archive = Tar::new()
        .mode(0o4755)
        .file("setuid", b"x")
        .mode(0o2775)
        .folder("setgid")
        .mode(0o1777)
        .folder("sticky")
        .mode(0o755)
        .file("plain", b"x");
    let (room, unpacked) = restored(archive);
    let reason = "it is restored without its setuid, setgid and sticky bits";
    let expected = ["setuid", "setgid", "sticky"].map(|path| (path, reason));
    assert_eq!(reasons(&unpacked.skipped), expected.into());
    let modes = ["setuid", "setgid", "sticky", "plain"];
    let modes = modes.map(|path| room.at(path).metadata().unwrap().mode() & 0o7777);
    assert_eq!(modes, [0o755, 0o775, 0o777, 0o755]);
}

#[test]
fn a_long_report_ends() {
    let mut archive = Tar::new();
    for number in 0..1500 {
        archive = archive.link(b'2', &format!("l{number}"), "/etc");
    }
    let room = Room::new();
    let skipped = room.unpack(&archive.end()[..]).unwrap().skipped;
    assert_eq!(skipped.len(), 1001);
    assert_eq!(skipped[1000].reason, "500 more, which are not listed");
}

#[test]
fn a_name_that_does_not_fit_is_left_out() {
    let long = "n".repeat(256);
    let room = Room::new();
    let archive = Tar::new()
        .long(b'L', long.as_bytes())
        .file("x", b"data")
        .long(b'L', format!("{long}/inside").as_bytes())
        .file("x", b"data")
        .pax(&[("linkpath", &"t/".repeat(3000))])
        .link(b'2', "link", "x")
        .file("after", b"after");
    let unpacked = room.unpack(&archive.end()[..]).unwrap();
    assert_eq!(unpacked.skipped.len(), 3, "{:?}", unpacked.skipped);
    for skipped in &unpacked.skipped {
        assert!(skipped.reason.starts_with("it cannot have that name here"));
    }
    room.place();
    assert_eq!(content(&room, "after"), "after");
}

// What honest programs write.

#[test]
fn the_last_of_a_name_counts() {
    let archive = Tar::new()
        .file("a", b"first")
        .link(b'1', "b", "a")
        .file("./a", b"the last")
        .folder("f")
        .file("f/x", b"x")
        .mode(0o750)
        .folder("f/")
        .file("c", b"c")
        .link(b'1', "c", "a")
        .link(b'1', "c", "c")
        .link(b'2', "l", "a")
        .link(b'2', "l", "b");
    let (room, _) = restored(archive);
    let contents = ["a", "b", "c", "f/x", "l"].map(|path| content(&room, path));
    assert_eq!(contents, ["the last", "first", "the last", "x", "first"]);
    assert_eq!(room.at("f").metadata().unwrap().mode() & 0o7777, 0o750);
    let [a, b, c] = ["a", "b", "c"].map(|path| room.at(path).metadata().unwrap().ino());
    assert!(a == c && a != b);
}

#[test]
fn names_and_times_of_all_formats() {
    let archive = Tar::new()
        .file(".//x/./y", b"plain")
        .pax(&[
            ("path", "pax\nname"),
            ("mtime", "-1.5"),
            ("uid", "0"),
            ("comment", "path=/etc/x\n22 path=/etc/x\n"),
        ])
        .file("other", b"pax")
        .raw(b'g', "p", "", 15, b"15 comment=all\n")
        .pax(&[("size", "5")])
        .raw(b'0', "sized", "", 5, b"12345")
        .time(-86_400)
        .file("old", b"old")
        .time(1 << 33)
        .raw(b'7', "contiguous", "", 4, b"data")
        .raw(0, "v7", "", 2, b"v7")
        .raw(0, "v7folder/", "", 0, b"")
        .raw(b'D', "dumped", "", 7, b"Yfile\0\0")
        .ustar("prefix/of", "name", b"ustar")
        .file_bytes(b"latin1-\xe9\xff", b"bytes");
    let (room, unpacked) = restored(archive);
    assert_eq!(unpacked.skipped, []);
    assert_eq!(unpacked.entries, 10);
    let site = room.site();
    let expected: [(&[u8], i64); 10] = [
        (b"x/y", 1_000_000_000),
        (b"pax\nname", -2),
        (b"sized", 1_000_000_000),
        (b"old", -86_400),
        (b"contiguous", 1 << 33),
        (b"v7", 1 << 33),
        (b"v7folder", 1 << 33),
        (b"dumped", 1 << 33),
        (b"prefix/of/name", 1 << 33),
        (b"latin1-\xe9\xff", 1 << 33),
    ];
    for (path, modified) in expected {
        let thing = site.get(path).unwrap_or_else(|| panic!("{site:?}"));
        assert_eq!(thing.modified, modified, "{}", path.escape_ascii());
    }
    assert_eq!(content(&room, "sized"), "12345");
    assert_eq!(content(&room, "prefix/of/name"), "ustar");
}

/// As a restore of the configuration does it.
#[test]
fn entries_can_be_renamed() {
    let archive = Tar::new()
        .folder("./config/")
        .file("config/priv/a", b"a")
        .file("config/priv/a.in", b"no")
        .link(b'1', "config/priv/again", "./config/priv/a")
        .link(b'1', "config/priv/hard", "config/priv/a.in")
        .end();
    let room = Room::new();
    let unpacked = room
        .unpack_as(&archive[..], &|path| {
            let path = path.strip_prefix(b"config")?;
            let path = path.strip_prefix(b"/priv/").unwrap_or(path);
            (!path.ends_with(b".in")).then(|| path.to_vec())
        })
        .unwrap();
    let reason = "it is a hard link to a file that is not restored";
    assert_eq!(reasons(&unpacked.skipped), [("hard", reason)].into());
    room.place();
    let paths: Vec<Vec<u8>> = room.site().into_keys().collect();
    assert_eq!(paths, ["a", "again"].map(Vec::from));
}

#[test]
fn unpacking_can_be_cancelled_and_errors_come_through() {
    let archive = Tar::new().file("a", b"x").end();
    let cancel = Cancel::default();
    cancel.cancel();
    let monitor = Monitor::new(std::sync::Arc::new(NoProgress), cancel);
    let room = Room::new();
    let into = room.scratch.join("into");
    let all = |path: &[u8]| Some(path.to_vec());
    let result = unpack(&archive[..], &into, &all, &monitor);
    assert!(matches!(kind(result), Some(ErrorKind::Cancelled)));

    /// Fails after some bytes.
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(Error::Usage("what the stream says".into()).into()),
                count => Ok(count),
            }
        }
    }
    let result = Room::new().unpack(Failing(&archive[..700]));
    assert!(matches!(kind(result), Some(ErrorKind::Usage)));
    // A second archive does not go over the first.
    let room = Room::new();
    room.unpack(&archive[..]).unwrap();
    assert!(matches!(
        kind(room.unpack(&archive[..])),
        Some(ErrorKind::Io)
    ));
}

fn kind(result: Result<Unpacked, Incomplete>) -> Option<ErrorKind> {
    match result {
        Err(Incomplete::Read(error)) => Some(error.downcast::<Error>().unwrap().kind()),
        _ => None,
    }
}
