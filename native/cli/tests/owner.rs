//! A root shell works for a site that another account runs: all of it stays that account's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::account::{as_nobody, to_nobody};
use common::store::Store;
use common::{Running, SOON, Site, ZBACKUP, is_root, sh, tree, until, write};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const NOBODY: u32 = 65534;

/// A site of another account, where this is root's shell.
fn of_nobody() -> Option<Site> {
    if !is_root() {
        eprintln!("skipped: only root can work for another account");
        return None;
    }
    let site = Site::new();
    to_nobody(&site);
    // For the first time: it is not root's that made it.
    common::set_mode(&site.path(""), 0o755);
    Some(site)
}

/// All that is below the site is of its account.
#[track_caller]
fn is_nobodys(site: &Site, what: &str) {
    // But for the program, which root has copied there.
    let others = sh(
        "find \"$1\" ! -name zbackup \\( ! -user 65534 -o ! -group 65534 \\)",
        &[&site.path("")],
    );
    assert_eq!(others.good().stdout, "", "{what}");
}

#[test]
fn what_root_makes_in_a_backup_folder_is_its_owners() {
    let Some(mut site) = of_nobody() else {
        return;
    };
    site.encrypt(true);
    to_nobody(&site);
    let name = site.backup();
    is_nobodys(&site, "a backup");
    as_nobody(&site, "verify").good();
    // Killed: the lock and what was staged are left.
    let there = site.path("there");
    site.fake_dump(&format!(
        "printf -- '--\\n-- PostgreSQL database dump\\n--\\n'; echo >'{}'; exec sleep 1000",
        there.display()
    ));
    to_nobody(&site);
    let running = Running::start(&mut site.zbackup("backup"));
    until("it is busy", || there.exists());
    fs::remove_file(there).unwrap();
    assert!(site.backups().join(".staging").exists());
    is_nobodys(&site, "a backup under way");
    running.signal("KILL");
    running.wait(SOON);
    site.set_database("");
    to_nobody_alone(&site.config());
    as_nobody(&site, "backup").good();
    as_nobody(&site, &format!("verify {name}")).good();
}

fn to_nobody_alone(path: &Path) {
    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[test]
fn what_root_restores_is_its_owners_and_its_owner_can_go_on() {
    let Some(mut site) = of_nobody() else {
        return;
    };
    let name = site.backup();
    // Also what is not there yet, the folders above it too.
    sh("rm -r \"$1/priv\" \"$1/security\"", &[&site.path("")]).good();
    site.run(&format!("restore {name} --yes --trust-dump"))
        .good();
    is_nobodys(&site, "a restore");

    // A restore that is killed while the database is loaded, with all files staged.
    let there = site.load_for_ever();
    to_nobody(&site);
    site.backup();
    let running = Running::start(&mut site.zbackup(&format!("restore {name} --yes --trust-dump")));
    until("it loads", || there.exists());
    fs::remove_file(&there).unwrap();
    assert!(site.backups().join(".restore.json").exists());
    let staged = fs::read_dir(site.path("")).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".zbackup-restore-")
    });
    assert!(staged.count() > 0);
    is_nobodys(&site, "a restore under way");
    running.signal("KILL");
    running.wait(SOON);
    let ran = as_nobody(&site, "list").good();
    assert!(ran.stderr.contains("taken back"), "{ran:#?}");

    // And one that is decided: the owner completes it.
    let mut killed = 0;
    site.set_database("");
    to_nobody_alone(&site.config());
    let name = site.backup();
    for nth in 1..60 {
        write(&site.path("media/a.txt"), "overwritten");
        to_nobody_alone(&site.path("media/a.txt"));
        let mut command = site.command("strace");
        command
            .args(["--follow-forks", "--quiet=all", "--signal=none"])
            .args(["--output", "/dev/null", "--trace=rename,renameat,renameat2"])
            .arg(format!(
                "--inject=rename,renameat,renameat2:signal=KILL:when={nth}"
            ))
            .args([
                ZBACKUP,
                "restore",
                &name,
                "--yes",
                "--trust-dump",
                "--config",
            ])
            .arg(site.config());
        if Running::start(&mut command).wait(SOON * 6).status.success() {
            break;
        }
        let at = format!("after a kill at rename {nth}");
        is_nobodys(&site, &at);
        let ran = as_nobody(&site, "list").good();
        killed += usize::from(ran.stderr.contains("completed"));
        assert!(!site.backups().join(".restore.json").exists(), "{at}");
        is_nobodys(&site, &at);
    }
    assert!(killed > 2, "completed only {killed} times");
}

