//! What others wrote into the backup folder and its list, and what a backup makes of that.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{DUMP, Noon, PASSWORD, Site, mode, seal_z1, sh, sha256, tree, write, zbackup};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Backups that were copied to a new machine without their list are not for its first backup to remove.
#[test]
fn files_that_no_list_knows_are_kept() {
    let site = Site::new();
    let slot = Noon::slot(&site.zone);
    let old: Vec<String> = [
        "2", "3", "4", "5", "6", "7", "w1", "w2", "w3", "w4", "1", "w0",
    ]
    .iter()
    .flat_map(|slot| ["", ".enc"].map(|end| format!("site-{slot}.tar.gz{end}")))
    .collect();
    for name in &old {
        write(&site.backups().join(name), name);
    }
    sh("touch -d '60 days ago' \"$1\"/*", &[&site.backups()]).good();
    site.run("backup")
        .good()
        .expect(0, &[&format!("site-{slot}.tar.gz.unlisted-1")]);
    for name in &old {
        let there = site.backups().join(name);
        let aside = site.backups().join(format!("{name}.unlisted-1"));
        let kept = if aside.exists() { aside } else { there };
        assert_eq!(fs::read_to_string(&kept).unwrap(), *name);
    }
    site.run("verify").good();
}

#[test]
fn files_of_entries_that_cannot_be_used_are_kept() {
    let site = Site::new();
    site.backup();
    site.edit_catalog(|catalog| {
        catalog["site-w0"] = json!({"timestamp": 1.5, "files": "site-w0.tar.gz"});
        let yesterday = common::now() - 86_400;
        for slot in ["2", "7"] {
            catalog[format!("site-{slot}")]["timestamp"] = yesterday.into();
        }
    });
    write(&site.backups().join("site-w0.tar.gz"), "kept");
    sh(
        "touch -d '60 days ago' \"$1\"/site-w0.tar.gz",
        &[&site.backups()],
    )
    .good();
    site.backup();
    assert!(site.backups().join("site-w0.tar.gz").exists());
}

#[test]
fn secrets_cannot_be_listed_as_media() {
    let site = Site::new();
    let name = site.backup();
    let config = site.catalog()[&name]["config_files"].clone();
    site.edit_catalog(|catalog| catalog[&name]["files"] = config);
    site.run("list").expect(0, &["cannot be used", "files"]);
}

#[test]
fn entries_and_fields_of_others_are_kept() {
    let site = Site::new();
    let foreign = json!({
        "other-3": {"timestamp": 1, "files": "other-3.tar.gz", "mystery": {"deep": [1, 2.50, null, "ü"]}},
        "site-w0": {"timestamp": 1_700_000_000, "database": "site-w0.sql.gz", "database_hash": "0".repeat(64),
                    "is_encrypted": false, "is_filestore_uploaded": true, "future": 12_345_678_901_234_567_890_u64},
        "garbage": "not even a map",
        "../evil": {"timestamp": 1, "database": "/etc/passwd"},
        "numbers": {"timestamp": "yesterday"},
    });
    write(
        &site.backups().join("backup.json"),
        serde_json::to_vec_pretty(&foreign).unwrap(),
    );
    write(&site.backups().join("notes.txt"), "mine");
    let name = site.backup();
    let mut after = site.catalog();
    assert!(after[&name].is_object());
    after.as_object_mut().unwrap().remove(&name);
    assert_eq!(after, foreign);
    assert_eq!(fs::read(site.backups().join("notes.txt")).unwrap(), b"mine");

    let listed = site.run("list --json").good().json();
    assert_eq!(
        names(&listed["backups"]),
        [name.as_str(), "site-w0", "other-3"]
    );
    assert_eq!(names(&listed["refused"]), ["../evil", "garbage", "numbers"]);
    assert_eq!(listed["backups"][1]["missing"], json!(["site-w0.sql.gz"]));
    site.run("list").expect(
        0,
        &["../evil", "cannot be used", "missing", "site-w0.sql.gz"],
    );
    site.run("verify")
        .expect(4, &["../evil", "garbage", "NOT proven"]);
    site.run(&format!("verify {name}")).good();
    site.run("verify ../evil").expect(4, &["NOT proven"]);
}

