//! The commands of `docs/operations.md`, as they stand there, each section in the situation that it is for.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::postgres::{Database, Postgres};
use common::store::{Store, env};
use common::{PASSWORD, PATIENCE, Ran, Running, Site, ZBACKUP, assert_same, sh, tree, write};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const RUNBOOK: &str = include_str!("../../../docs/operations.md");

/// The sections with commands that are followed here.
const FOLLOWED: [&str; 11] = [
    "Is my backup good?",
    "I lost the server, and have the backup files",
    "I lost the server, and have the store",
    "I lost the database only",
    "I need one file from last Tuesday",
    "I need one page from last month",
    "I forgot the password",
    "The disk is full",
    "The backup failed last night",
    "From Zotonic's own module, and back",
    "How much space and time to plan",
];

/// Followed by two Zotonic sites, in `test/backup_replica_SUITE.erl`.
const OF_ZOTONIC: &str = "A replica, and a failover";

/// The commands of a section, a line each.
fn commands(title: &str) -> Vec<&'static str> {
    let heading = format!("\n## {title}\n");
    let (_, section) = RUNBOOK
        .split_once(&heading)
        .unwrap_or_else(|| panic!("no section \"{title}\""));
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter(|line| line.starts_with("    "))
        .map(str::trim)
        .collect()
}

#[test]
fn every_command_of_the_runbook_is_followed() {
    let titles = RUNBOOK.lines().filter_map(|line| line.strip_prefix("## "));
    let mut with_commands: Vec<_> = titles.filter(|title| !commands(title).is_empty()).collect();
    let mut followed = FOLLOWED.to_vec();
    followed.push(OF_ZOTONIC);
    followed.sort_unstable();
    with_commands.sort_unstable();
    assert_eq!(with_commands, followed);
}

/// A site that the runbook is about: it is called `mysite`, and its backups are encrypted.
struct Mysite<'a> {
    site: Site,
    database: Database<'a>,
    /// Of its backup.
    name: String,
}

impl<'a> Mysite<'a> {
    fn new(server: &'a Postgres) -> Self {
        let mut mysite = Self::bare(server);
        mysite.site.encrypt(true);
        mysite.fill();
        mysite.name = mysite.site.backup();
        mysite
    }

    /// As long as nothing happened to it.
    fn fill(&self) {
        self.database.sql(
            "CREATE SCHEMA mysite; SET search_path TO mysite;
             CREATE TABLE rsc (id int PRIMARY KEY, modified timestamptz, pivot_title text, props_json jsonb);
             INSERT INTO rsc SELECT n, now(), 'Page ' || n, '{}' FROM generate_series(1, 50) n;
             INSERT INTO rsc VALUES (4711, now(), 'My garden', '{\"title\": \"roses\"}');
             CREATE TABLE config (module text, key text, value text);
             INSERT INTO config VALUES ('mod_backup', 'backup_encrypt_password', 'of the database')",
        );
        write(&self.site.path("media/2026/11/24/photo.jpg"), "a photo");
    }

    /// Without anything of it in the database, and not encrypted.
    fn bare(server: &'a Postgres) -> Self {
        let database = server.database();
        let mut site = Site::new();
        site.set("site", "\"mysite\"");
        site.set_database(&database.settings("mysite"));
        // What is typed without naming a user of the database is that user's.
        site.env = vec![("PGUSER".into(), database.owner.clone())];
        fs::create_dir(site.path("bin")).unwrap();
        symlink(ZBACKUP, site.path("bin/zbackup")).unwrap();
        Self {
            site,
            database,
            name: String::new(),
        }
    }

    /// The same site on a new machine, with nothing of it but its database's role.
    fn new_machine(server: &'a Postgres) -> Self {
        let mut mysite = Self::bare(server);
        mysite.site.encrypt(true);
        for folder in ["media", "priv", "security"] {
            fs::remove_dir_all(mysite.site.path(folder)).unwrap();
        }
        mysite
    }

    /// Does what a section says.
    #[track_caller]
    fn follow(&self, title: &str) -> Ran {
        self.type_in(&commands(title))
    }

    /// Does that in the folder of `site.toml`.
    #[track_caller]
    fn type_in(&self, lines: &[&str]) -> Ran {
        let lines: Vec<_> = lines.iter().map(|line| self.here(line)).collect();
        let path = std::env::var("PATH").unwrap();
        let mut shell = self.site.command("bash");
        shell
            .args(["-euo", "pipefail", "-c", &lines.join("\n")])
            .current_dir(self.site.path(""))
            .env(
                "PATH",
                format!("{}:{path}", self.site.path("bin").display()),
            );
        Running::start(&mut shell).wait(PATIENCE)
    }