/// The account that owns the folders puts links in the place of what root has staged, at any moment: root
/// must not move what that account may not even read.
#[test]
fn what_root_has_staged_cannot_be_swapped_for_a_link() {
    let Some(site) = of_nobody() else {
        return;
    };
    let outside = tempfile::tempdir().unwrap();
    common::set_mode(outside.path(), 0o700);
    let name = site.backup();
    let staged = site.path(".zbackup-restore-0123456789abcdef-0");
    let journal = serde_json::json!({
        "id": "0123456789abcdef", "backup": name, "state": "decided",
        "placements": [{ "staged": staged, "target": site.path("media").canonicalize().unwrap() }],
    });
    let [tree, link] = [staged.join("tree"), staged.join("away")];
    let mut completed = 0;
    for round in 0..60 {
        write(&outside.path().join("shadow"), "secret");
        write(&tree.join("photo.jpg"), "staged");
        if round % 3 == 0 {
            // Before root looks; else while it does.
            fs::rename(&tree, staged.join("hidden")).unwrap();
            std::os::unix::fs::symlink(outside.path(), &tree).unwrap();
        } else {
            std::os::unix::fs::symlink(outside.path(), &link).unwrap();
        }
        sh("chmod -R go= \"$1\"", &[&staged]).good();
        write(&site.backups().join(".restore.json"), journal.to_string());
        to_nobody(&site);
        let mut running = Running::start(&mut site.zbackup("list"));
        while running.is_running() {
            if round % 3 != 0 {
                let _ = renameat_with(CWD, &tree, CWD, &link, RenameFlags::EXCHANGE);
            }
        }
        let ran = running.wait(SOON);
        completed += usize::from(ran.stderr.contains("completed"));
        let kept = fs::read(outside.path().join("shadow"));
        assert_eq!(kept.unwrap(), b"secret", "{round}: {ran:#?}");
        assert_eq!(
            outside.path().join("shadow").metadata().unwrap().uid(),
            0,
            "{round}: {ran:#?}"
        );
        assert!(!site.path("media/shadow").exists(), "{round}: {ran:#?}");
        sh(
            "cd \"$1\"; rm -rf .zbackup-* backup/.restore.json media/photo.jpg",
            &[&site.path("")],
        )
        .good();
    }
    eprintln!("{completed} were completed");
}

/// On file systems with one mode for all, which others may write to then. The account of the site does nothing
/// there that those others could not do themselves; root would.
#[test]
fn what_all_may_write_to_is_moved_by_its_owner_and_not_by_root() {
    let Some(site) = of_nobody() else {
        return;
    };
    let name = site.backup();
    let staged = site.path(".zbackup-restore-0123456789abcdef-0");
    let journal = serde_json::json!({
        "id": "0123456789abcdef", "backup": name, "state": "decided",
        "placements": [{ "staged": staged, "target": site.path("media").canonicalize().unwrap() }],
    });
    write(&staged.join("tree/later.jpg"), "staged");
    write(&site.backups().join(".restore.json"), journal.to_string());
    to_nobody(&site);
    sh("chmod -R 777 \"$1\"", &[&staged]).good();
    let ran = site.run("list").good();
    assert!(ran.stderr.contains("dir_mode"), "{ran:#?}");
    assert!(!site.path("media/later.jpg").exists());
    let ran = as_nobody(&site, "list").good();
    assert!(ran.stderr.contains("completed"), "{ran:#?}");
    assert!(site.path("media/later.jpg").exists());
}

