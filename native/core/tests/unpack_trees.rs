//! Whatever is in a folder comes back from its backup, over whatever is there by then.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::room::*;
use common::site::*;
use common::tar::Tar;
use common::{Scratch, cancelled_at_once, noise};
use proptest::prelude::*;
use rustix::fs::FileType;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use zbackup_core::error::ErrorKind;
use zbackup_core::restore::place;

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
