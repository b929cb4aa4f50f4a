//! What a restore that was killed had come to, `.restore.json`: whatever it says, only folders of the site
//! and what was staged for them are touched, and no file is lost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use zbackup_core::progress::Monitor;
use zbackup_core::restore;
use zbackup_core::site::Site;
use zbackup_fuzz::{Room, is_said_well};

static ROOM: LazyLock<Room> = LazyLock::new(Room::new);

fuzz_target!(|data: &[u8]| {
    let room = &*ROOM;
    room.clear();
    let here = room.here();
    let file = |name: &str, text: &str| {
        let path = here.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("backup/backup.json", "{}");
    file("media/file", "old");
    file("security/key", "old");
    file("other/file", "old");
    // As unpacking leaves it: the folder's content is in `tree`.
    file(".zbackup-restore-0123456789abcdef-0/tree/file", "new");
    file("media/.zbackup-restore-0123456789abcdef-1/tree/file", "new");
    // Where the journal of a seed has a room: it has another name each time.
    let text = String::from_utf8_lossy(data).replace("ROOM", &here.to_string_lossy());
    file("backup/.restore.json", &text);
    file(
        "site.toml",
        "site = \"site\"\nbackup_dir = \"backup\"\nmedia_dir = \"media\"\nsecurity_dir = \"security\"\n",
    );
    let site = Site::from_file(&here.join("site.toml")).unwrap();
    let settled = restore::settle(&site, &Monitor::silent());
    room.check();
    assert_eq!(fs::read_to_string(here.join("other/file")).unwrap(), "old");
    is_old_or_new(&here.join("media/file"));
    is_old_or_new(&here.join("security/key"));
    match settled {
        Ok(_) => assert!(!here.join("backup/.restore.json").exists()),
        Err(error) => is_said_well(&error),
    }
});

fn is_old_or_new(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text == "old" || text == "new", "{path:?} is {text:?}");
}