/// The account of a site chooses what is in its backups. Where root puts that is not for its links to say.
#[test]
fn root_follows_a_link_of_an_account_only_to_what_is_that_accounts() {
    let Some(site) = of_nobody() else {
        return;
    };
    let name = site.backup();
    let [media, disk] = ["media", "disk"].map(|name| site.path(name));
    let link = |owner: u32, target: u32| {
        sh(
            "rm -rf \"$1\" \"$2\" \"$2.way\"; mkdir \"$2\"; ln -s \"$2\" \"$2.way\"; ln -s disk.way \"$1\"",
            &[&media, &disk],
        )
        .good();
        let way = site.path("disk.way");
        std::os::unix::fs::lchown(&way, Some(owner), Some(owner)).unwrap();
        std::os::unix::fs::lchown(&media, Some(0), Some(0)).unwrap();
        std::os::unix::fs::chown(&disk, Some(target), Some(target)).unwrap();
        site.run(&format!("restore {name} --yes --trust-dump --only files"))
    };
    link(NOBODY, 0).expect(
        2,
        &["disk.way", "symbolic link of another account", "chown -h"],
    );
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
    for (owner, target) in [(0, 0), (0, NOBODY), (NOBODY, NOBODY)] {
        link(owner, target).good();
        let restored = disk.join("a.txt").metadata().unwrap();
        assert_eq!(restored.uid(), target, "{owner}");
    }
}

/// What only root may read, in a folder that only root may write to.
fn roots() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    common::set_mode(folder.path(), 0o700);
    let secret = folder.path().join("id_rsa");
    write(&secret, "secret");
    (folder, secret)
}

/// Puts a link of that owner in the place of something of the site.
fn lead(site: &Site, name: &str, to: &Path, owner: u32) {
    let path = site.path(name);
    sh(
        "mv -T \"$1\" \"$1.away\"; ln -s \"$2\" \"$1\"",
        &[&path, to],
    )
    .good();
    std::os::unix::fs::lchown(&path, Some(owner), Some(owner)).unwrap();
}

fn lead_back(site: &Site, name: &str) {
    sh("rm \"$1\"; mv -T \"$1.away\" \"$1\"", &[&site.path(name)]).good();
}

#[test]
fn root_gives_an_account_no_backup_of_what_it_may_not_read() {
    let Some(site) = of_nobody() else {
        return;
    };
    let (outside, secret) = roots();
    fs::create_dir(site.backups()).unwrap();
    to_nobody(&site);
    for (name, to) in [
        ("priv/zotonic_site.config", secret.as_path()),
        ("media", outside.path()),
        ("security", outside.path()),
        ("backup", outside.path()),
    ] {
        lead(&site, name, to, NOBODY);
        site.run("backup")
            .expect(2, &[name, "symbolic link of another account", "chown -h"]);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{name}");
        lead_back(&site, name);
        assert_eq!(fs::read_dir(site.backups()).unwrap().count(), 0, "{name}");
        // Root has put it there itself.
        lead(&site, name, to, 0);
        site.run("backup").good();
        lead_back(&site, name);
        sh(
            "cd \"$1\"; rm -rf -- ../backup/* *.json *.gz",
            &[outside.path()],
        )
        .good();
        sh("rm -rf \"$1\"/*", &[&site.backups()]).good();
    }
    // Where the site is may be said by a link of root, and what it has on other disks by its own.
    let [way, disk] = ["way", "disk"].map(|name| outside.path().join(name));
    std::os::unix::fs::symlink(site.path(""), &way).unwrap();
    write(&disk.join("photo.jpg"), "there");
    sh("chown -R 65534:65534 \"$1\"", &[&disk]).good();
    lead(&site, "media", &disk, NOBODY);
    let mut command = site.command(ZBACKUP);
    command.args(["backup", "--json", "--config"]);
    let ran = common::run(command.arg(way.join("site.toml"))).good();
    let name = ran.json()["backup"]["name"].as_str().unwrap().to_owned();
    let names = common::tar_names(&site.part(&name, "files"));
    assert_eq!(names, ["photo.jpg"]);
}

/// A list that is damaged is kept under another name, which is a copy.
#[test]
fn root_copies_and_sends_nothing_that_an_account_has_linked_into_its_backups() {
    if !is_root() {
        return;
    }
    let (_outside, secret) = roots();
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    to_nobody(&site);
    lead(&site, "backup/backup.json", &secret, NOBODY);
    let link = "symbolic link of another account";
    for words in ["backup", "list", "verify", "push"] {
        site.run(words).expect(2, &["backup.json", link]);
    }
    lead_back(&site, "backup/backup.json");
    let before = tree(&site.backups()).into_keys().collect::<Vec<_>>();
    // Of one without a hash nobody can tell.
    site.edit_catalog(|list| {
        let entry = list[&name].as_object_mut().unwrap();
        entry.retain(|key, _| key != "files_hash" && key != "files_size");
    });
    to_nobody(&site);
    let file = format!("{name}.tar.gz");
    let media = format!("backup/{file}");
    lead(&site, &media, &secret, NOBODY);
    let ran = site.run("push");
    assert!(ran.said().contains(link), "{ran:#?}");
    assert!(!store.names().contains(&file), "{ran:#?}");
    lead_back(&site, &media);
    let after = tree(&site.backups()).into_keys().collect::<Vec<_>>();
    assert_eq!(after, before);
}

