//! Copies from a store that lies.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::proxy::{Fault, behind};
use common::store::{Store, env};
use common::{SOON, noise, sh, tree, write};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn an_older_backup_of_another_night_is_noticed() {
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    site.run("push").good();
    let old = store.get(&format!("{name}.tar.gz"));
    std::thread::sleep(Duration::from_millis(1100));
    write(&site.path("media/2026/11/photo.jpg"), noise(300_000, 8));
    site.backup();
    site.run("push").good();
    store.put(&format!("{name}.tar.gz"), &old);
    let other = store.elsewhere();
    other.run("pull").expect(4, &["another"]);
    assert!(tree(&other.backups()).is_empty());
    // The next push sees that as well, and mends it.
    site.run("push").good();
    store.is_copy_of(&site);
    other.run("pull").good();
}

#[test]
fn a_store_that_was_set_back_is_told() {
    let store = Store::new();
    let site = store.site();
    site.backup();
    site.run("push").good();
    let old = store.list();
    std::thread::sleep(Duration::from_millis(1100));
    site.backup();
    site.run("push").good();
    let other = store.elsewhere();
    other.run("pull").good();
    let kept = tree(&other.backups());
    store.put("backup.json", old.to_string());
    other
        .run("pull")
        .expect(1, &["set back", "newer, and is kept"]);
    common::assert_same(&tree(&other.backups()), &kept);
    store.put("backup.json", "{}");
    other.run("pull").expect(0, &["set back"]);
    common::assert_same(&tree(&other.backups()), &kept);
}

#[test]
fn a_list_cannot_name_what_is_not_a_file_of_the_backup() {
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    site.run("push").good();
    let other = store.elsewhere();
    other.run("pull").good();
    let kept = tree(&other.path("."));
    let entry = |file: &str| json!({"timestamp": common::now(), "files": file, "files_hash": "0".repeat(64)});
    let list = store.list();
    for (backup, file) in [
        ("site-66", "../site-66.tar.gz"),
        ("site-66", "/tmp/site-66.tar.gz"),
        ("site-66", ".staging/site-66.tar.gz"),
        ("../site-66", "site-66.tar.gz"),
        ("site-66", "backup.json"),
        // The files of another backup.
        ("site-66", "other.tar.gz"),
        ("site-66", &format!("{name}.tar.gz")),
        (&format!("config-{name}"), &format!("config-{name}.tar.gz")),
        (
            &format!("config-{name}"),
            &format!("config-{name}.tar.gz.enc"),
        ),
    ] {
        let mut list = list.clone();
        list[backup] = entry(file);
        store.put("backup.json", list.to_string());
        store.put("site-66.tar.gz", "evil");
        // By its name, for what can be that of another site.
        let words = if backup.starts_with("config-") {
            format!("pull {backup}")
        } else {
            "pull".into()
        };
        let ran = other.run(&words).expect(4, &["not copied"]);
        assert_eq!(tree(&other.path(".")), kept, "{backup} {file}: {ran:?}");
    }
}

#[test]
fn a_list_that_is_none_or_far_too_long_is_refused() {
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    let other = store.elsewhere();
    store.put("backup.json", "not JSON");
    other.run("pull").expect(4, &["not a list of backups"]);
    let said = site.run("push").expect(0, &["damaged", "kept there as"]);
    let aside = store
        .names()
        .into_iter()
        .find(|name| name.contains("damaged"));
    assert_eq!(
        store.get(&aside.unwrap_or_else(|| panic!("{said:?}"))),
        b"not JSON"
    );
    assert!(store.list()[&name].is_object());
    store.put(
        "backup.json",
        [vec![b' '; 17 << 20], b"{}".to_vec()].concat(),
    );
    other.run("pull").expect(4, &["far too long"]);
    site.run("push").expect(4, &["far too long"]);
    assert!(!other.backups().exists());
}

#[test]
fn a_file_that_is_longer_or_never_ends_is_refused() {
    let (store, proxy, site) = behind("");
    let name = site.backup();
    site.run("push").good();
    let mut other = store.elsewhere();
    store.give(&mut other, &proxy.endpoint());
    proxy.set(Fault::Endless);
    let began = Instant::now();
    other
        .run("pull")
        .expect(4, &["more comes than was asked for"]);
    assert!(began.elapsed() < SOON * 6);
    proxy.set(Fault::None);
    let file = format!("{name}.tar.gz");
    store.put(&file, [store.get(&file), vec![0]].concat());
    other.run("pull").expect(4, &["not of the length"]);
    assert!(tree(&other.backups()).is_empty());
}

