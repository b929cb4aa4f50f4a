//! What the tests of the command line share: a site in a folder of its own, and the program to run
//! on it.

#![allow(
    dead_code,
    reason = "each file of tests is a crate, and uses its part of this"
)]

pub(crate) mod account;
pub(crate) mod fault;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod store;
pub(crate) mod story;
pub(crate) mod terminal;

use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
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

// A site -----------------------------------------------------------------------------------------

/// What may come between a first and a last line of `pg_dump`.
pub(crate) const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\nCREATE SCHEMA \"s\";\n\n\
                               --\n-- PostgreSQL database dump complete\n--\n\n";

/// A site with media, configuration and security files, in a folder of its own, and its `site.toml`.
pub(crate) struct Site {
    root: TempDir,
    /// The settings of `site.toml`, as TOML has them.
    settings: BTreeMap<&'static str, String>,
    database: String,
    encryption: String,
    /// Set for the program.
    pub(crate) env: Vec<(String, String)>,
}

impl Site {
    /// A site that is not encrypted and has no database.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        write(&path("media/a.txt"), "hello\n".repeat(1000));
        write(&path("media/2026/11/photo.jpg"), noise(300_000, 7));
        write(&path("media/empty"), "");
        write(&path("priv/zotonic_site.config"), "[{hostname, \"x\"}].\n");
        write(&path("priv/config.d/extra.config"), "[{extra, 1}].\n");
        write(
            &path("security/ssl/site.key"),
            "-----BEGIN PRIVATE KEY-----\n",
        );
        write(&path("password"), format!("{PASSWORD}\n"));
        set_mode(&path("password"), 0o600);
        fs::create_dir(path("tmp")).unwrap();
        let mut site = Self {
            root,
            settings: BTreeMap::new(),
            database: String::new(),
            encryption: String::new(),
            env: Vec::new(),
        };
        site.set("site", "\"site\"");
        site.set("backup_dir", "\"backup\"");
        site.set("media_dir", "\"media\"");
        site.set(
            "config_files",
            "[\"priv/zotonic_site.config\", \"priv/config.d/extra.config\"]",
        );
        site.set("security_dir", "\"security\"");
        site.set("timezone", &format!("{:?}", Noon::zone().0));
        site
    }

    /// Only a database, whose `pg_dump` is this script.
    pub(crate) fn with_dump(script: &str) -> Self {
        let mut site = Self::new();
        for key in ["media_dir", "config_files", "security_dir"] {
            site.unset(key);
        }
        site.fake_dump(script);
        site
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn backups(&self) -> PathBuf {
        self.path("backup")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.path("tmp")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("site.toml")
    }

    /// Sets a setting, its value as TOML has it.
    pub(crate) fn set(&mut self, key: &'static str, value: &str) {
        self.settings.insert(key, value.into());
        self.save();
    }

    pub(crate) fn unset(&mut self, key: &str) {
        self.settings.remove(key);
        self.save();
    }

    /// The lines of `[database]`; none means no database.
    pub(crate) fn set_database(&mut self, lines: &str) {
        self.database = lines.into();
        self.save();
    }

    pub(crate) fn fake_dump(&mut self, script: &str) {
        let path = self.path("pg_dump");
        write_script(&path, &format!("#!/bin/sh\n{script}\n"));
        self.set_database(&format!(
            "host = \"db.example\"\nuser = \"u\"\npassword = \"p\"\ndbname = \"d\"\nschema = \"s\"\npg_dump = {path:?}\n"
        ));
    }

    /// A database whose restore is there to be seen: when it has looked whether the server takes the dump, and
    /// begins to load, it waits for ever. The file is there from then on.
    pub(crate) fn load_for_ever(&mut self) -> PathBuf {
        let server = postgres::Postgres::here();
        let database = server.database();
        database.sql("CREATE SCHEMA s");
        let [psql, there] = ["psql", "there"].map(|name| self.path(name));
        let script = "#!/bin/sh\n\
                      if [ -e '@.first' ]; then rm '@.first'; echo >'@'; exec sleep 1000; fi\n\
                      echo >'@.first'; exec psql \"$@\"\n";
        write_script(
            &psql,
            &script.replace("'@", &format!("'{}", there.display())),
        );
        self.set_database(&format!("{}psql = {psql:?}\n", database.settings("s")));
        there
    }

    pub(crate) fn encrypt(&mut self, is_encrypted: bool) {
        self.encryption = if is_encrypted {
            "password_file = \"password\"\n".into()
        } else {
            String::new()
        };
        self.save();
    }

    fn save(&self) {
        let mut text = String::new();
        for (key, value) in &self.settings {
            writeln!(text, "{key} = {value}").unwrap();
        }
        if !self.database.is_empty() {
            write!(text, "\n[database]\n{}", self.database).unwrap();
        }
        if !self.encryption.is_empty() {
            write!(text, "\n[encryption]\n{}", self.encryption).unwrap();
        }
        write(&self.config(), text);
        set_mode(&self.config(), 0o600);
    }

    /// A command with this site's own `TMPDIR`, and without a terminal.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .env("TMPDIR", self.tmp())
            .envs(self.env.iter().cloned());
        command
    }

    /// The program with these words and `--config`.
    pub(crate) fn zbackup(&self, words: &str) -> Command {
        let mut command = self.command(ZBACKUP);
        command
            .args(words.split_whitespace())
            .arg("--config")
            .arg(self.config());
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, words: &str) -> Ran {
        Running::start(&mut self.zbackup(words)).wait(PATIENCE)
    }

    /// Makes a backup, and gives its name.
    #[track_caller]
    pub(crate) fn backup(&self) -> String {
        self.make("backup --json")
    }

    #[track_caller]
    pub(crate) fn backup_database_only(&self) -> String {
        self.make("backup --json --database-only")
    }

    #[track_caller]
    fn make(&self, words: &str) -> String {
        let ran = self.run(words).good();
        ran.json()["backup"]["name"].as_str().unwrap().to_owned()
    }

    /// `backup.json`.
    pub(crate) fn catalog(&self) -> Value {
        serde_json::from_slice(&fs::read(self.backups().join("backup.json")).unwrap()).unwrap()
    }

    /// Changes `backup.json` by hand.
    pub(crate) fn edit_catalog(&self, edit: impl FnOnce(&mut Value)) {
        let mut catalog = self.catalog();
        edit(&mut catalog);
        write(&self.backups().join("backup.json"), catalog.to_string());
    }

    /// A file of the backup folder that is listed under a key of an entry.
    pub(crate) fn part(&self, name: &str, key: &str) -> PathBuf {
        let catalog = self.catalog();
        let file = catalog[name][key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key} of {name} in {catalog}"));
        self.backups().join(file)
    }

    /// What a failed or stopped backup must not have changed, and must not have left.
    pub(crate) fn kept(&self) -> Kept<'_> {
        Kept {
            site: self,
            backups: tree(&self.backups()),
            tmp: tree(&self.tmp()),
        }
    }
}

