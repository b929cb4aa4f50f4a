//! What a backup is asked for beside the files in a folder: configuration, its own place, to stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::site::*;
use common::{Scratch, cancelled_at_once, noise, password, stdout, tool};
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use zbackup_core::backup::{self};
use zbackup_core::catalog::Part;
use zbackup_core::error::ErrorKind;
use zbackup_core::progress::{Cancel, Monitor, Progress, Snapshot};
use zbackup_core::site::Encryption;
use zbackup_core::verify;

#[test]
fn configuration_has_its_place_in_the_archive() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    site.media_dir = None;
    let file = |name: &str| {
        let path = scratch.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, name).unwrap();
        path
    };
    let own = file("site/priv/zotonic_site.config");
    let more = file("site/priv/config.d/10-more.config");
    file("site/security/ca.pem");
    file("site/security/keys/key.pem");
    special(&scratch.join("site/security/fifo"), FileType::Fifo);
    site.config_files = vec![own, more];
    site.security_dir = Some(scratch.join("site/security"));
    let report = backup::run(&site, OPTIONS, &Monitor::silent()).unwrap();
    assert_eq!(report.made.len(), 1);
    assert_eq!(report.made[0].part, Part::Config);
    let names = listed(&site.backup_dir.join("config-test-2.tar.gz"));
    let files: Vec<&str> = names
        .iter()
        .map(|name| std::str::from_utf8(name).unwrap())
        .filter(|name| !name.ends_with('/'))
        .collect();
    let expected = [
        "config-test/config/config.d/10-more.config",
        "config-test/config/priv/zotonic_site.config",
        "config-test/security/ca.pem",
        "config-test/security/keys/key.pem",
    ];
    assert_eq!(files, expected);
    // It is reported by the path that it would have there.
    assert_eq!(
        reported(&report).into_keys().collect::<Vec<_>>(),
        ["config-test/security/fifo"]
    );

    // What is named is a file: not a folder, and not what has no end.
    let made = content(&site.backup_dir);
    special(&scratch.join("site/priv/fifo"), FileType::Fifo);
    for name in ["site/priv/config.d", "site/priv/fifo"] {
        site.config_files = vec![scratch.join(name)];
        let error = backup::run(&site, OPTIONS, &Monitor::silent()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{name}: {error}");
        assert!(content(&site.backup_dir) == made, "{name}");
    }
}

/// No archive has a way out of the folder that it is unpacked in.
#[test]
fn configuration_stays_in_its_place() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    site.media_dir = None;
    std::fs::create_dir_all(scratch.join("config.d/sub")).unwrap();
    scratch.file("outside", b"x");
    scratch.file("config.d/inside", b"x");
    site.config_files = vec![
        scratch.join("config.d/../outside"),
        scratch.join("config.d/sub/../inside"),
    ];
    // Either it is refused or its names are plain.
    match backup::run(&site, OPTIONS, &Monitor::silent()) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Usage, "{error}"),
        Ok(_) => {
            for name in listed(&site.backup_dir.join("config-test-2.tar.gz")) {
                let name = String::from_utf8(name).unwrap();
                assert!(!name.split('/').any(|step| step == ".."), "{name}");
            }
        }
    }
}

/// It would be backed up with the media, and grow every night.
#[test]
fn a_backup_folder_inside_of_the_media_is_refused() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    symlink("media", scratch.join("link")).unwrap();
    std::fs::write(scratch.join("media/file"), "x").unwrap();
    let inside = [
        "media",
        "media/backup",
        "media/new/backup",
        "link",
        "link/backup",
        "link/new/backup",
    ];
    for name in inside {
        site.backup_dir = scratch.join(name);
        let result = backup::run(&site, OPTIONS, &Monitor::silent());
        let Err(error) = result else {
            panic!("{name} was taken");
        };
        assert_eq!(error.kind(), ErrorKind::Usage, "{name}: {error}");
        assert_eq!(
            common::names(&scratch.join("media")),
            common::set(["file"]),
            "{name}"
        );
    }
    // A name that only begins like it is another folder.
    site.backup_dir = scratch.join("media-backup");
    backup::run(&site, OPTIONS, &Monitor::silent()).unwrap();
}

/// The files of a folder, with their content.
fn content(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let names = common::names(folder).into_iter();
    names
        .map(|name| {
            let content = std::fs::read(folder.join(&name)).unwrap();
            (name, content)
        })
        .collect()
}

