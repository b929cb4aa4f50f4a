//! Copies, and what is in the backup folder already when they come.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::store::Store;
use common::{Running, SOON, Site, noise, sh, tree, write};
use serde_json::json;
use std::fs;
use std::time::Duration;

#[test]
fn a_backup_from_the_future_is_refused_and_does_not_stay() {
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    site.run("push").good();
    let other = store.elsewhere();
    other.run("pull").good();
    let kept = tree(&other.backups());
    let next_year = common::now() + 366 * 86_400;
    store.edit_list(|list| {
        list[&name]["timestamp"] = next_year.into();
        let mut more = list[&name].clone();
        for key in ["config_files", "files"] {
            more[key] = more[key].as_str().unwrap().replace(&name, "site-w9").into();
        }
        list["site-w9"] = more;
    });
    let pulled = other.run("pull --json").expect(4, &["not come yet"]).json();
    assert_eq!(pulled["pulled"], json!([]));
    assert_eq!(pulled["newest"], json!(null));
    common::assert_same(&tree(&other.backups()), &kept);
    other.run("pull recent").expect(4, &["not come yet"]);
    // It is no newer one for whoever has the real one.
    let pushed = site.run("push --json").good().json();
    assert_eq!(pushed["uploaded"][0]["name"], name.as_str());
    assert_eq!(store.list()[&name], site.catalog()[&name]);
    // A clock that was wrong here does not keep what is right away either.
    other.edit_catalog(|list| list[&name]["timestamp"] = next_year.into());
    other.run("pull").expect(4, &["site-w9"]);
    assert_eq!(other.catalog()[&name], site.catalog()[&name]);
}

/// A restore of the media that was killed, at any step that leaves its journal.
fn interrupt_a_restore(site: &Site, name: &str) {
    let journal = site.backups().join(".restore.json");
    for nth in 1..100 {
        let mut command = site.command("strace");
        command
            .args(["--follow-forks", "--quiet=all", "--signal=none"])
            .args(["--output", "/dev/null", "--trace=rename,renameat,renameat2"])
            .arg(format!(
                "--inject=rename,renameat,renameat2:signal=KILL:when={nth}"
            ))
            .args([
                common::ZBACKUP,
                "restore",
                name,
                "--yes",
                "--trust-dump",
                "--config",
            ])
            .arg(site.config());
        Running::start(&mut command).wait(SOON * 6);
        if journal.exists() {
            return;
        }
    }
    panic!("no restore was interrupted");
}

#[test]
fn copies_go_both_ways_beside_an_interrupted_restore() {
    for words in ["push", "pull"] {
        let store = Store::new();
        let site = store.site();
        let name = site.backup();
        if words == "pull" {
            site.run("push").good();
        }
        interrupt_a_restore(&site, &name);
        site.run(words).good();
        store.is_copy_of(&site);
        let left = sh(
            "find \"$1\" -name '.zbackup-*' -o -name '.restore*'",
            &[&site.path("")],
        );
        assert_eq!(left.good().stdout, "");

        // One that nobody can finish is not touched, and is in nobody's way.
        let journal = site.backups().join(".restore.json");
        write(&journal, "{");
        site.run(words).expect(0, &["warning", ".restore.json"]);
        assert_eq!(fs::read(&journal).unwrap(), b"{");
        assert!(!store.names().contains(".restore.json"));
        fs::remove_file(&journal).unwrap();
        store.is_copy_of(&site);
    }
}

#[test]
fn a_folder_whose_list_is_gone_gets_it_back_and_loses_nothing() {
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    site.run("push").good();
    let whole = tree(&site.backups());
    fs::remove_file(site.backups().join("backup.json")).unwrap();
    let pulled = site.run("pull --json").good().json();
    assert_eq!(pulled["pulled"][0]["bytes"], 0, "{pulled}");
    common::assert_same(&tree(&site.backups()), &whole);

    // What was made here since the last push is known to nobody then.
    write(&site.path("media/2026/11/photo.jpg"), noise(300_000, 9));
    std::thread::sleep(Duration::from_millis(1100));
    site.backup();
    let file = site.part(&name, "files");
    let newer = fs::read(&file).unwrap();
    fs::remove_file(site.backups().join("backup.json")).unwrap();
    site.run("pull").expect(0, &["unlisted-1"]);
    assert_eq!(site.catalog(), store.list());
    let aside = format!("{}.unlisted-1", file.display());
    assert!(fs::read(aside).unwrap() == newer);
    site.run("verify").good();
}

#[test]
fn the_newest_is_one_of_the_store() {
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    site.run("push").good();
    // A newer one that was only made here.
    site.edit_catalog(|list| {
        let mut own = list[&name].clone();
        for key in ["config_files", "files"] {
            let file = own[key].as_str().unwrap().to_owned();
            let copy = file.replace(&name, "site-9");
            fs::copy(site.backups().join(file), site.backups().join(&copy)).unwrap();
            own[key] = copy.into();
        }
        own["timestamp"] = (own["timestamp"].as_i64().unwrap() + 1).into();
        list["site-9"] = own;
    });
    let pulled = site.run("pull --json").good().json();
    assert_eq!(pulled["newest"]["name"], name.as_str());
    assert_eq!(pulled["newest"]["is_new"], false);
    store.elsewhere().run("pull").expect(0, &[&name]);
}

#[test]
fn another_site_with_the_same_url_is_not_pulled() {
    let store = Store::new();
    let mut other = store.site();
    other.set("site", "\"another\"");
    let theirs = other.backup();
    other.run("push").good();
    let site = store.elsewhere();
    for words in ["pull", "pull recent"] {
        let ran = site.run(words);
        assert!(!site.backups().join("backup.json").exists(), "{ran:?}");
    }
    site.run("pull").expect(0, &["something else", &theirs]);
    site.run(&format!("pull {theirs}")).good();
}
