//! What the integration tests share: scratch folders, other people's programs, progress.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code)] // every test binary uses its own part of it

pub(crate) mod postgres;
pub(crate) mod room;
pub(crate) mod sealing;
pub(crate) mod site;
pub(crate) mod tar;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use zbackup_core::progress::{Cancel, Monitor, Progress, Snapshot};
use zbackup_core::secret::{Password, Secret};

/// A folder that goes away with everything that is in it, however deep.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("zbackup-test-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        Self(folder.keep())
    }

    /// A folder that is there already.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn names(&self) -> BTreeSet<OsString> {
        names(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The standard library keeps every folder of a path open: not for 2000 of them.
        let _ = Command::new("chmod")
            .args(["-R", "u+rwX", "--"])
            .arg(&self.0)
            .stderr(Stdio::null())
            .status();
        let _ = Command::new("rm").args(["-rf", "--"]).arg(&self.0).status();
    }
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> BTreeSet<OsString> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect()
}

/// A program that `scripts/setup` installs.
pub(crate) fn tool(name: &str) -> Command {
    let is_there = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    assert!(is_there, "{name} is missing: run scripts/setup");
    let mut command = Command::new(name);
    command.env("LC_ALL", "C");
    command
}

/// The Python that `scripts/setup` makes, with the libraries of the tests.
pub(crate) fn python() -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/venv/bin/python3");
    assert!(
        python.exists(),
        "{} is missing: run scripts/setup",
        python.display()
    );
    Command::new(python)
}

/// The script of that name beside the tests.
pub(crate) fn script(name: &str) -> Command {
    let mut command = python();
    command.arg(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(name),
    );
    command
}

/// What a program that succeeds writes to its standard output.
pub(crate) fn stdout(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    succeeded(command, &output);
    output.stdout
}

/// What a program writes that is given `input`; it may stop reading before the end of it.
pub(crate) fn fed(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    })
}

pub(crate) fn succeeded(command: &Command, output: &Output) {
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Bytes that do not compress, the same ones for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The multiplication breaks the linearity of what is otherwise only shifts.
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn password(text: &str) -> Password {
    Password::new(Secret::new(text.as_bytes().to_vec())).unwrap()
}

/// Calls a closure with all progress.
struct Watch<F>(Mutex<F>);

impl<F: FnMut(Snapshot) + Send> Progress for Watch<F> {
    fn update(&self, snapshot: Snapshot) {
        (self.0.lock().unwrap())(snapshot);
    }
}

/// A monitor that calls a closure with all progress, on the thread that does the work.
pub(crate) fn watched(see: impl FnMut(Snapshot) + Send + 'static) -> Monitor {
    Monitor::new(Arc::new(Watch(Mutex::new(see))), Cancel::default())
}

/// A monitor of a job that is cancelled at its first progress.
pub(crate) fn cancelled_at_once() -> Monitor {
    let cancel = Cancel::default();
    let switch = cancel.clone();
    Monitor::new(
        Arc::new(Watch(Mutex::new(move |_: Snapshot| switch.cancel()))),
        cancel,
    )
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A set of names, to compare with.
pub(crate) fn set<N: AsRef<OsStr>>(names: impl IntoIterator<Item = N>) -> BTreeSet<OsString> {
    names
        .into_iter()
        .map(|name| name.as_ref().to_owned())
        .collect()
}

/// Runs on a thread that has the rights of its user, also where that is root.
#[cfg(target_os = "linux")]
pub(crate) fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            let all = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            sets.effective.remove(all);
            set_capabilities(None, sets).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}
