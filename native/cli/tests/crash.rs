//! A backup that stops at any instant leaves the one before it whole, or the new one, never a mix. The
//! program is killed (or refused by the disk) at every single call that changes a folder.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::fault::Tally;
use common::{DUMP, Ran, Running, SOON, Site, ZBACKUP, sh, tree, write};
use std::fs;
use std::path::PathBuf;

/// A site with a backup, which the next one replaces by plain files.
struct Story {
    site: Site,
    /// The backup folder as it was before each accident.
    before: PathBuf,
}

impl Story {
    /// The first backup is encrypted, and its files have other names than those of the next; or it is
    /// not, and they have the same.
    fn new(encrypted: bool) -> Self {
        let mut site = Site::new();
        site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
        site.encrypt(encrypted);
        site.backup();
        let before = site.path("before");
        fs::rename(site.backups(), &before).unwrap();
        site.encrypt(false);
        write(&site.path("media/new"), "new");
        Self { site, before }
    }

    fn begin(&self) {
        let script = "rm -rf \"$2\"; cp -a \"$1\" \"$2\"";
        sh(script, &[&self.before, &self.site.backups()]).good();
    }

    fn verify(&self) -> Ran {
        let password = self.site.path("password");
        self.site
            .run(&format!("verify --password-file {}", password.display()))
    }
}

/// Makes a backup that meets with an accident at the `nth` of these calls.
fn accident(site: &Site, calls: &str, what: &str, nth: u32) -> Ran {
    let mut command = site.command("strace");
    command
        .args(["--follow-forks", "--quiet=all", "--signal=none"])
        .args(["--output", "/dev/null"])
        .arg(format!("--trace={calls}"))
        .arg(format!("--inject={calls}:{what}:when={nth}"))
        .args([ZBACKUP, "backup", "--config"])
        .arg(site.config());
    Running::start(&mut command).wait(SOON * 6)
}

/// After an accident: whatever the next backup comes to, the folder holds a whole backup, old or new.
#[track_caller]
fn is_whole(story: &mut Story, at: &str) {
    let copy = story.site.path("copy");
    let script = "rm -rf \"$2\"; cp -a \"$1\" \"$2\"";
    sh(script, &[&story.site.backups(), &copy]).good();
    // A backup that only opens the folder, and fails.
    story.site.fake_dump("exit 1");
    story.site.run("backup").expect(1, &["not dumped"]);
    let ran = story.verify();
    assert_eq!(ran.status.code(), Some(0), "{at}: {ran:#?}");
    let names: Vec<_> = tree(&story.site.backups()).into_keys().collect();
    assert_eq!(names.len(), 4, "{at}: {names:?}");
    // And one that succeeds.
    fs::remove_dir_all(story.site.backups()).unwrap();
    fs::rename(&copy, story.site.backups()).unwrap();
    story.site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    story.site.backup();
    assert_eq!(tree(&story.site.backups()).len(), 4, "{at}");
    story.site.run("verify").good();
}

/// The calls that change what is in a folder, or make it safe, each with its accidents. strace counts
/// them for each thread.
fn every(tally: &'static str, what: &str, mut check: impl FnMut(&mut Story, &Ran, &str)) {
    let mut tally = Tally::new(tally);
    for encrypted in [true, false] {
        let mut story = Story::new(encrypted);
        for calls in [
            "rename,renameat,renameat2",
            "fsync",
            "unlink,unlinkat,rmdir",
            "mkdir,mkdirat",
        ] {
            let mut harmless = 0;
            for nth in 1.. {
                story.begin();
                let ran = accident(&story.site, calls, what, nth);
                if ran.status.success() {
                    // There is no such call any more, or its failure did not matter.
                    tally.step(false);
                    harmless += 1;
                    if harmless == 3 {
                        break;
                    }
                    continue;
                }
                harmless = 0;
                check(&mut story, &ran, &format!("{calls} {nth}"));
                tally.step(true);
            }
        }
    }
    // Fewer, and this was not the right trace.
    tally.finish(22);
}

#[test]
fn a_kill_at_any_instant_leaves_a_whole_backup() {
    every(
        "backup, a kill at each call",
        "signal=KILL",
        |story, _, at| is_whole(story, at),
    );
}

#[test]
fn a_failing_disk_at_any_instant_leaves_a_whole_backup() {
    every("backup, each call fails", "error=EIO", |story, ran, at| {
        assert_eq!(ran.status.code(), Some(1), "{at}: {ran:#?}");
        assert!(ran.stderr.contains("Input/output error"), "{at}: {ran:#?}");
        is_whole(story, at);
    });
}

#[test]
fn what_a_kill_left_is_proven_and_listed_without_another_backup() {
    every(
        "list and verify after a kill",
        "signal=KILL",
        |story, _, at| {
            let ran = story.verify();
            assert_eq!(
                ran.status.code(),
                Some(0),
                "verify after a kill at {at}: {ran:#?}"
            );
            let ran = story.site.run("list").good();
            assert!(
                !ran.stdout.contains("missing"),
                "list after a kill at {at}: {ran:#?}"
            );
        },
    );
}
