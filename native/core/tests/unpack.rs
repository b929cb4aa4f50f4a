//! Archives into folders, and from there into their place: nothing outside is touched, nothing is lost,
//! and what was begun can be ended.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::site::*;
use common::tar::Tar;
use common::{Scratch, cancelled_at_once, names, noise, set, stdout, tool};
use proptest::prelude::*;
use rustix::fs::FileType;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use zbackup_core::archive::{Incomplete, Skipped, Unpacked, check_tar, unpack};
use zbackup_core::error::{Error, ErrorKind};
use zbackup_core::progress::{Cancel, Monitor, NoProgress};
use zbackup_core::restore::place;

/// A folder to unpack into, beside other things.
struct Room {
    scratch: Scratch,
    around: BTreeMap<Vec<u8>, Thing>,
}

impl Room {
    fn new() -> Self {
        let scratch = Scratch::new();
        for name in ["into", "site", "outside"] {
            std::fs::create_dir(scratch.join(name)).unwrap();
        }
        scratch.file("victim", b"untouched");
        scratch.file("outside/victim", b"untouched");
        set_mode(&scratch.join("outside/victim"), 0o640);
        let mut room = Self {
            scratch,
            around: BTreeMap::new(),
        };
        room.around = room.all_but_into();
        room
    }

    fn all_but_into(&self) -> BTreeMap<Vec<u8>, Thing> {
        let mut all = things(self.scratch.path());
        all.retain(|path, _| !path.starts_with(b"into"));
        all
    }

    fn unpack(&self, archive: impl Read) -> Result<Unpacked, Incomplete> {
        self.unpack_as(archive, &|path| Some(path.to_vec()))
    }