#[test]
fn a_site_with_a_password_takes_no_backup_without() {
    let store = Store::new();
    let site = store.site();
    site.backup();
    site.run("push").good();
    let mut other = store.elsewhere();
    other.encrypt(true);
    other.run("pull").expect(4, &["is not encrypted"]);
    assert!(tree(&other.backups()).is_empty());
    other.run("pull --allow-unencrypted").good();
    // Nor one that only says that it is.
    let name = site.backup();
    let store = Store::new();
    let site = {
        let mut site = site;
        store.give(&mut site, &env("ENDPOINT"));
        site
    };
    for part in ["files", "config_files"] {
        let path = site.part(&name, part);
        let sealed = format!("{}.enc", path.display());
        fs::rename(&path, &sealed).unwrap();
        site.edit_catalog(|catalog| {
            let file = catalog[&name][part].as_str().unwrap().to_owned() + ".enc";
            catalog[&name][part] = file.into();
            catalog[&name]["is_encrypted"] = true.into();
        });
    }
    site.run("push").good();
    let mut other = store.elsewhere();
    other.encrypt(true);
    other
        .run("pull")
        .expect(4, &["should be encrypted, and is not"]);
    assert!(tree(&other.backups()).is_empty());
}

#[test]
fn backups_of_zotonics_own_module_are_copied_and_what_is_not_provable_is_told() {
    let store = Store::new();
    let mut site = store.site();
    site.encrypt(true);
    let folder = site.backups();
    fs::create_dir_all(&folder).unwrap();
    let plain = site.path("plain");
    sh("printf 'hello' | gzip >\"$1\"", &[&plain]).good();
    common::seal_z1(common::PASSWORD, &plain, &folder.join("site-w0.sql.gz.enc"));
    let hash = common::sha256(&plain);
    fs::copy(&plain, folder.join("site-1.sql.gz.enc")).unwrap();
    common::seal_z1(
        "another password",
        &plain,
        &folder.join("site-1.sql.gz.enc"),
    );
    write(
        &folder.join("backup.json"),
        json!({
            "site-w0": {"timestamp": 1_700_000_000, "database": "site-w0.sql.gz.enc",
                        "database_hash": hash, "is_encrypted": true, "is_filestore_uploaded": false},
            "site-1": {"timestamp": 1_600_000_000, "database": "site-1.sql.gz.enc",
                       "database_hash": hash, "is_encrypted": true, "is_filestore_uploaded": false},
        })
        .to_string(),
    );
    site.run("push").good();
    store.is_copy_of(&site);
    assert_eq!(
        site.run("push --json").good().json()["already"],
        json!(["site-w0", "site-1"])
    );

    let mut other = store.elsewhere();
    other.encrypt(true);
    let pulled = other.run("pull --json").good().json();
    assert_eq!(pulled["pulled"][0]["is_proven"], true, "{pulled}");
    assert_eq!(pulled["pulled"][1]["is_proven"], false, "{pulled}");
    assert!(
        pulled["pulled"][1]["notes"][0]
            .as_str()
            .unwrap()
            .contains("another password")
    );
    // Without the password nothing proves either.
    let other = store.elsewhere();
    let ran = other
        .run("pull")
        .expect(0, &["NOT proven", "without the password"]);
    assert_eq!(ran.stdout.matches("NOT proven").count(), 2);
    // What is in it is something else.
    sh("printf 'other' | gzip >\"$1\"", &[&plain]).good();
    let swapped = site.path("swapped");
    common::seal_z1(common::PASSWORD, &plain, &swapped);
    store.put("site-w0.sql.gz.enc", fs::read(&swapped).unwrap());
    let mut other = store.elsewhere();
    other.encrypt(true);
    other.run("pull").expect(4, &["site-w0", "something else"]);
    // A disk that was full has cut the one here, and no hash tells which is right: the copy stays.
    let there = store.get("site-1.sql.gz.enc");
    let file = folder.join("site-1.sql.gz.enc");
    fs::write(&file, &there[..there.len() - 16]).unwrap();
    site.run("push").expect(4, &["site-1", "another length"]);
    assert!(store.get("site-1.sql.gz.enc") == there);
}