#[test]
fn a_cancelled_backup_leaves_the_one_before_it() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    std::fs::write(scratch.join("media/b"), "old").unwrap();
    let error = backup::run(&site, OPTIONS, &cancelled_at_once()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(content(&site.backup_dir), BTreeMap::new());

    backup(&site);
    let before = content(&site.backup_dir);
    assert_eq!(before.len(), 2);
    std::fs::write(scratch.join("media/b"), "new").unwrap();
    let error = backup::run(&site, OPTIONS, &cancelled_at_once()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(content(&site.backup_dir) == before);
}

struct CancelMidway(Cancel);

impl Progress for CancelMidway {
    fn update(&self, snapshot: Snapshot) {
        if snapshot.done > 0 {
            self.0.cancel();
        }
    }
}

#[test]
fn a_backup_that_is_cancelled_midway_leaves_the_one_before_it() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    std::fs::write(scratch.join("media/b"), "old").unwrap();
    backup(&site);
    let before = content(&site.backup_dir);
    // So large that only a cancelled one ends.
    let big = File::create(scratch.join("media/a-big")).unwrap();
    big.set_len(1 << 43).unwrap();
    let cancel = Cancel::default();
    let monitor = Monitor::new(Arc::new(CancelMidway(cancel.clone())), cancel);
    let error = backup::run(&site, OPTIONS, &monitor).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(content(&site.backup_dir) == before);
}

#[test]
fn what_is_damaged_is_said_by_verify() {
    let scratch = Scratch::new();
    let mut site = site(&scratch);
    std::fs::write(scratch.join("media/noise"), noise(3 << 20, 4)).unwrap();
    std::fs::write(scratch.join("media/text"), "text".repeat(1000)).unwrap();
    for word in [None, Some(password("word"))] {
        site.encryption = word.clone().map(Encryption::Password);
        let report = backup::run(&site, OPTIONS, &Monitor::silent()).unwrap();
        let path = site.backup_dir.join(report.made[0].file.as_str());
        let verify = || {
            verify::run(
                &site.backup_dir,
                &[],
                word.as_ref(),
                None,
                &Monitor::silent(),
            )
        };
        let good = verify().unwrap();
        assert!(good[0].ok, "{good:?}");
        assert_eq!(good[0].parts[0].contents.unwrap().entries, 2);

        let file = std::fs::read(&path).unwrap();
        let flipped = |at: usize| {
            let mut file = file.clone();
            file[at] ^= 1;
            file
        };
        let half = file.len() / 2;
        // The middle third is gone.
        let lost = [&file[..half - 5], &file[half + 5..]].concat();
        let damages = [
            ("one byte short", file[..file.len() - 1].to_vec()),
            ("half of it", file[..half].to_vec()),
            ("its first bytes", file[..20].to_vec()),
            ("nothing", Vec::new()),
            ("a flipped bit", flipped(half)),
            ("a flipped bit at the end", flipped(file.len() - 1)),
            ("a flipped bit in the header", flipped(3)),
            ("bytes lost", lost),
            ("a byte more", [&file[..], b"x"].concat()),
        ];
        for (what, damaged) in damages {
            std::fs::write(&path, damaged).unwrap();
            let found = verify().unwrap_or_else(|error| panic!("{what}, {path:?}: {error}"));
            assert!(!found[0].ok, "{what}, {path:?}");
            let part = &found[0].parts[0];
            assert_eq!(
                part.kind,
                Some(ErrorKind::Damaged),
                "{what}, {path:?}: {part:?}"
            );
        }
        std::fs::remove_file(path).unwrap();
        let found = verify().unwrap();
        assert_eq!(found[0].parts[0].kind, Some(ErrorKind::NotFound));
    }
}

/// What a command prints, for the sake of the metadata that no other test looks at: who owns a file.
#[test]
fn owners_are_kept() {
    let scratch = Scratch::new();
    let site = site(&scratch);
    let path = scratch.join("media/file");
    std::fs::write(&path, "x").unwrap();
    // Only root may give a file away; large numbers do not fit into octal digits.
    for owner in [1234, 2_097_151, 2_097_152, 4_000_000_000] {
        let _ = std::os::unix::fs::chown(&path, Some(owner), Some(owner));
        let metadata = path.metadata().unwrap();
        let (_, archive) = backup(&site);
        let mut command: Command = tool("tar");
        command.args(["--numeric-owner", "-tvzf"]).arg(archive);
        let line = String::from_utf8(stdout(&mut command)).unwrap();
        let expected = format!("{}/{}", metadata.uid(), metadata.gid());
        assert_eq!(
            line.split_whitespace().nth(1),
            Some(expected.as_str()),
            "{line}"
        );
    }
}
