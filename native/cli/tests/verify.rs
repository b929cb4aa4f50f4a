//! What `verify` finds.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{DUMP, Running, Site, interrupted, now, sh, sha256, tree, until, write, zbackup};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// A whole encrypted backup, its name, and what is in its folder.
fn whole() -> (Site, String) {
    let mut site = Site::new();
    site.encrypt(true);
    site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    let name = site.backup();
    site.run("verify").expect(0, &["proven"]);
    (site, name)
}

const PARTS: [&str; 3] = ["database", "config_files", "files"];

/// Makes the list say that the files are what they are.
fn trust_the_files(site: &Site, name: &str) {
    for key in PARTS {
        let file = site.part(name, key);
        let (hash, size) = (sha256(&file), file.metadata().unwrap().len());
        site.edit_catalog(|all| {
            all[name][format!("{key}_hash")] = json!(hash);
            all[name][format!("{key}_size")] = json!(size);
        });
    }
}

#[test]
fn verify_finds_every_kind_of_damage_to_a_file() {
    for encrypted in [true, false] {
        let (mut site, name) = whole();
        site.encrypt(encrypted);
        site.backup();
        for key in PARTS {
            let file = site.part(&name, key);
            let file_name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let good = fs::read(&file).unwrap();
            let found = |what: &str| {
                let json = site.run("verify --json").expect(4, &[]).json();
                assert_eq!(json[0]["ok"], json!(false));
                for part in json[0]["parts"].as_array().unwrap() {
                    assert_eq!(
                        part["ok"],
                        json!(part["file"] != json!(file_name)),
                        "{what}: {part}"
                    );
                }
            };
            for at in [0, 30, good.len() / 2, good.len() - 1] {
                let mut flipped = good.clone();
                flipped[at] ^= 1;
                write(&file, flipped);
                found("a flipped bit");
            }
            for length in [good.len() - 1, good.len() / 2, 0] {
                write(&file, &good[..length]);
                found("a cut");
            }
            write(&file, [&good[..], b"\0"].concat());
            found("an addition");
            fs::remove_file(&file).unwrap();
            found("the absence");
            site.run("verify").expect(4, &["NOT proven", &file_name]);
            let json = site.run("verify --json").expect(4, &[]).json();
            let part = json[0]["parts"]
                .as_array()
                .unwrap()
                .iter()
                .find(|part| part["ok"] == json!(false));
            assert_eq!(part.unwrap()["kind"], json!("not_found"));
            site.run("list").expect(0, &["missing", &file_name]);
            write(&file, &good);
        }
        site.run("verify").good();
    }
}

#[test]
fn verify_finds_damage_also_where_the_hash_was_made_to_fit() {
    let (site, name) = whole();
    for key in PARTS {
        let file = site.part(&name, key);
        let good = fs::read(&file).unwrap();
        for at in [3, 70, 133, 135, 150, good.len() - 1] {
            let mut flipped = good.clone();
            flipped[at] ^= 0x40;
            write(&file, flipped);
            trust_the_files(&site, &name);
            site.run("verify").expect(4, &["NOT proven", "damaged"]);
        }
        write(&file, &good[..good.len() - 1]);
        trust_the_files(&site, &name);
        site.run("verify").expect(4, &["NOT proven", "truncated"]);
        write(&file, &good);
    }
    trust_the_files(&site, &name);
    site.run("verify").good();
}

#[test]
fn verify_finds_files_in_the_place_of_others() {
    let (site, name) = whole();
    let (config, files) = (site.part(&name, "config_files"), site.part(&name, "files"));
    let aside = site.path("aside");
    fs::rename(&config, &aside).unwrap();
    fs::rename(&files, &config).unwrap();
    fs::rename(&aside, &files).unwrap();
    site.run("verify")
        .expect(4, &["NOT proven", "another backup's file"]);
    trust_the_files(&site, &name);
    site.run("verify")
        .expect(4, &["NOT proven", "another backup's file"]);
    // They are swapped in the list as well: that would make the secrets downloadable as media.
    site.edit_catalog(|all| {
        let entry = &mut all[&name];
        entry["config_files"] = json!(files.file_name().unwrap().to_str());
        entry["files"] = json!(config.file_name().unwrap().to_str());
    });
    site.run("verify")
        .expect(4, &["NOT proven", "cannot be the file of its files"]);
}

