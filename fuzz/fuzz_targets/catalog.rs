//! `backup.json`, as it comes from anywhere: no name leads out of the folder, and writing it loses nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use zbackup_core::catalog::{BackupName, Catalog, FILE_NAME, Verification};
use zbackup_core::{list, schedule};
use zbackup_fuzz::{Room, is_said_well};

static ROOM: LazyLock<Room> = LazyLock::new(Room::new);

fuzz_target!(|data: &[u8]| {
    let room = &*ROOM;
    let here = room.here();
    std::fs::write(here.join(FILE_NAME), data).unwrap();
    let catalog = match Catalog::load(&here) {
        Ok(catalog) => catalog,
        Err(error) => return is_said_well(&error),
    };
    let _ = schedule::TimeOfDay::default();
    let (entries, refused) = catalog.entries();
    for entry in &entries {
        is_plain(entry.name.as_str());
        for (part, stored) in entry.parts() {
            is_plain(stored.file.as_str());
            let _ = (
                entry.made_at(part),
                entry.is_kept(part),
                part.context(&entry.name, entry.timestamp),
            );
        }
        assert_eq!(catalog.get(&entry.name).as_ref(), Some(entry));
        let _ = entry.whole_since();
    }
    let listing = list::run(&here).unwrap();
    assert_eq!(listing.backups.len(), entries.len());
    assert_eq!(listing.refused, refused);
    // What is written is what was read, also what was not understood.
    let text = serde_json::to_vec(&catalog).unwrap();
    let mut again: Catalog = serde_json::from_slice(&text).unwrap();
    assert_eq!(again.entries(), (entries.clone(), refused.clone()));
    // A proof is noted for the one, and all else stays.
    let Some(first) = entries.first() else { return };
    let proof = Verification {
        at: 1,
        ok: true,
        problem: None,
    };
    assert!(
        again
            .note_verified(&first.name, first.timestamp, proof.clone())
            .unwrap()
    );
    let noted = again
        .get(&BackupName::try_from(first.name.to_string()).unwrap())
        .unwrap();
    assert_eq!(noted.verified, Some(proof));
    let text = serde_json::to_vec(&again).unwrap();
    let again: Catalog = serde_json::from_slice(&text).unwrap();
    let (noted, still_refused) = again.entries();
    assert_eq!(still_refused, refused);
    assert_eq!(noted.len(), entries.len());
    for (mut noted, entry) in noted.into_iter().zip(entries) {
        noted.verified.clone_from(&entry.verified);
        assert_eq!(noted, entry);
    }
});

fn is_plain(name: &str) {
    assert!(!name.is_empty() && !name.starts_with('.'), "{name:?}");
    assert!(!name.contains(['/', '\\', '\0', '\n']), "{name:?}");
}
