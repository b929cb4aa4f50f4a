//! What stops a backup: said in words, and the backup before it is untouched.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::account::{as_nobody, to_nobody};
use common::{
    PASSWORD, Ran, Running, SOON, Site, ZBACKUP, assert_same, busy, is_root, noise, run, set_mode,
    tree, until, write,
};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

/// `timeout` signals the process, and then the group that it is in.
#[test]
fn two_signals_at_once_leave_nothing_behind() {
    let (site, running) = busy();
    running.signal("TERM");
    running.signal("TERM");
    running.wait(SOON).expect(1, &["cancelled"]);
    assert!(!site.backups().join(".staging").exists());
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    for signal in ["INT", "TERM"] {
        // While it dumps the database, and while it packs media.
        let (site, running) = busy();
        running.signal(signal);
        running.wait(SOON).expect(1, &["cancelled"]);
        assert_eq!(
            tree(&site.backups()).len(),
            3,
            "{:?}",
            tree(&site.backups()).keys()
        );

        let (site, kept, running) = packing();
        running.signal(signal);
        running.wait(SOON).expect(1, &["cancelled"]);
        assert_same(&tree(&site.backups()), &kept);
        site.run("verify").good();
    }
}

/// A site with a good backup, what is in its backup folder, and a second backup that is in the middle
/// of a huge media file.
fn packing() -> (Site, common::Tree, Running) {
    let mut site = Site::new();
    site.encrypt(true);
    site.backup();
    let kept = tree(&site.backups());
    let huge = fs::File::create(site.path("media/huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let running = Running::start(&mut site.zbackup("backup"));
    let staging = site.backups().join(".staging");
    until("it packs media", || {
        staging.read_dir().is_ok_and(|mut files| {
            files.any(|file| {
                file.unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .starts_with("site-")
            })
        })
    });
    (site, kept, running)
}

#[test]
fn after_a_kill_the_next_backup_cleans_up_and_works() {
    let (mut site, kept, running) = packing();
    running.signal("KILL");
    assert_eq!(running.wait(SOON).status.code(), None);
    // The previous backup is as it was, and nothing hinders a look at it.
    site.run("verify").expect(0, &["proven"]);
    site.run("list").good();
    let mut now = tree(&site.backups());
    now.retain(|path, _| kept.contains_key(path));
    assert_same(&now, &kept);
    // Also a next one that fails cleans up.
    site.fake_dump("exit 1");
    site.run("backup").expect(1, &["not dumped"]);
    assert_same(&tree(&site.backups()), &kept);
    site.set_database("");
    fs::remove_file(site.path("media/huge")).unwrap();
    site.backup();
    assert_eq!(tree(&site.backups()).len(), 3);
    site.run("verify").good();
}

#[test]
fn a_second_backup_says_which_process_is_busy() {
    let (site, running) = busy();
    let words = ["in progress", &format!("PID {}", running.pid()), "backup"];
    let before = tree(&site.backups());
    site.run("backup").expect(1, &words);
    let ran = site.run("backup --json").expect(1, &[]);
    assert_eq!(ran.json()["error"], json!("in_progress"));
    // It took nothing away from the first, and reading is free.
    assert_same(&tree(&site.backups()), &before);
    site.run("list").good();
    site.run("verify").good();
    running.signal("INT");
    running.wait(SOON).expect(1, &["cancelled"]);
    let mut site = site;
    site.set_database("");
    site.backup();
}

#[test]
fn a_backup_folder_inside_of_the_media_is_refused() {
    let mut site = Site::new();
    #[track_caller]
    fn refused(site: &Site, ran: Ran) {
        assert!(!site.path("media/backups").exists());
        ran.expect(2, &["inside of the media folder", "choose another"]);
    }
    for inside in [
        "media",
        "media/backups",
        "media/./backups",
        "media/x/../backups",
        "priv/../media/backups",
    ] {
        eprintln!("{inside}");
        site.set("backup_dir", &format!("{inside:?}"));
        refused(&site, site.run("backup"));
    }
    // By a relative path of site.toml.
    site.set("backup_dir", "\"media/backups\"");
    let relative = |site: &Site| {
        let mut command = site.command(ZBACKUP);
        command.current_dir(site.path(""));
        run(command.args(["backup", "--config", "site.toml"]))
    };
    refused(&site, relative(&site));
    // Through links, to the media and to the folder.
    symlink("media", site.path("link")).unwrap();
    site.set("media_dir", "\"link\"");
    site.set("backup_dir", "\"link/backups\"");
    refused(&site, site.run("backup"));
    site.set("media_dir", "\"media\"");
    refused(&site, site.run("backup"));
    // One that only begins alike is another.
    site.set("backup_dir", "\"media-backups\"");
    site.run("backup").good();
}

/// A backup that fails says these words, and changes nothing.
#[track_caller]
fn fails(site: &Site, code: i32, words: &[&str]) {
    let kept = site.kept();
    site.run("backup").expect(code, words);
    kept.check();
}

#[test]
fn what_is_missing_is_named_and_the_backup_before_is_untouched() {
    let mut site = Site::new();
    site.encrypt(true);
    site.backup();
    site.set("media_dir", "\"no-media\"");
    fails(&site, 1, &["media folder", "no-media", "No such file"]);
    site.set("media_dir", "\"password\"");
    fails(
        &site,
        1,
        &["cannot read the folder", "password", "Not a directory"],
    );
    site.set("media_dir", "\"media\"");
    site.set("config_files", "[\"priv/gone.config\"]");
    fails(&site, 1, &["gone.config", "No such file"]);
    site.set("config_files", "[]");
    site.set("security_dir", "\"no-security\"");
    fails(&site, 1, &["no-security", "No such file"]);
    site.unset("security_dir");
    fs::remove_file(site.path("password")).unwrap();
    fails(&site, 2, &["password file", "No such file"]);
    write(&site.path("password"), "\n");
    fails(&site, 2, &["password file", "empty"]);
    write(&site.path("password"), PASSWORD);
    site.run("verify").good();
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    let site = Site::new();
    site.backup();
    to_nobody(&site);
    as_nobody(&site, "backup").good();
    let before = tree(&site.backups());
    let check = |path: &str, mode: u32, words: &[&str]| {
        set_mode(&site.path(path), mode);
        let code = if path == "site.toml" { 2 } else { 1 };
        let ran = as_nobody(&site, "backup");
        ran.expect(code, words)
            .expect(code, &["ermission denied", "the user that Zotonic runs as"]);
        set_mode(&site.path(path), 0o700);
        assert_same(&tree(&site.backups()), &before);
    };
    check("media", 0, &["media"]);
    check("security", 0, &["security"]);
    check("priv/zotonic_site.config", 0, &["zotonic_site.config"]);
    check("site.toml", 0, &["site.toml"]);
    check("backup", 0o500, &["backup"]);
    check("backup", 0, &["backup"]);
    set_mode(&site.backups(), 0);
    as_nobody(&site, "list").expect(1, &["backup.json", "ermission denied"]);
    as_nobody(&site, "verify").expect(1, &["backup.json", "ermission denied"]);
    set_mode(&site.backups(), 0o700);
    set_mode(&site.path("media/2026/11/photo.jpg"), 0);
    // One unreadable file among the media does not stop a backup, but is said.
    as_nobody(&site, "backup").expect(0, &["photo.jpg", "permission denied"]);
    // A file of a backup that may not be read is not a damaged one.
    let file = tree(&site.backups())
        .into_keys()
        .find(|path| path.to_str().unwrap().starts_with("config-"));
    set_mode(&site.backups().join(file.unwrap()), 0);
    let ran = as_nobody(&site, "verify");
    ran.expect(1, &["config-site-", "ermission denied"]);
}

#[test]
fn a_full_disk_is_said_and_the_backup_before_is_untouched() {
    let mut site = Site::new();
    site.encrypt(true);
    fs::create_dir(site.backups()).unwrap();
    write(&site.path("big"), noise(8 << 20, 5));
    // In a mount namespace of its own: the disk is gone with it, however this ends.
    let unshare = if is_root() {
        "--mount"
    } else {
        "--map-root-user"
    };
    let possible = run(Command::new("unshare")
        .args([unshare, "--mount", "mount", "-t", "tmpfs", "none"])
        .arg(site.backups()));
    if !possible.status.success() {
        eprintln!(
            "skipped: no small disk can be mounted here: {}",
            possible.stderr
        );
        return;
    }
    let script = r#"
        mount -t tmpfs -o size=4m none backup
        "$1" backup --config site.toml
        cp -a backup before
        mv big media/big
        set +e
        "$1" backup --config site.toml 2>said; echo $? >code
        set -e
        cp -a backup after
        rm media/big
        "$1" verify --config site.toml
        "$1" backup --config site.toml
    "#;
    let mut command = site.command("unshare");
    command.args([unshare, "--mount", "sh", "-euc", script, "sh", ZBACKUP]);
    run(command.current_dir(site.path(""))).good();
    let said = fs::read_to_string(site.path("said")).unwrap();
    assert_eq!(
        fs::read_to_string(site.path("code")).unwrap(),
        "1\n",
        "{said}"
    );
    for word in [
        "No space left",
        "free some space",
        "backup",
        "earlier backups are untouched",
    ] {
        assert!(said.contains(word), "{said}");
    }
    assert_same(&tree(&site.path("after")), &tree(&site.path("before")));
}
