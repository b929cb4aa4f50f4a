//! Archives that are unpacked and moved into their place, beside things that must not change.

#![allow(dead_code)] // not every test uses all of it
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::site::*;
use super::tar::Tar;
use super::{Scratch, names, set};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use zbackup_core::archive::{Incomplete, Skipped, Unpacked, check_tar, unpack};
use zbackup_core::progress::Monitor;
use zbackup_core::restore::place;

/// A folder to unpack into, beside other things.
pub(crate) struct Room {
    pub(crate) scratch: Scratch,
    around: BTreeMap<Vec<u8>, Thing>,
}

impl Room {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn all_but_into(&self) -> BTreeMap<Vec<u8>, Thing> {
        let mut all = things(self.scratch.path());
        all.retain(|path, _| !path.starts_with(b"into"));
        all
    }

    pub(crate) fn unpack(&self, archive: impl Read) -> Result<Unpacked, Incomplete> {
        self.unpack_as(archive, &|path| Some(path.to_vec()))
    }

    #[track_caller]
    pub(crate) fn unpack_as(
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

    pub(crate) fn place(&self) -> Vec<Skipped> {
        place(
            &self.scratch.join("into"),
            &self.scratch.join("site"),
            &Monitor::silent(),
        )
        .unwrap()
    }

    pub(crate) fn site(&self) -> BTreeMap<Vec<u8>, Thing> {
        things(&self.scratch.join("site"))
    }

    pub(crate) fn at(&self, path: &str) -> std::path::PathBuf {
        self.scratch.join("site").join(path)
    }
}

pub(crate) fn reasons(skipped: &[Skipped]) -> BTreeMap<&str, &str> {
    let pairs = skipped.iter();
    pairs
        .map(|skipped| (skipped.path.as_str(), skipped.reason.as_str()))
        .collect()
}

/// What an honest archive with these entries becomes.
#[track_caller]
pub(crate) fn restored(archive: Tar) -> (Room, Unpacked) {
    let archive = archive.end();
    check_tar(&archive[..]).unwrap();
    let room = Room::new();
    let unpacked = room.unpack(&archive[..]).unwrap();
    assert_eq!(room.place(), []);
    assert!(!room.scratch.join("into").exists());
    (room, unpacked)
}

pub(crate) fn content(room: &Room, path: &str) -> String {
    String::from_utf8(std::fs::read(room.at(path)).unwrap()).unwrap()
}

#[track_caller]
pub(crate) fn is_refused(archive: Tar, why: &str) {
    is_refused_bytes(&archive.end(), why);
}

#[track_caller]
pub(crate) fn is_refused_bytes(archive: &[u8], why: &str) {
    match Room::new().unpack(archive) {
        Err(Incomplete::Structure(reason)) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{why}: {other:?}"),
    }
}

/// Without what is stripped.
pub(crate) fn plain(mut things: BTreeMap<Vec<u8>, Thing>) -> BTreeMap<Vec<u8>, Thing> {
    for thing in things.values_mut() {
        thing.mode &= 0o777;
    }
    things
}

#[track_caller]
pub(crate) fn same_things(
    what: &str,
    one: &BTreeMap<Vec<u8>, Thing>,
    other: &BTreeMap<Vec<u8>, Thing>,
) {
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

pub(crate) fn all(path: &[u8]) -> Option<Vec<u8>> {
    Some(path.to_vec())
}

/// Unpacks into a new folder of that name.
pub(crate) fn staged(scratch: &Scratch, name: &str, archive: impl Read) -> PathBuf {
    let into = scratch.join(name);
    std::fs::create_dir(&into).unwrap();
    unpack(archive, &into, &all, &Monitor::silent()).unwrap();
    into
}

pub(crate) fn placed(staged: &Path, target: &Path) -> BTreeMap<String, String> {
    let aside = place(staged, target, &Monitor::silent()).unwrap();
    assert!(!staged.exists());
    let pairs = aside.into_iter();
    pairs
        .map(|Skipped { path, reason, .. }| (path, reason))
        .collect()
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}