    #[track_caller]
    fn unpack_as(
        &self,
        archive: impl Read,
        rename: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Unpacked, Incomplete> {
        let into = self.scratch.join("into");
        let result = unpack(archive, &into, rename, &Monitor::silent());
        assert!(self.all_but_into() == self.around, "something outside");
        assert!(names(&into).is_subset(&set(["tree", "folders"])));
        result
    }

    fn place(&self) -> Vec<Skipped> {
        place(
            &self.scratch.join("into"),
            &self.scratch.join("site"),
            &Monitor::silent(),
        )
        .unwrap()
    }

    fn site(&self) -> BTreeMap<Vec<u8>, Thing> {
        things(&self.scratch.join("site"))
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.scratch.join("site").join(path)
    }
}

fn reasons(skipped: &[Skipped]) -> BTreeMap<&str, &str> {
    let pairs = skipped.iter();
    pairs
        .map(|skipped| (skipped.path.as_str(), skipped.reason.as_str()))
        .collect()
}

/// What an honest archive with these entries becomes.
#[track_caller]
fn restored(archive: Tar) -> (Room, Unpacked) {
    let archive = archive.end();
    check_tar(&archive[..]).unwrap();
    let room = Room::new();
    let unpacked = room.unpack(&archive[..]).unwrap();
    assert_eq!(room.place(), []);
    assert!(!room.scratch.join("into").exists());
    (room, unpacked)
}

fn content(room: &Room, path: &str) -> String {
    String::from_utf8(std::fs::read(room.at(path)).unwrap()).unwrap()
}

// What no honest program writes.

#[track_caller]
fn is_refused(archive: Tar, why: &str) {
    is_refused_bytes(&archive.end(), why);
}

#[track_caller]
fn is_refused_bytes(archive: &[u8], why: &str) {
    match Room::new().unpack(archive) {
        Err(Incomplete::Structure(reason)) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{why}: {other:?}"),
    }
}

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

/// A tree as other programs leave it: what they cannot write and we would not restore is not in it.
fn honest_tree(root: &Path) {
    odd_tree(root);
    std::fs::remove_dir_all(root.join("links")).unwrap();
    std::fs::create_dir(root.join("links")).unwrap();
    symlink("../names", root.join("links/up")).unwrap();
    symlink("t".repeat(300), root.join("links/long")).unwrap();
    std::fs::hard_link(root.join("links/up"), root.join("links/up-again")).unwrap();
    for (name, holes) in [("few", 2_u64), ("many", 300)] {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::create(root.join(name)).unwrap();
        for hole in 0..holes {
            file.write_all_at(&noise(5000, hole), 20_000 + hole * 100_000)
                .unwrap();
        }
        file.set_len(holes * 100_000 + 7).unwrap();
    }
}

/// Without what is stripped.
fn plain(mut things: BTreeMap<Vec<u8>, Thing>) -> BTreeMap<Vec<u8>, Thing> {
    for thing in things.values_mut() {
        thing.mode &= 0o777;
    }
    things
}

#[track_caller]
fn same_things(what: &str, one: &BTreeMap<Vec<u8>, Thing>, other: &BTreeMap<Vec<u8>, Thing>) {
    let paths = |things: &BTreeMap<Vec<u8>, Thing>| things.keys().cloned().collect::<BTreeSet<_>>();
    same(what, &paths(one), &paths(other));
    for (path, thing) in one {
        let path = path.as_slice();
        let name = path.escape_ascii().to_string();
        assert_eq!(
            thing,
            &other[path],
            "{what}: {}",
            name.get(..150).unwrap_or(&name)
        );
    }
}

#[test]
fn archives_of_other_programs_are_unpacked() {
    let scratch = Scratch::new();
    let media = scratch.join("media");
    std::fs::create_dir(&media).unwrap();
    honest_tree(&media);
    let formats: [&[&str]; 6] = [
        &["tar", "--format=gnu"],
        &["tar", "--format=gnu", "--sparse"],
        &["tar", "--format=posix"],
        &["tar", "--format=posix", "--sparse"],
        &["bsdtar", "--format=pax"],
        &["bsdtar", "--format=gnutar"],
    ];
    for words in formats {
        let what = words.join(" ");
        if words[0] == "bsdtar" && media.join("deep").exists() {
            // What this program itself finds too much.
            std::fs::remove_dir_all(media.join("times")).unwrap();
            stdout(tool("rm").arg("-rf").arg(media.join("deep")));
        }
        let before = plain(things(&media));
        let archive = scratch.join("other.tar");
        let mut command = tool(words[0]);
        command.args(&words[1..]).arg("-cf").arg(&archive);
        // Names are text in PAX headers, or they are taken as bytes.
        command
            .env("LC_ALL", "C.UTF-8")
            .arg("-C")
            .arg(&media)
            .arg(".");
        assert!(command.output().unwrap().status.code() != Some(2), "{what}");
        check_tar(std::fs::File::open(&archive).unwrap()).unwrap();
        let room = Room::new();
        let unpacked = room.unpack(std::fs::File::open(&archive).unwrap()).unwrap();
        let stripped = unpacked.skipped.iter();
        let others: Vec<_> = stripped
            .filter(|skipped| !skipped.reason.contains("setuid"))
            .collect();
        assert!(others.is_empty(), "{what}: {others:?}");
        room.place();
        let after = room.site();
        same_things(&what, &before, &after);
        let [one, other] = ["lengths/513", "lengths/513-again"]
            .map(|path| room.at(path).metadata().unwrap().ino());
        assert_eq!(one, other, "{what}");
    }
}

#[test]
fn holes_of_older_programs_are_refused_or_read() {
    let scratch = Scratch::new();
    let file = std::fs::File::create(scratch.join("file")).unwrap();
    file.set_len(1 << 20).unwrap();
    for version in ["0.0", "0.1", "1.0"] {
        let archive = scratch.join("sparse.tar");
        let mut command = tool("tar");
        command.args(["--format=posix", "--sparse", "--sparse-version", version]);
        command
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(scratch.path());
        stdout(command.arg("file"));
        let archive = std::fs::read(&archive).unwrap();
        if version == "1.0" {
            let room = Room::new();
            room.unpack(&archive[..]).unwrap();
            room.place();
            assert_eq!(room.at("file").metadata().unwrap().len(), 1 << 20);
        } else {
            is_refused_bytes(&archive, "only old versions of GNU tar");
        }
    }
}

#[test]
fn maps_of_holes_that_are_not_right_are_refused() {
    let piece = |offset: u64, length: u64| format!("{offset:011o}\0{length:011o}\0");
    for (pieces, size, length) in [
        (piece(0, 10), 5, 100),
        (piece(0, 5), 10, 100),
        (piece(50, 10) + &piece(0, 10), 20, 100),
        (piece(0, 10) + &piece(5, 10), 20, 100),
        (piece(95, 10), 10, 100),
        (piece(0o77_777_777_777, 10), 10, 100),
        ("x".repeat(24), 10, 100),
    ] {
        let mut archive = Tar::new()
            .raw(b'S', "holes", "", size, &[7; 32][..size as usize])
            .end();
        archive[386..386 + pieces.len()].copy_from_slice(pieces.as_bytes());
        archive[483..495].copy_from_slice(format!("{length:011o}\0").as_bytes());
        Tar::checksum(&mut archive[..512]);
        is_refused_bytes(&archive, "map of its holes");
    }
    let mapped = |map: &[u8]| {
        let mut data = map.to_vec();
        data.resize(512, 0);
        data.extend_from_slice(b"12345");
        Tar::new()
            .pax(&[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.name", "holes"),
                ("GNU.sparse.realsize", "100"),
            ])
            .file("GNUSparseFile.1/holes", &data)
    };
    let (room, _) = restored(mapped(b"2\n3\n5\n100\n0\n"));
    let expected = [&[0; 3][..], b"12345", &[0; 92]].concat();
    assert_eq!(content(&room, "holes").as_bytes(), expected);
    for map in [
        &b"1\n3\n4\n"[..],
        b"1\n98\n5\n",
        b"99999999\n",
        b"x\n",
        b"\n",
        b"99999999999999999999999\n",
        b"1\n3\n",
    ] {
        is_refused(mapped(map), "map of its holes");
    }
}

/// Zeros without an end, or bytes before that.
struct Zeros(Vec<u8>, u64);

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.0.is_empty() {
            let count = buffer.len().min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            return Ok(count);
        }
        let count = buffer
            .len()
            .min(usize::try_from(self.1).unwrap_or(usize::MAX));
        buffer[..count].fill(0);
        self.1 -= count as u64;
        Ok(count)
    }
}

