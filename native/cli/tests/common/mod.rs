//! What the tests of the command line share: a site in a folder of its own, and the program to run
//! on it.

#![allow(
    dead_code,
    reason = "each file of tests is a crate, and uses its part of this"
)]

pub(crate) mod account;
pub(crate) mod fault;
mod noon;
pub(crate) mod postgres;
pub(crate) mod proxy;
mod site;
pub(crate) mod store;
pub(crate) mod story;
pub(crate) mod terminal;
pub(crate) mod wire;

#[allow(unused_imports, reason = "the same")]
pub(crate) use noon::Noon;
#[allow(unused_imports, reason = "the same")]
pub(crate) use site::{DUMP, Kept, Site, busy};

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program.
pub(crate) const ZBACKUP: &str = env!("CARGO_BIN_EXE_zbackup");

/// The password of the backups that are encrypted.
pub(crate) const PASSWORD: &str = "correct horse; ба́тарея \"staple\"";

/// After this, something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What "soon" means for a program on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

// Running ----------------------------------------------------------------------------------------

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The exit code is this one, and what was said contains each of the words.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.status.code(), Some(code), "the exit code of {self:#?}");
        let said = self.said();
        for word in words {
            assert!(said.contains(word), "no \"{word}\" in {self:#?}");
        }
        assert!(!said.contains("panicked"), "{self:#?}");
        self
    }

    /// None of these words were said.
    #[track_caller]
    pub(crate) fn without(self, words: &[&str]) -> Self {
        for word in words {
            assert!(!self.said().contains(word), "\"{word}\" in {self:#?}");
        }
        self
    }

    /// It succeeded.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        self.expect(0, &[])
    }

    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }
}

/// A program that runs. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    out: TempDir,
}

impl Running {
    /// Starts it, its output into files: nothing that it says can block it.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let out = tempfile::tempdir().unwrap();
        let file = |name| fs::File::create(out.path().join(name)).unwrap();
        command.stdout(file("stdout")).stderr(file("stderr"));
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, out }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal: "INT", "TERM", "KILL".
    pub(crate) fn signal(&self, name: &str) {
        kill(name, self.pid());
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self, at_most: Duration) -> Ran {
        let deadline = Instant::now() + at_most;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "it still runs after {at_most:?}; it said: {}",
                self.read("stderr")
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        Ran {
            status,
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
        }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.out.path().join(name)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill")
        .args(["-s", signal, &pid.to_string()])
        .status();
    assert!(status.unwrap().success(), "kill {pid}");
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ran {
    Running::start(command.stdin(Stdio::null())).wait(PATIENCE)
}

/// Runs a shell script to its end; it gets `args` as `$1`, `$2`…
#[track_caller]
pub(crate) fn sh(script: &str, args: &[&Path]) -> Ran {
    run(Command::new("sh").args(["-euc", script, "sh"]).args(args))
}

/// Runs the program. Without a terminal, also when whoever runs the tests has one.
#[track_caller]
pub(crate) fn zbackup<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    run(Command::new("setsid").args(["--wait", ZBACKUP]).args(args))
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How a program ends that is interrupted when it is seen at work. A fast one, or one that we looked at too
/// late, had ended before that: once more.
#[track_caller]
pub(crate) fn interrupted(
    mut start: impl FnMut() -> Running,
    mut is_at_work: impl FnMut(&Running) -> bool,
) -> Ran {
    for _ in 0..20 {
        let mut running = start();
        until("it is at work", || {
            is_at_work(&running) || !running.is_running()
        });
        if running.is_running() {
            running.signal("INT");
        }
        let ran = running.wait(SOON);
        if !ran.status.success() {
            return ran;
        }
    }
    panic!("it always ended before the interrupt");
}

/// Whether a process is there, and not only its body.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        !after_name.starts_with(['Z', 'X'])
    })
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

// Files ------------------------------------------------------------------------------------------

/// Everything below a folder: mode and content of each path.
pub(crate) type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

pub(crate) fn tree(root: &Path) -> Tree {
    fn add(root: &Path, folder: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            let name = path.strip_prefix(root).unwrap().to_owned();
            tree.insert(name, (metadata.mode(), content));
            if metadata.is_dir() {
                add(root, &path, tree);
            }
        }
    }
    let mut all = Tree::new();
    if root.is_dir() {
        add(root, root, &mut all);
    }
    all
}

/// The two folders hold the same; the message names what differs, and not whole files.
#[track_caller]
pub(crate) fn assert_same(now: &Tree, before: &Tree) {
    let paths = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(now), paths(before), "other files");
    for (path, content) in before {
        assert!(now[path] == *content, "{} was changed", path.display());
    }
}

pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A file to be executed. Another process writes it: one that this process has open for writing, and
/// a child of another thread inherits, cannot be executed.
pub(crate) fn write_script(path: &Path, script: &str) {
    let mut child = Command::new("sh")
        .args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 32) as u8
    })
    .take(length)
    .collect()
}

/// What GNU gzip and tar find in an archive: the names, in order.
#[track_caller]
pub(crate) fn tar_names(archive: &Path) -> Vec<String> {
    let names = sh(
        "gunzip -t <\"$1\"; tar --quoting-style=escape -tzf \"$1\"",
        &[archive],
    );
    names.good().stdout.lines().map(str::to_owned).collect()
}

/// The content of one file of an archive.
#[track_caller]
pub(crate) fn tar_content(archive: &Path, name: &str) -> String {
    let content = sh("tar -xzOf \"$1\" -- \"$2\"", &[archive, Path::new(name)]);
    content.good().stdout
}

#[track_caller]
pub(crate) fn sha256(path: &Path) -> String {
    let sum = sh("sha256sum <\"$1\"", &[path]).good().stdout;
    sum.split_whitespace().next().unwrap().to_owned()
}

/// Encrypts a file as Zotonic's own module does, with other tools: Python's library and openssl.
pub(crate) fn seal_z1(password: &str, input: &Path, output: &Path) {
    const SEAL: &str = r#"
import hashlib, hmac, os, struct, subprocess, sys
password, source, target = os.fsencode(sys.argv[1]), sys.argv[2], sys.argv[3]
salt, iterations = os.urandom(16), 1000
material = hashlib.pbkdf2_hmac("sha256", password, salt, iterations, 48)
with open(source, "rb") as file:
    text = hmac.digest(password, salt + password, "sha256") + file.read()
openssl = ["openssl", "enc", "-aes-256-cfb8", "-K", material[16:].hex(), "-iv", material[:16].hex()]
body = subprocess.run(openssl, input=text, stdout=subprocess.PIPE, check=True).stdout
with open(target, "wb") as file:
    file.write(b"Z1" + struct.pack("<I", iterations) + salt + body)
"#;
    run(Command::new("python3")
        .args(["-c", SEAL, password])
        .args([input, output]))
    .good();
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