    /// A line as somebody types it here: names are what they are, and what is asked for is given.
    fn here(&self, line: &str) -> String {
        let mut line = format!("{line} ");
        for (theirs, ours) in [
            (
                "zbackup decrypt ",
                "zbackup decrypt --password-file password ",
            ),
            ("zbackup restore ", "zbackup restore --yes --trust-dump "),
            ("verify --dir ", "verify --password-file password --dir "),
            ("mysite-3", &self.name),
            ("mysite-w2", &self.name),
            ("/copy/of/", ""),
            ("/bigger/", "bigger/"),
            ("-d mysite ", &format!("-d '{}' ", self.database.name)),
        ] {
            line = line.replace(theirs, ours);
        }
        line
    }

    #[track_caller]
    fn is_back(&self, lost: &Site) {
        for folder in ["media", "priv", "security"] {
            // A folder that was not there is made for its owner only.
            let [now, before] = [&self.site, lost].map(|site| {
                let mut files = tree(&site.path(folder));
                files.retain(|name, _| !site.path(folder).join(name).is_dir());
                files
            });
            assert_same(&now, &before);
        }
        self.has_rows();
    }

    #[track_caller]
    fn has_rows(&self) {
        assert_eq!(self.database.sql("SELECT count(*) FROM mysite.rsc"), "51\n");
    }
}

fn copy(from: &Path, to: &Path) {
    sh("cp -a -- \"$1\" \"$2\"", &[from, to]).good();
}

#[test]
fn is_my_backup_good() {
    let server = Postgres::here();
    let mysite = Mysite::new(&server);
    let ran = mysite.follow(FOLLOWED[0]).good();
    assert_eq!(ran.stdout.matches(": proven").count(), 4, "{ran:#?}");
}

#[test]
fn i_lost_the_server_and_have_the_backup_files() {
    let server = Postgres::here();
    let lost = Mysite::new(&server);
    let mut found = Mysite::new_machine(&server);
    copy(&lost.site.backups(), &found.site.backups());
    found.name.clone_from(&lost.name);
    // The last lines are for a machine without zbackup.
    let lines = commands(FOLLOWED[1]);
    let (with, without) = lines.split_at(2);
    found.type_in(with).good();
    found.is_back(&lost.site);

    let mut bare = Mysite::bare(&server);
    bare.name.clone_from(&lost.name);
    for part in ["database", "files", "config_files"] {
        let sealed = lost.site.part(&lost.name, part);
        let plain = bare.site.path(sealed.file_stem().unwrap());
        let password = lost.site.path("password");
        sh(
            "\"$1\" decrypt \"$2\" -o \"$3\" --password-file \"$4\"",
            &[Path::new(ZBACKUP), &sealed, &plain, &password],
        )
        .good();
    }
    fs::create_dir_all(bare.site.path("files/archive")).unwrap();
    bare.type_in(without).good();
    bare.has_rows();
    for (folder, of_lost) in [
        ("files/archive", "media"),
        ("config-mysite/security", "security"),
    ] {
        let [now, before] =
            [bare.site.path(folder), lost.site.path(of_lost)].map(|path| tree(&path));
        assert_same(&now, &before);
    }
    let config = bare
        .site
        .path("config-mysite/config/priv/zotonic_site.config");
    let before = lost.site.path("priv/zotonic_site.config");
    assert_eq!(fs::read(config).unwrap(), fs::read(before).unwrap());
}

#[test]
fn i_lost_the_server_and_have_the_store() {
    let server = Postgres::here();
    let store = Store::new();
    let mut lost = Mysite::new(&server);
    store.give(&mut lost.site, &env("ENDPOINT"));
    lost.site.run("push").good();
    let mut found = Mysite::new_machine(&server);
    store.give(&mut found.site, &env("ENDPOINT"));
    found
        .follow(FOLLOWED[2])
        .expect(0, &[&lost.name, ": proven"]);
    found.site.run("restore recent --yes --trust-dump").good();
    found.is_back(&lost.site);
}

#[test]
fn i_lost_the_database_only() {
    let server = Postgres::here();
    let mysite = Mysite::new(&server);
    mysite.database.sql("DROP SCHEMA mysite CASCADE");
    write(&mysite.site.path("media/later"), "later");
    mysite.follow(FOLLOWED[3]).good();
    mysite.has_rows();
    assert!(mysite.site.path("media/later").exists());
}

