//! Archives of other programs are unpacked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::room::*;
use common::site::*;
use common::{Scratch, noise, stdout, tool};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use zbackup_core::archive::check_tar;

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