#[test]
fn verify_finds_a_file_of_an_older_backup_in_the_place_of_a_newer() {
    for key in PARTS {
        let (site, name) = whole();
        let first = site.catalog()[&name]["timestamp"].as_i64().unwrap();
        let old = fs::read(site.part(&name, key)).unwrap();
        until("the next second", || now() > first);
        site.backup();
        let file = site.part(&name, key);
        write(&file, old);
        site.run("verify")
            .expect(4, &["NOT proven", "of another time"]);
        trust_the_files(&site, &name);
        site.run("verify")
            .expect(4, &["NOT proven", "of another time"]);
    }
}

#[test]
fn verify_finds_plaintext_in_the_place_of_an_encrypted_file() {
    let (mut site, name) = whole();
    let encrypted = site.path("encrypted");
    sh("cp -a \"$1\" \"$2\"", &[&site.backups(), &encrypted]).good();
    site.encrypt(false);
    site.backup();
    let plain = fs::read(site.part(&name, "files")).unwrap();
    sh(
        "rm -r \"$1\"; mv \"$2\" \"$1\"",
        &[&site.backups(), &encrypted],
    )
    .good();
    site.encrypt(true);
    write(&site.part(&name, "files"), &plain);
    trust_the_files(&site, &name);
    site.run("verify")
        .expect(4, &["should be encrypted, and is not"]);
}

#[test]
fn verify_finds_archives_and_dumps_that_are_not_whole() {
    let mut site = Site::new();
    site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    let name = site.backup();
    let found = |key: &str, script: &str, words: &[&str]| {
        let file = site.part(&name, key);
        let good = fs::read(&file).unwrap();
        sh(
            &format!(
                "gunzip <\"$1\" >\"$1.raw\"; {script} <\"$1.raw\" | gzip >\"$1\"; rm \"$1.raw\""
            ),
            &[&file],
        )
        .good();
        trust_the_files(&site, &name);
        site.run("verify").expect(4, words);
        write(&file, good);
        trust_the_files(&site, &name);
        site.run("verify").good();
    };
    found("database", "head -n 5", &["NOT proven", "cut off"]);
    found("database", "tail -n +2", &["NOT proven", "not a dump"]);
    found("files", "head -c 1000", &["NOT proven"]);
    found("files", "head -c -1024", &["NOT proven", "cut off"]);
    found("files", "tail -c +2", &["NOT proven"]);
    found(
        "config_files",
        "cat - \"$1.raw\"",
        &["NOT proven", "after the end"],
    );
}

#[test]
fn an_interrupt_ends_verify() {
    let mut site = Site::new();
    let huge = fs::File::create(site.path("media/huge")).unwrap();
    huge.set_len(1 << 28).unwrap();
    site.encrypt(true);
    site.backup();
    // It has the file open from when it begins with it.
    let file = site.part(
        site.catalog().as_object().unwrap().keys().next().unwrap(),
        "files",
    );
    let reads_the_media = |running: &Running| {
        let fds = PathBuf::from(format!("/proc/{}/fd", running.pid()));
        let mut open = fds.read_dir().into_iter().flatten().flatten();
        open.any(|fd| fs::read_link(fd.path()).is_ok_and(|path| path == file))
    };
    let start = || Running::start(&mut site.zbackup("verify"));
    interrupted(start, reads_the_media).expect(1, &["cancelled"]);
}

