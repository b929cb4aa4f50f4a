//! Disks and clocks that fail, and the count of what was survived.

use super::{PATIENCE, Ran, Running, Site, is_root, run, sh, until};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// How many times as many accidents as in a run of the tests: `make torture` sets it.
pub(crate) fn times() -> u32 {
    std::env::var("ZBACKUP_TORTURE").map_or(1, |times| times.parse().unwrap())
}

/// What was tried, and how often the accident really happened. It is a loss when a test fails; else all of
/// them were survived. `make torture` prints them.
pub(crate) struct Tally {
    what: &'static str,
    tried: u32,
    struck: u32,
}

impl Tally {
    pub(crate) fn new(what: &'static str) -> Self {
        let (tried, struck) = (0, 0);
        Self {
            what,
            tried,
            struck,
        }
    }

    /// After a step that left all that it should.
    pub(crate) fn step(&mut self, has_struck: bool) {
        self.tried += 1;
        self.struck += u32::from(has_struck);
    }

    /// Enough accidents happened that this shows something.
    #[track_caller]
    pub(crate) fn finish(self, at_least: u32) {
        let Self {
            what,
            tried,
            struck,
        } = self;
        assert!(
            struck >= at_least,
            "{what}: only {struck} of {tried} struck"
        );
        eprintln!("{what}: {tried} tried, {struck} faults survived");
        if let Some(report) = std::env::var_os("ZBACKUP_TORTURE_REPORT") {
            let file = fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(report);
            writeln!(file.unwrap(), "{what}\t{tried}\t{struck}").unwrap();
        }
    }
}

/// The program of a site, with these faults: `FAULT_…` of `fault.c`.
pub(crate) fn faulty(site: &Site, words: &str, faults: &[(&str, &str)]) -> Command {
    static SHIM: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("fault.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/fault.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        run(cc.arg(&shim).arg(source).arg("-ldl")).good();
        (folder, shim)
    });
    let mut command = site.zbackup(words);
    command.env("LD_PRELOAD", &SHIM.1);
    command.env("FAULT_PROGRAM", "zbackup");
    command.envs(faults.iter().copied());
    command
}

/// Fails at the `nth` write to a file. Whether it came to that, and what was said.
pub(crate) fn failing_write(
    site: &Site,
    words: &str,
    nth: u32,
    faults: &[(&str, &str)],
) -> (bool, Ran) {
    let struck = site.path("struck");
    let _ = fs::remove_file(&struck);
    let mut command = faulty(site, words, faults);
    command.env("FAULT_WRITE", nth.to_string());
    command.env("FAULT_STRUCK", &struck);
    let ran = Running::start(&mut command).wait(PATIENCE);
    (struck.exists(), ran)
}

/// A disk of its own at a path, as small as it should be; gone with this.
pub(crate) struct SmallDisk {
    holder: Running,
    at: PathBuf,
}

impl SmallDisk {
    /// Where no disk can be mounted, a sentence that says so.
    pub(crate) fn mount(at: &Path, bytes: u64) -> Result<Self, String> {
        fs::create_dir_all(at).unwrap();
        // In a mount namespace of its own: it is gone with its last process, however this ends.
        let mut unshare = Command::new("unshare");
        unshare.arg("--mount");
        if !is_root() {
            unshare.arg("--map-root-user");
        }
        let script =
            "mount -t tmpfs -o size=\"$1\" none \"$2\"; : >\"$2/mounted\"; exec sleep 100000";
        unshare.args(["sh", "-euc", script, "sh", &bytes.to_string()]);
        let mut holder = Running::start(unshare.arg(at));
        let mounted = inside(&holder, at).join("mounted");
        until("a disk is mounted", || {
            mounted.exists() || !holder.is_running()
        });
        if !mounted.exists() {
            let said = holder.wait(PATIENCE).stderr;
            return Err(format!(
                "skipped: no small disk can be mounted here: {said}"
            ));
        }
        let disk = Self {
            holder,
            at: at.to_owned(),
        };
        fs::remove_file(mounted).unwrap();
        Ok(disk)
    }

    /// What is on it, for us who have not mounted it.
    pub(crate) fn seen(&self) -> PathBuf {
        inside(&self.holder, &self.at)
    }

    /// The command, for whom it is mounted.
    pub(crate) fn run(&self, command: &Command) -> Ran {
        let mut entered = Command::new("nsenter");
        entered.args(["--mount", "--target", &self.holder.pid().to_string()]);
        if !is_root() {
            entered.args(["--user", "--preserve-credentials"]);
        }
        entered.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                entered.env(name, value);
            }
        }
        run(&mut entered)
    }

    /// Fills it, but for so many pages.
    pub(crate) fn fill(&self, pages: u32) {
        self.empty();
        sh(&fill(&self.seen(), &pages.to_string()), &[]).good();
    }

    pub(crate) fn empty(&self) {
        let _ = fs::remove_file(self.seen().join("ballast"));
    }
}

/// Shell commands that fill the disk of a folder but for so many pages.
pub(crate) fn fill(folder: &Path, pages: &str) -> String {
    let folder = folder.display();
    format!(
        "free=$(stat --file-system --format=%a '{folder}')
         size=$(stat --file-system --format=%S '{folder}')
         pages={pages}
         if [ \"$free\" -gt \"$pages\" ]; then
             fallocate --length $(((free - pages) * size)) '{folder}/ballast'
         fi"
    )
}

fn inside(holder: &Running, at: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", holder.pid()));
    root.join(at.strip_prefix("/").unwrap())
}
