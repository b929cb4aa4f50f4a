//! What a backup that was killed had decided, `commit.json`: whatever it says, nothing outside of the
//! backup folder is touched.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::sync::LazyLock;
use zbackup_core::catalog::Catalog;
use zbackup_fuzz::{Room, is_said_well};

static ROOM: LazyLock<Room> = LazyLock::new(Room::new);

fuzz_target!(|data: &[u8]| {
    let room = &*ROOM;
    room.clear();
    let here = room.here();
    let staging = here.join(".staging");
    fs::create_dir(&staging).unwrap();
    for name in ["site-3.sql.gz", "old.sql.gz"] {
        fs::write(here.join(name), "old").unwrap();
    }
    fs::write(staging.join("site-3.sql.gz"), "new").unwrap();
    fs::write(here.join("backup.json"), "{}").unwrap();
    fs::write(staging.join("backup.json"), r#"{"site-3":{"timestamp":1}}"#).unwrap();
    fs::write(staging.join("commit.json"), data).unwrap();
    let loaded = Catalog::load(&here);
    room.check();
    match loaded {
        // Done, and not done again.
        Ok(_) => assert!(!staging.exists()),
        Err(error) => is_said_well(&error),
    }
});
