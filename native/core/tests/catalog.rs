//! What becomes of the files of a backup folder when a new backup comes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};
use zbackup_core::catalog::{BackupFolder, Catalog, Entry, Verification};
use zbackup_core::error::ErrorKind;

fn catalog(json: &str) -> Catalog {
    serde_json::from_str(json).unwrap()
}

fn entry(name: &str, at: u64) -> (String, Entry) {
    let json = format!(r#"{{"{name}": {{"timestamp": {at}, "database": "{name}.sql.gz"}}}}"#);
    let entry = catalog(&json).entries().0.remove(0);
    (json, entry)
}

/// Found by fuzzing: the usual way of reading a number is off by its last digit. An entry that is changed has
/// the fields of others still as they were.
#[test]
fn numbers_of_others_are_kept_to_the_last_digit() {
    let mut list = catalog(r#"{"site-2": {"timestamp": 1795870784, "theirs": {"number": 1e64}}}"#);
    let entry = list.entries().0.remove(0);
    let proof = Verification {
        at: 1,
        ok: true,
        problem: None,
    };
    let is_there = list.note_verified(&entry.name, entry.timestamp, proof);
    assert!(is_there.unwrap());
    let written = serde_json::to_string(&list).unwrap();
    assert!(written.contains("{\"number\":1e+64}"), "{written}");
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

/// Somebody may have made it so long that no memory and no disk can hold it again.
#[test]
fn a_damaged_list_without_end_is_kept_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("backup.json");
    fs::write(&list, "{damaged").unwrap();
    let file = fs::File::options().write(true).open(&list).unwrap();
    file.set_len(1 << 40).unwrap();
    let inode = file.metadata().unwrap().ino();
    let backups = BackupFolder::open(folder.path()).unwrap();
    let (before, aside) = backups.catalog().unwrap();
    let aside = aside.unwrap();
    // Also when it is met again. Until there is a new one, it stays.
    assert_eq!(backups.catalog().unwrap().1.unwrap(), aside);
    assert_eq!(list.metadata().unwrap().ino(), inode);
    backups.commit(before, entry("site-3", 1).1, &[]).unwrap();
    assert_eq!(aside.metadata().unwrap().ino(), inode);
    assert_eq!(aside.metadata().unwrap().len(), 1 << 40);
    assert!(
        fs::read(aside.with_file_name("backup.json"))
            .unwrap()
            .starts_with(b"{\"site-3\"")
    );
}

/// A backup that cannot be restored as it is lets nothing old go.
#[test]
fn only_a_good_backup_lets_what_is_old_go() {
    for ok in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let list = format!(
            r#"{{"site-1": {{"timestamp": {}, "database": "site-1.sql.gz"}},
                "site-2": {{"timestamp": {}, "database": "site-2.sql.gz"}}}}"#,
            now - 40 * 86_400,
            now - 86_400
        );
        fs::write(folder.path().join("backup.json"), list).unwrap();
        fs::write(folder.path().join("site-1.sql.gz"), "good").unwrap();
        let backups = BackupFolder::open(folder.path()).unwrap();
        let new = format!(
            r#"{{"site-3": {{"timestamp": {now}, "database": "site-3.sql.gz", "verified": {{"at": {now}, "ok": {ok}}}}}}}"#
        );
        let new = catalog(&new).entries().0.remove(0);
        backups
            .commit(backups.catalog().unwrap().0, new, &[])
            .unwrap();
        assert_eq!(folder.path().join("site-1.sql.gz").exists(), !ok);
    }
}

/// The account that a site runs as owns its backup folder, in which root may have to finish something.
#[test]
fn a_link_in_the_place_of_what_is_staged_leads_nowhere() {
    let [folder, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let commit = r#"{"rename": ["site-3.sql.gz"], "remove": ["site-4.sql.gz"]}"#;
    fs::write(elsewhere.path().join("commit.json"), commit).unwrap();
    fs::write(elsewhere.path().join("site-3.sql.gz"), "not staged").unwrap();
    fs::write(folder.path().join("site-4.sql.gz"), "good").unwrap();
    symlink(elsewhere.path(), folder.path().join(".staging")).unwrap();
    let backups = BackupFolder::open(folder.path()).unwrap();
    let (before, _) = backups.catalog().unwrap();
    let error = backups
        .commit(before, entry("site-3", 1).1, &[])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(".staging is not a folder: remove it"),
        "{error}"
    );
    drop(backups);
    for file in ["commit.json", "site-3.sql.gz"] {
        assert!(elsewhere.path().join(file).exists(), "{file}");
    }
    assert!(!folder.path().join("site-3.sql.gz").exists());
    assert!(folder.path().join("site-4.sql.gz").exists());
}

#[test]
fn what_cannot_be_a_commit_is_refused_and_not_waited_for() {
    type Make = fn(&Path);
    let cases: [(Make, &str); 3] = [
        (
            |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            "it is not a file",
        ),
        (
            |path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
            "it is far too long",
        ),
        (
            |path| symlink("elsewhere", path).unwrap(),
            "it is a symbolic link",
        ),
    ];
    for (make, reason) in cases {
        let folder = tempfile::tempdir().unwrap();
        let staging = folder.path().join(".staging");
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("elsewhere"), r#"{"rename": [], "remove": []}"#).unwrap();
        make(&staging.join("commit.json"));
        let (opened, came) = mpsc::channel();
        let path = folder.path().to_owned();
        std::thread::spawn(move || opened.send(BackupFolder::open(&path).map(drop)));
        let error = came
            .recv_timeout(Duration::from_secs(20))
            .expect(reason)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        // It is for somebody to look at.
        assert!(staging.join("elsewhere").exists());
    }
}
