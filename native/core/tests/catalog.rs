//! What becomes of the files of a backup folder when a new backup comes.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::SystemTime;
use zbackup_core::catalog::{BackupFolder, Catalog, Entry};

fn catalog(json: &str) -> Catalog {
    serde_json::from_str(json).unwrap()
}

fn entry(name: &str, at: u64) -> (String, Entry) {
    let json = format!(r#"{{"{name}": {{"timestamp": {at}, "database": "{name}.sql.gz"}}}}"#);
    let entry = catalog(&json).entries().0.remove(0);
    (json, entry)
}

/// A list from elsewhere can say that it is next year. Nothing here is older because of that.
#[test]
fn a_backup_from_the_future_makes_nothing_old() {
    let folder = tempfile::tempdir().unwrap();
    let next_year = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 366 * 86_400;
    let (list, _) = entry("site-2", next_year - 86_400);
    fs::write(folder.path().join("backup.json"), list).unwrap();
    for file in ["site-2.sql.gz", "site-5.sql.gz"] {
        fs::write(folder.path().join(file), "good").unwrap();
    }
    let backups = BackupFolder::open(folder.path()).unwrap();
    let (before, _) = backups.catalog().unwrap();
    let (_, new) = entry("site-3", next_year);
    backups.commit(before, new, &[]).unwrap();
    assert_eq!(backups.catalog().unwrap().0.entries().0.len(), 2);
    assert!(folder.path().join("site-5.sql.gz").exists());
}