/// The backup folder and the folder of temporary files, as they were.
pub(crate) struct Kept<'a> {
    site: &'a Site,
    backups: Tree,
    tmp: Tree,
}

impl Kept<'_> {
    /// All is byte for byte as it was.
    #[track_caller]
    pub(crate) fn check(&self) {
        assert_same(&tree(&self.site.backups()), &self.backups);
        assert_same(&tree(&self.site.tmp()), &self.tmp);
    }
}

/// A time zone in which it is about noon now: no test there runs into midnight.
pub(crate) struct Noon;

impl Noon {
    /// Its name, and its offset from UTC in hours.
    pub(crate) fn zone() -> (String, i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let hour = (now.as_secs() / 3600 % 24) as i64;
        let offset = 12 - hour;
        // In these names, unlike anywhere else, a plus is west of Greenwich.
        let name = match offset {
            0 => "Etc/GMT".into(),
            1.. => format!("Etc/GMT-{offset}"),
            _ => format!("Etc/GMT+{}", -offset),
        };
        (name, offset)
    }

    /// The last part of the name of today's backup in a zone, by `date` and the manual.
    pub(crate) fn slot(zone: &str) -> String {
        let date = |format: &str| {
            let ran = run(Command::new("date").env("TZ", zone).arg(format)).good();
            ran.stdout.trim().to_owned()
        };
        match date("+%w").as_str() {
            // Sundays rotate; this module counts them from Sunday 4 January 1970.
            "0" => {
                let day = date("+%Y-%m-%d");
                let seconds = run(Command::new("date").args(["-u", "+%s", "-d", &day])).good();
                let days = seconds.stdout.trim().parse::<i64>().unwrap() / 86_400;
                format!("w{}", (days - 3) / 7 % 4 + 1)
            }
            weekday => (weekday.parse::<u32>().unwrap() + 1).to_string(),
        }
    }
}

/// A site with a good backup, and a second one that is busy with its endless database.
pub(crate) fn busy() -> (Site, Running) {
    let mut site = Site::new();
    site.backup();
    let there = site.path("there");
    site.fake_dump(&format!(
        "printf -- '--\\n-- PostgreSQL database dump\\n--\\n'; echo >'{}'; exec sleep 1000",
        there.display()
    ));
    write(&site.path("media/new"), "new");
    let running = Running::start(&mut site.zbackup("backup"));
    until("it is busy", || there.exists());
    (site, running)
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
