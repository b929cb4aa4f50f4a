//! Media that are on several disks.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Site, ZBACKUP, is_root, run, write};
use std::fs;
use std::process::Command;

/// Runs a script in the folder of a site, with the program as `$1`, where it can mount. `false` where that
/// is not possible here.
fn mounting(site: &Site, script: &str) -> bool {
    let unshare = if is_root() {
        "--mount"
    } else {
        "--map-root-user"
    };
    fs::create_dir_all(site.path("try")).unwrap();
    let possible = run(Command::new("unshare")
        .args([unshare, "--mount", "mount", "-t", "tmpfs", "none"])
        .arg(site.path("try")));
    if !possible.status.success() {
        eprintln!("skipped: nothing can be mounted here: {}", possible.stderr);
        return false;
    }
    let mut command = site.command("unshare");
    command.args([unshare, "--mount", "sh", "-euc", script, "sh", ZBACKUP]);
    run(command.current_dir(site.path(""))).good();
    true
}

fn read(site: &Site, name: &str) -> String {
    fs::read_to_string(site.path(name)).unwrap()
}

#[test]
fn a_disk_in_the_media_gets_its_files() {
    let site = Site::new();
    for (kind, mount) in [
        ("another disk", "mount -t tmpfs none media/big"),
        (
            "the same disk again",
            "mkdir volume; mount --bind volume media/big",
        ),
    ] {
        let script = format!(
            "rm -rf media/big volume
             mkdir media/big
             {mount}
             mkdir media/big/deep
             for at in media media/big media/big/deep; do
                echo 'in the backup' >$at/photo; touch -d 2001-09-09 $at/photo
             done
             ln -s photo media/big/link
             chmod 640 media/big/photo
             truncate -s 100M media/big/sparse
             \"$1\" backup --config site.toml
             for at in media media/big; do echo newer >$at/photo; done
             echo other >media/big/later
             rm -r media/big/deep media/big/link media/big/sparse
             name=$(\"$1\" list --json --config site.toml | grep -o '\"site-[^\"]*\"' | head -1 | tr -d '\"')
             \"$1\" restore \"$name\" --yes --trust-dump --config site.toml
             rm -rf found; mkdir found
             for at in photo big/photo big/deep/photo; do
                cat media/$at; stat -c '%a %Y' media/$at
             done >found/photos
             readlink media/big/link >found/link
             du -m media/big/sparse >found/sparse; stat -c %s media/big/sparse >>found/sparse
             cat media/big/later >found/later
             find . -name '*.copy' -o -name '.zbackup-*' -o -name .restore.json >found/left"
        );
        if !mounting(&site, &script) {
            return;
        }
        let photos = read(&site, "found/photos");
        let lines: Vec<&str> = photos.lines().collect();
        assert_eq!(lines[0], "in the backup", "{kind}: {photos}");
        assert_eq!(lines[2], "in the backup", "{kind}: {photos}");
        assert!(lines[3].starts_with("640 99"), "{kind}: {photos}");
        assert_eq!(lines[4], "in the backup", "{kind}: {photos}");
        assert_eq!(read(&site, "found/link"), "photo\n", "{kind}");
        assert_eq!(read(&site, "found/later"), "other\n", "{kind}");
        let sparse = read(&site, "found/sparse");
        assert!(
            sparse.starts_with("0\t") && sparse.ends_with("104857600\n"),
            "{kind}: {sparse}"
        );
        assert_eq!(read(&site, "found/left"), "", "{kind}");
    }
}

/// The whole of the media is a disk, or one that is there a second time.
#[test]
fn media_that_are_a_disk_are_restored_on_it() {
    let site = Site::new();
    for mount in [
        "mount -t tmpfs none media",
        "mkdir volume; mount --bind volume media",
    ] {
        let script = format!(
            "rm -rf volume; {mount}
             echo 'in the backup' >media/photo
             \"$1\" backup --config site.toml
             echo newer >media/photo
             strace -f -qq -e trace=renameat,renameat2 -o trace \"$1\" restore recent --yes --trust-dump --config site.toml
             cat media/photo >photo
             ls -A media >left"
        );
        if !mounting(&site, &script) {
            return;
        }
        assert_eq!(read(&site, "photo"), "in the backup\n", "{mount}");
        assert_eq!(read(&site, "left"), "photo\n", "{mount}");
        // Nothing was copied: it was staged on that disk.
        assert!(!read(&site, "trace").contains("EXDEV"), "{mount}");
    }
}

#[test]
fn what_does_not_fit_on_a_disk_in_the_media_is_known_before() {
    let site = Site::new();
    write(&site.path("media/big/huge"), common::noise(3 << 20, 3));
    site.backup();
    let script = "
         mv media/big/huge huge
         mount -t tmpfs -o size=2m none media/big
         echo newer >media/a.txt
         set +e
         \"$1\" restore recent --yes --trust-dump --config site.toml 2>said; echo $? >code
         cat media/a.txt >after
         find . -name '.zbackup-*' -o -name .restore.json >left";
    if !mounting(&site, script) {
        return;
    }
    let said = read(&site, "said");
    assert_eq!(read(&site, "code"), "1\n", "{said}");
    assert!(
        said.contains("too little room") && said.contains("media/big"),
        "{said}"
    );
    assert_eq!(read(&site, "after"), "newer\n");
    assert_eq!(read(&site, "left"), "");
}

/// One file after the other is copied, and what it replaces goes.
#[test]
fn what_fits_on_a_disk_in_the_media_in_the_place_of_what_is_there_is_restored() {
    let site = Site::new();
    for at in 0..6 {
        write(
            &site.path(format!("media/big/{at}")),
            common::noise(1 << 20, at + 1),
        );
    }
    site.backup();
    // Of one there is a second name: it gives nothing back. That just fits.
    let script = "
         rm -r media/big; mkdir media/big
         mount -t tmpfs -o size=10m none media/big
         for at in 0 1 2 3 4 5; do head -c 1048576 /dev/zero >media/big/$at; done
         ln media/big/0 media/big/same
         \"$1\" restore recent --yes --trust-dump --config site.toml
         sha256sum media/big/* >after";
    if !mounting(&site, script) {
        return;
    }
    let after = read(&site, "after");
    for at in 0..6 {
        let wanted = site.path("wanted");
        write(&wanted, common::noise(1 << 20, at + 1));
        assert!(after.contains(&common::sha256(&wanted)), "{at}: {after}");
    }
}

/// A folder in the place of a file is renamed. That one cannot be.
#[test]
fn a_disk_in_the_place_of_a_file_is_known_before() {
    let site = Site::new();
    site.backup();
    let script = "
         rm media/a.txt; mkdir media/a.txt
         mount -t tmpfs none media/a.txt
         echo newer >media/empty
         set +e
         \"$1\" restore recent --yes --trust-dump --config site.toml 2>said; echo $? >code
         cat media/empty >after";
    if !mounting(&site, script) {
        return;
    }
    let said = read(&site, "said");
    assert_eq!(read(&site, "code"), "2\n", "{said}");
    assert!(
        said.contains("media/a.txt") && said.contains("mounted"),
        "{said}"
    );
    assert_eq!(read(&site, "after"), "newer\n");
}

#[test]
fn configuration_that_does_not_fit_is_not_unpacked() {
    let site = Site::new();
    write(&site.path("security/large"), common::noise(4 << 20, 3));
    let script = "\"$1\" backup --config site.toml
        mount -t tmpfs -o size=3m none security
        name=$(\"$1\" list --json --config site.toml | grep -o '\"site-[^\"]*\"' | head -1 | tr -d '\"')
        code=0; \"$1\" restore \"$name\" --yes --trust-dump --only security --config site.toml 2>said || code=$?
        echo $code >code
        ls -A security >left
        mount -t tmpfs -o size=9m none security
        \"$1\" restore \"$name\" --yes --trust-dump --only security --config site.toml";
    if !mounting(&site, script) {
        return;
    }
    let said = read(&site, "said");
    assert_eq!(read(&site, "code"), "1\n", "{said}");
    assert!(said.contains("too little room"), "{said}");
    assert!(!said.contains("unpacking"), "{said}");
    assert_eq!(read(&site, "left"), "");
}