#[test]
fn i_need_one_file_from_last_tuesday() {
    let server = Postgres::here();
    let mysite = Mysite::new(&server);
    fs::remove_file(mysite.site.path("media/2026/11/24/photo.jpg")).unwrap();
    mysite
        .follow(FOLLOWED[4])
        .expect(0, &["2026/11/24/photo.jpg"]);
    let rescued = fs::read(mysite.site.path("rescue/2026/11/24/photo.jpg")).unwrap();
    assert_eq!(rescued, b"a photo");
}

#[test]
fn i_need_one_page_from_last_month() {
    let server = Postgres::here();
    let mysite = Mysite::new(&server);
    mysite
        .database
        .sql("DELETE FROM mysite.rsc WHERE id = 4711");
    let owner = &mysite.database.owner;
    mysite
        .database
        .admin(&format!("ALTER ROLE \"{owner}\" CREATEDB"));
    mysite.follow(FOLLOWED[5]).expect(0, &["roses", "(1 row)"]);
    let scratch = "SELECT count(*) FROM pg_database WHERE datname = 'scratch'";
    assert_eq!(mysite.database.admin(scratch), "0\n");
}

#[test]
fn i_forgot_the_password() {
    let server = Postgres::here();
    let mysite = Mysite::new(&server);
    let setting = "{backup_encrypt_password, \"of the configuration\"}";
    write(&mysite.site.path("priv/config.d/backup.config"), setting);
    mysite
        .follow(FOLLOWED[6])
        .expect(0, &["of the database", "of the configuration"]);
    let file = mysite.site.part(&mysite.name, "files");
    write(&mysite.site.path("password"), "another\n");
    let decrypt = format!("zbackup decrypt {} -o out", file.display());
    mysite.type_in(&[&decrypt]).expect(3, &["wrong password"]);
}

#[test]
fn the_disk_is_full() {
    let server = Postgres::here();
    let mysite = Mysite::new(&server);
    fs::create_dir_all(mysite.site.path("bigger/backup")).unwrap();
    mysite.follow(FOLLOWED[7]).expect(0, &[": proven"]);
    assert_same(
        &tree(&mysite.site.path("bigger/backup")),
        &tree(&mysite.site.backups()),
    );
}

#[test]
fn the_backup_failed_last_night() {
    let server = Postgres::here();
    let mut mysite = Mysite::new(&server);
    let kept = tree(&mysite.site.backups());
    mysite
        .site
        .set_database(&mysite.database.settings_of("nobody", "x", "mysite"));
    mysite
        .follow(FOLLOWED[8])
        .expect(1, &["refuses the user or the password"]);
    assert_same(&tree(&mysite.site.backups()), &kept);
    mysite
        .site
        .set_database(&mysite.database.settings("mysite"));
    mysite.follow(FOLLOWED[8]).good();
}

#[test]
fn from_zotonics_own_module_and_back() {
    let server = Postgres::here();
    let mysite = Mysite::new(&server);
    mysite.follow(FOLLOWED[9]).expect(0, &[": proven"]);
    let out = |end: &str| mysite.site.path(format!("{}{end}", mysite.name));
    sh(
        "gunzip -t \"$1\"; tar -xzf \"$2\" -C \"$3\"",
        &[&out(".sql.gz"), &out(".tar.gz"), &mysite.site.tmp()],
    )
    .good();
    assert_same(&tree(&mysite.site.tmp()), &tree(&mysite.site.path("media")));

    // The same files, as Zotonic's own module encrypts them.
    for (part, end) in [("database", ".sql.gz"), ("files", ".tar.gz")] {
        common::seal_z1(PASSWORD, &out(end), &mysite.site.part(&mysite.name, part));
        let plain = fs::read(out(end)).unwrap();
        fs::remove_file(out(end)).unwrap();
        let lines = commands(FOLLOWED[9]);
        let line = lines
            .iter()
            .find(|line| line.contains(&format!("-3{end}.enc")));
        mysite.type_in(&[line.unwrap()]).good();
        assert!(fs::read(out(end)).unwrap() == plain);
    }
}

#[test]
fn how_much_space_and_time_to_plan() {
    let server = Postgres::here();
    let mysite = Mysite::new(&server);
    mysite
        .follow(FOLLOWED[10])
        .expect(0, &["kB", "media", &mysite.name]);
}
