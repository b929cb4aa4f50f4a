//! An archive is unpacked: nothing gets out of the folder, no link leads out of it, and what is unpacked
//! without an error is a whole archive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::{Component, Path};
use std::sync::LazyLock;
use zbackup_core::archive::{check_tar, unpack};
use zbackup_core::progress::Monitor;
use zbackup_fuzz::Room;

static ROOM: LazyLock<Room> = LazyLock::new(Room::new);

fuzz_target!(|data: &[u8]| {
    // Checksums are nothing to guess.
    let archive = with_checksums(data);
    let room = &*ROOM;
    room.clear();
    let checked = check_tar(&archive[..]);
    let into = room.here();
    let unpacked = unpack(
        &archive[..],
        &into,
        &|path| Some(path.to_vec()),
        &Monitor::silent(),
    );
    room.check();
    match (&checked, &unpacked) {
        (Err(problem), Ok(_)) => panic!("unpacked, though it is not whole: {problem}"),
        (_, Ok(unpacked)) => {
            for skipped in &unpacked.skipped {
                assert!(!skipped.reason.is_empty());
            }
        }
        (_, Err(problem)) => {
            let words = problem.to_string();
            assert!(!words.contains("internal"), "{words}");
        }
    }
    no_way_out(&into, 0);
});

/// No link below the folder leads out of it: by its words, which is what counts when it is moved.
fn no_way_out(folder: &Path, depth: usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            no_way_out(&entry.path(), depth + 1);
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            // What stands for an entry that is left out, until all is moved.
            if target != Path::new("/dev/null") {
                stays_inside(&target, depth, folder);
            }
        } else {
            assert!(
                kind.is_file(),
                "{:?} is neither file, folder nor link",
                entry.path()
            );
        }
    }
}

fn stays_inside(target: &Path, depth: usize, folder: &Path) {
    let mut at = depth;
    for component in target.components() {
        match component {
            // One is the folder with the tree itself, which is below `into`.
            Component::ParentDir if at > 1 => at -= 1,
            Component::Normal(_) => at += 1,
            Component::CurDir => {}
            _ => panic!("{target:?} in {folder:?} leads out"),
        }
    }
}

/// Every block that could be a header gets the checksum of one, when the first says so.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let Some((first, rest)) = data.split_first() else {
        return Vec::new();
    };
    let mut archive = rest.to_vec();
    if first % 2 == 1 {
        for block in archive.chunks_exact_mut(512) {
            if block[..512].iter().all(|&byte| byte == 0) {
                continue;
            }
            // Data need none: a block of digits is changed in vain, which does no harm.
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
            block[154] = 0;
        }
        if first % 4 == 3 {
            archive.truncate(archive.len() / 512 * 512);
            archive.extend([0; 1024]);
        }
    }
    archive
}
