//! A site in a folder of its own.

use super::{
    Noon, PASSWORD, PATIENCE, Ran, Running, Tree, ZBACKUP, assert_same, noise, postgres, set_mode,
    tree, until, write, write_script,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

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
    /// The time zone of its first setting, in which it was noon then.
    pub(crate) zone: String,
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
            zone: Noon::zone(),
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
        site.set("timezone", &format!("{:?}", site.zone));
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
        let there = self.path("there");
        let (mark, mut runs) = (there.clone(), 0);
        let port = super::wire::tapped(database.port(), move || {
            runs += 1;
            if runs == 2 {
                fs::write(&mark, "").unwrap();
                std::thread::park();
            }
        });
        self.set_database(&database.settings_at(port, "s"));
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