fn names(list: &Value) -> Vec<&str> {
    let all = list.as_array().unwrap().iter();
    all.map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn files_of_another_entry_are_never_removed() {
    let site = Site::new();
    let name = site.backup();
    // Another entry says that the twin of what we make is its own.
    let twin = format!("{name}.tar.gz.enc");
    write(&site.backups().join(&twin), "theirs");
    site.edit_catalog(|all| all["theirs"] = json!({"timestamp": 5, "files": twin}));
    site.backup();
    assert_eq!(fs::read(site.backups().join(&twin)).unwrap(), b"theirs");
}

#[test]
fn a_name_that_is_in_the_list_twice_is_once_after_a_backup() {
    let site = Site::new();
    let name = site.backup();
    let text = fs::read_to_string(site.backups().join("backup.json")).unwrap();
    let entry = text.trim().trim_start_matches('{').trim_end_matches('}');
    write(
        &site.backups().join("backup.json"),
        format!("{{{entry}}},{entry}}}}}"),
    );
    site.run("verify").expect(4, &["more than once"]);
    site.backup();
    site.run(&format!("verify {name}")).good();
}

#[test]
fn a_damaged_list_is_said_and_kept_aside() {
    for damage in ["{\"site-2\": {\"timest", "", "[]", "null", "\0\0\0\0"] {
        let site = Site::new();
        write(&site.backups().join("backup.json"), damage);
        write(&site.backups().join("site-w1.sql.gz"), "old");
        for command in ["list", "verify", "verify site-w1"] {
            site.run(command).expect(4, &["backup.json", "damaged"]);
        }
        let ran = site.run("backup").expect(
            0,
            &["warning", "backup.json was damaged", "backup.json.damaged-"],
        );
        let aside = tree(&site.backups())
            .into_keys()
            .find(|path| path.to_str().unwrap().starts_with("backup.json.damaged-"))
            .unwrap();
        assert!(ran.said().contains(aside.to_str().unwrap()));
        assert_eq!(
            fs::read_to_string(site.backups().join(&aside)).unwrap(),
            damage
        );
        assert_eq!(mode(&site.backups().join(&aside)), 0o600);
        assert!(site.backups().join("site-w1.sql.gz").exists());
        site.run("verify").good();
        // The next backup has nothing to say about it, and keeps it.
        site.run("backup").good().without(&["damaged"]);
        assert_eq!(
            fs::read_to_string(site.backups().join(&aside)).unwrap(),
            damage
        );
    }
}

#[test]
fn a_failed_backup_does_not_touch_a_damaged_list() {
    let mut site = Site::new();
    write(&site.backups().join("backup.json"), "{damaged");
    site.fake_dump("exit 1");
    site.run("backup").expect(1, &[]);
    assert_eq!(
        fs::read(site.backups().join("backup.json")).unwrap(),
        b"{damaged"
    );
}

/// A backup as Zotonic's own module makes it: hashes of the files before they were encrypted.
fn zotonics(site: &Site, name: &str, encrypted: bool) -> Value {
    let end = if encrypted { ".enc" } else { "" };
    let made = site.path("made");
    sh(
        "mkdir \"$1\"; printf %s \"$4\" | gzip >\"$1/sql\"; tar -czf \"$1/files\" -C \"$2\" ./; \
         tar -czf \"$1/config\" -C \"$3\" --transform 's,^[.],config-site/config/priv,' .",
        &[
            &made,
            &site.path("media"),
            &site.path("priv"),
            Path::new(DUMP),
        ],
    )
    .good();
    let mut entry = json!({
        "timestamp": 1_795_441_436, "is_encrypted": encrypted, "is_filestore_uploaded": false
    });
    fs::create_dir_all(site.backups()).unwrap();
    for (key, plain, file) in [
        ("database", "sql", format!("{name}.sql.gz{end}")),
        (
            "config_files",
            "config",
            format!("config-{name}.tar.gz{end}"),
        ),
        ("files", "files", format!("{name}.tar.gz{end}")),
    ] {
        let plain = made.join(plain);
        let file_path = site.backups().join(&file);
        if encrypted {
            seal_z1(PASSWORD, &plain, &file_path);
        } else {
            fs::copy(&plain, &file_path).unwrap();
        }
        entry[key] = json!(file);
        entry[format!("{key}_hash")] = json!(sha256(&plain));
    }
    fs::remove_dir_all(made).unwrap();
    write(
        &site.backups().join("backup.json"),
        json!({ name: entry }).to_string(),
    );
    entry
}

#[test]
fn backups_of_zotonics_own_module_list_and_verify() {
    for encrypted in [false, true] {
        let mut site = Site::new();
        site.encrypt(encrypted);
        zotonics(&site, "site-1", encrypted);
        let ran = site.run("verify").expect(0, &["site-1", "proven"]);
        assert_eq!(ran.said().contains("no integrity"), encrypted, "{ran:#?}");
        let listed = site.run("list --json").good().json();
        for present in [
            "is_database_present",
            "is_files_present",
            "is_config_files_present",
        ] {
            assert_eq!(listed["backups"][0][present], json!(true));
        }
        // Beside one of ours.
        site.backup();
        site.run("verify").good();
        if encrypted {
            let wrong = site.path("wrong");
            write(&wrong, "wrong");
            let dir = site.backups();
            let words = [
                "verify",
                "site-1",
                "--dir",
                dir.to_str().unwrap(),
                "--password-file",
            ];
            zbackup([&words[..], &[wrong.to_str().unwrap()]].concat())
                .expect(3, &["wrong password"]);
        }
        // In an encrypted file of this kind only gzip and the hash of the content show a change.
        let file = site.part("site-1", "files");
        let mut content = fs::read(&file).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 4;
        write(&file, &content);
        site.run("verify site-1")
            .expect(4, &["site-1", "NOT proven"]);
    }
}

#[test]
fn media_that_zotonic_encrypted_still_verify_when_they_are_kept() {
    let mut site = Site::new();
    site.encrypt(true);
    site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    let name = format!("site-{}", Noon::slot(&site.zone));
    zotonics(&site, &name, true);
    site.run("verify").good();
    assert_eq!(site.backup_database_only(), name);
    site.run("verify").expect(0, &["proven"]);
}
