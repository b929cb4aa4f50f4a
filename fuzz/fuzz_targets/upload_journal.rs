//! The journal of uploads that are under way: whatever stands there, it opens, and says the same the
//! next time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use zbackup_core::offsite::uploads_under_way;
use zbackup_fuzz::Room;

static ROOM: LazyLock<Room> = LazyLock::new(Room::new);

fuzz_target!(|data: &[u8]| {
    let room = &*ROOM;
    let here = room.here();
    let path = here.join("backup.json.upload-store");
    std::fs::write(&path, data).unwrap();
    let first = uploads_under_way(&here, "store").unwrap();
    let again = uploads_under_way(&here, "store").unwrap();
    assert_eq!(first, again);
    room.check();
});