#[test]
fn zeros_take_no_room() {
    let length = 10_000_000_000_u64;
    let header = Tar::new().raw(b'0', "zeros", "", length, b"").0;
    let room = Room::new();
    let rest = length.next_multiple_of(512) + 1024;
    let unpacked = room.unpack(Zeros(header, rest)).unwrap();
    assert_eq!(unpacked.bytes, length);
    room.place();
    let metadata = room.at("zeros").metadata().unwrap();
    assert_eq!(metadata.len(), length);
    assert!(metadata.blocks() < 2048, "{} blocks", metadata.blocks());
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

// There and back.

#[derive(Debug, Clone)]
enum Odd {
    Folder(u32, i64),
    File(u32, i64, Vec<u8>),
    Link(usize, String, i64),
}

type Tree = Vec<(Vec<String>, Odd)>;

fn trees() -> impl Strategy<Value = Tree> {
    let name = prop_oneof![
        4 => "[a-d]",
        1 => "[\\PC]{1,20}".prop_map(|name| name.replace('/', "_")),
        1 => "[ab]{90,110}",
        1 => Just("a.before-restore".to_owned()),
    ];
    let name = name.prop_filter("a name", |name| {
        name != "." && name != ".." && name.len() < 256
    });
    let mode = prop_oneof![Just(0o755_u32), Just(0o500), Just(0), 0_u32..0o1000];
    let time = prop_oneof![Just(0_i64), -(1_i64 << 31)..(1 << 33)];
    let bytes = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..2000),
        (0_usize..200_000).prop_map(|length| vec![0; length]),
        (0_usize..200_000, any::<u64>()).prop_map(|(length, seed)| noise(length, seed)),
    ];
    let odd = prop_oneof![
        (mode.clone(), time.clone()).prop_map(|(mode, time)| Odd::Folder(mode | 0o500, time)),
        (mode, time.clone(), bytes).prop_map(|(mode, time, bytes)| Odd::File(
            mode | 0o400,
            time,
            bytes
        )),
        (0_usize..3, "[a-d]", time).prop_map(|(up, name, time)| Odd::Link(up, name, time)),
    ];
    prop::collection::vec((prop::collection::vec(name, 1..5), odd), 0..40)
}