#[test]
fn a_wrong_password_and_none_are_told_apart_from_damage() {
    let (site, name) = whole();
    let wrong = site.path("wrong");
    write(&wrong, "wrong\n");
    let verify = |more: &[&Path]| {
        let dir = site.backups();
        zbackup([&[Path::new("verify"), Path::new("--dir"), &dir], more].concat())
    };
    let option = Path::new("--password-file");
    verify(&[option, &wrong]).expect(3, &["wrong password", &name]);
    verify(&[]).expect(2, &[&name, "encrypted", "--password-file"]);
    verify(&[option, &site.path("password")]).good();
    let json = verify(&[Path::new("--json"), option, &wrong])
        .expect(3, &[])
        .json();
    assert_eq!(json[0]["parts"][0]["kind"], json!("wrong_password"));
    let json = verify(&[Path::new("--json")]).expect(2, &[]).json();
    assert_eq!(json["error"], json!("usage"));
    let ran = site.run(&format!("verify --password-file {}", wrong.display()));
    ran.expect(3, &["wrong password"]);
}

#[test]
fn a_backup_with_an_older_password_does_not_hide_the_others() {
    let (site, name) = whole();
    // Yesterday's, before the password was changed.
    let mut older = Site::new();
    older.encrypt(true);
    write(&older.path("password"), "the password before");
    older.set("site", "\"older\"");
    let older_name = older.backup();
    for file in tree(&older.backups())
        .keys()
        .filter(|file| *file != Path::new("backup.json"))
    {
        fs::copy(older.backups().join(file), site.backups().join(file)).unwrap();
    }
    let entry = older.catalog()[&older_name].clone();
    site.edit_catalog(|all| all[&older_name] = entry);
    let ran = site
        .run("verify")
        .expect(3, &["wrong password", &older_name]);
    assert!(ran.stdout.contains(&format!("{name}: proven")), "{ran:#?}");
}

#[test]
fn an_unknown_name_is_answered_with_the_names_there_are() {
    let site = Site::new();
    site.run("verify").expect(1, &["backup.json"]);
    fs::create_dir(site.backups()).unwrap();
    site.run("verify site-9")
        .expect(1, &["no backup named \"site-9\"", "no backups yet"]);
    // Success would say that something is proven.
    site.run("verify").expect(1, &["nothing was proven"]);
    let name = site.backup();
    site.run("verify site-9")
        .expect(1, &["no backup named \"site-9\"", &name]);
    let ran = site.run("verify site-9 --json").expect(1, &[]);
    assert_eq!(ran.json()["error"], json!("unknown_backup"));
}

#[test]
fn a_long_list_is_read_and_one_too_long_refused() {
    let site = Site::new();
    let name = site.backup();
    // Nobody has so many; but the list may come from elsewhere, and must not take for ever.
    site.edit_catalog(|all| {
        for number in 0..50_000 {
            all[format!("other-{number}")] = json!({"timestamp": 1});
        }
    });
    let ran = site.run(&format!("verify {name}")).expect(0, &[]);
    assert!(ran.stdout.contains("proven"));
    write(&site.backups().join("backup.json"), " ".repeat(17 << 20));
    site.run("list").expect(4, &["backup.json", "too long"]);
}

#[test]
fn a_plain_file_is_not_proven_as_an_encrypted_backup() {
    let site = Site::new();
    let name = site.backup();
    site.edit_catalog(|all| all[&name]["is_encrypted"] = json!(true));
    site.run("verify")
        .expect(4, &["listed as encrypted, and this file is not"]);
}

#[test]
fn verify_waits_for_no_fifo() {
    let site = Site::new();
    let name = site.backup();
    let part = site.part(&name, "files");
    fs::remove_file(&part).unwrap();
    sh("mkfifo \"$1\"", &[&part]).good();
    site.run("verify").expect(4, &["is not a file"]);
}

#[test]
fn a_list_that_is_a_fifo_is_not_waited_for() {
    let site = Site::new();
    fs::create_dir(site.backups()).unwrap();
    sh("mkfifo \"$1\"", &[&site.backups().join("backup.json")]).good();
    for command in ["list", "verify", "backup"] {
        site.run(command)
            .expect(4, &["backup.json", "is not a file"]);
    }
}

#[test]
fn links_in_the_backup_folder_lead_nowhere() {
    let site = Site::new();
    site.backup();
    let victim = site.path("victim");
    write(&victim, "precious");
    std::os::unix::fs::symlink(&victim, site.backups().join(".zbackup.lock")).unwrap();
    site.run("backup").expect(1, &[".zbackup.lock"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}