#[test]
fn root_does_not_write_into_a_file_that_has_the_name_of_the_lock() {
    let Some(site) = of_nobody() else {
        return;
    };
    let (_outside, secret) = roots();
    site.backup();
    let lock = site.backups().join(".zbackup.lock");
    fs::hard_link(&secret, &lock).unwrap();
    for words in ["backup", "verify", "list"] {
        let ran = site.run(words);
        assert_eq!(fs::read(&secret).unwrap(), b"secret", "{words}: {ran:#?}");
        assert_eq!(secret.metadata().unwrap().uid(), 0, "{words}: {ran:#?}");
    }
    site.run("backup")
        .expect(2, &[".zbackup.lock", "another thing", "remove it"]);
    fs::remove_file(&lock).unwrap();
    site.backup();
    assert!(!lock.exists());
}

#[test]
fn what_root_pulls_is_its_owners() {
    if !is_root() {
        return;
    }
    let store = Store::new();
    let site = store.site();
    site.backup();
    site.run("push").good();
    let other = store.elsewhere();
    to_nobody(&other);
    common::set_mode(&other.path(""), 0o755);
    other.run("pull").good();
    is_nobodys(&other, "a pull");
    as_nobody(&other, "verify").good();
    as_nobody(&other, "pull").good();
}

/// The account changes the way while root proves the backup, or loads the database.
#[test]
fn root_restores_nothing_to_where_a_link_leads_that_comes_later() {
    let Some(mut site) = of_nobody() else {
        return;
    };
    let (outside, _) = roots();
    let server = common::postgres::Postgres::here();
    let database = server.database();
    database.sql("CREATE SCHEMA s");
    let runs = Arc::new(AtomicU32::new(0));
    let (media, aside) = (site.path("media"), site.path("media.away"));
    let (left, target) = (runs.clone(), outside.path().to_owned());
    let port = common::wire::tapped(database.port(), move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            fs::rename(&media, &aside).unwrap();
            std::os::unix::fs::symlink(&target, &media).unwrap();
            std::os::unix::fs::lchown(&media, Some(65534), None).unwrap();
        }
    });
    site.set_database(&database.settings_at(port, "s"));
    // Also where the folder was made by root.
    for owner in [NOBODY, 0] {
        for run in [1, 2] {
            to_nobody(&site);
            std::os::unix::fs::chown(site.path("media"), Some(owner), None).unwrap();
            let name = site.backup();
            runs.store(run, Ordering::SeqCst);
            let at = format!("{owner}, run {run}");
            let ran = site.run(&format!("restore {name} --yes --trust-dump"));
            assert!(site.path("media").is_symlink(), "{at}: {ran:#?}");
            let found = tree(outside.path()).into_keys().collect::<Vec<_>>();
            assert_eq!(found, [Path::new("id_rsa")], "{at}: {ran:#?}");
            ran.expect(2, &["media", "symbolic link of another account"]);
            lead_back(&site, "media");
            let ran = site.run("list").good();
            assert_eq!(ran.stderr.contains("completed"), run == 2, "{at}: {ran:#?}");
        }
    }
}

/// A folder that no setting names.
#[test]
fn root_restores_no_configuration_by_a_link_of_the_account() {
    let Some(mut site) = of_nobody() else {
        return;
    };
    let (outside, _) = roots();
    let name = site.backup();
    site.set("config_files", "[\"priv/zotonic_site.config\"]");
    to_nobody(&site);
    lead(&site, "priv/config.d", outside.path(), NOBODY);
    site.run(&format!("restore {name} --yes --trust-dump --only config"))
        .expect(2, &["priv/config.d", "symbolic link of another account"]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    lead_back(&site, "priv/config.d");
    site.run(&format!("restore {name} --yes --trust-dump"))
        .good();
}