/// Makes what can be made; what is in the way of something else is left out.
fn plant(root: &Path, tree: &Tree) {
    let mut last = Vec::new();
    for (path, odd) in tree {
        let depth = path.len() - 1;
        let path: std::path::PathBuf = [root.to_owned()]
            .into_iter()
            .chain(path.iter().map(Into::into))
            .collect();
        let above = path.parent().unwrap();
        let is_blocked = path.symlink_metadata().is_ok() || std::fs::create_dir_all(above).is_err();
        // Through a link it would come to another place.
        if is_blocked || above.canonicalize().unwrap() != above {
            continue;
        }
        match odd {
            Odd::Folder(mode, time) => {
                std::fs::create_dir(&path).unwrap();
                last.push((path, *mode, *time));
            }
            Odd::File(mode, time, bytes) => {
                std::fs::write(&path, bytes).unwrap();
                set_mode(&path, *mode);
                set_modified(&path, *time);
            }
            Odd::Link(up, name, time) => {
                symlink("../".repeat(*up.min(&depth)) + name, &path).unwrap();
                set_modified(&path, *time);
            }
        }
    }
    for (path, mode, time) in last.iter().rev() {
        set_modified(path, *time);
        set_mode(path, *mode);
    }
}

/// Unpacked, and not moved yet.
fn staged(tree: &Tree) -> (Room, BTreeMap<Vec<u8>, Thing>) {
    let scratch = Scratch::new();
    let site = site(&scratch);
    plant(&scratch.join("media"), tree);
    let before = things(&scratch.join("media"));
    let (report, archive) = backup(&site);
    assert_eq!(report.skipped, []);
    let room = Room::new();
    let unpacked = room.unpack(unpacked(&archive)).unwrap();
    assert_eq!(unpacked.skipped, []);
    assert_eq!(unpacked.entries, before.len() as u64);
    (room, before)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(tree in trees()) {
        let (room, before) = staged(&tree);
        prop_assert_eq!(room.place(), []);
        same_things("any tree", &before, &room.site());
        prop_assert!(!room.scratch.join("into").exists());
    }

    /// Over another one, of which nothing is lost; and when some of it was moved before.
    #[test]
    fn any_tree_goes_over_any_other(
        tree in trees(),
        other in trees(),
        moved in prop::collection::vec(any::<bool>(), 40),
    ) {
        let (room, before) = staged(&tree);
        plant(&room.scratch.join("site"), &other);
        let old = room.site();
        // As a place that was killed leaves it.
        let files = before.iter().filter(|(_, thing)| thing.kind != FileType::Directory);
        for ((path, _), is_moved) in files.zip(moved) {
            let to = room.scratch.join("site").join(OsStr::from_bytes(path));
            let from = room.scratch.join("into/tree").join(OsStr::from_bytes(path));
            let above = to.parent().unwrap();
            let is_free = above.is_dir() && above.canonicalize().unwrap() == *above;
            if is_moved && is_free && !old.contains_key(path) {
                std::fs::rename(from, to).unwrap();
            }
        }
        let aside = room.place();
        let new = room.site();
        for (path, thing) in &before {
            prop_assert_eq!(Some(thing), new.get(path), "{}", path.escape_ascii());
        }
        // Files that are not in the backup are there, maybe below another name.
        let contents: BTreeSet<_> = new.values().map(|thing| &thing.content).collect();
        for (path, thing) in &old {
            if !before.contains_key(path) || before[path].kind != thing.kind {
                prop_assert!(contents.contains(&thing.content), "{}", path.escape_ascii());
            }
        }
        for skipped in aside {
            prop_assert!(skipped.reason.contains(".before-restore"), "{:?}", skipped);
        }
        prop_assert!(!room.scratch.join("into").exists());
    }
}

#[test]
fn cancelled_place_goes_on() {
    let room = Room::new();
    let mut archive = Tar::new();
    for number in 0..100 {
        archive = archive.file(&format!("f{number}"), b"new");
    }
    room.unpack(&archive.end()[..]).unwrap();
    let [into, site] = ["into", "site"].map(|name| room.scratch.join(name));
    let error = place(&into, &site, &cancelled_at_once()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(into.join("tree").exists());
    assert_eq!(room.place(), []);
    assert_eq!(room.site().len(), 100);
    // Once more is nothing.
    assert_eq!(room.place(), []);
}
