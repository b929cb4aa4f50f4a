//! `site.toml`: a site or a mistake in words, which never tell the password that stands there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use zbackup_core::site::Site;
use zbackup_fuzz::{Room, is_said_well};

static ROOM: LazyLock<Room> = LazyLock::new(Room::new);
const SECRET: &str = "hunter2-and-more";

fuzz_target!(|data: &[u8]| {
    let room = &*ROOM;
    let path = room.here().join("site.toml");
    // The first byte says where in the text the line with a password is.
    let (place, text) = data.split_first().unwrap_or((&0, &[]));
    let mut bytes = text.to_vec();
    let is_planted = *place > 0 && !text.windows(7).any(|part| part == b"hunter2");
    if is_planted {
        let breaks = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let at = breaks
            .map(|(at, _)| at + 1)
            .nth(usize::from(*place) - 1)
            .unwrap_or(text.len());
        bytes.splice(at..at, format!("password = \"{SECRET}\"\n").into_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    match Site::from_file(&path) {
        Ok(site) => {
            let words = format!("{site:?}");
            assert!(!is_planted || !words.contains(SECRET), "{words}");
            let _ = (site.holds_secret(), site.time_zone());
        }
        Err(error) => {
            is_said_well(&error);
            let words = error.to_string();
            assert!(!is_planted || !words.contains(SECRET), "{words}");
        }
    }
});
