//! A site comes back from its backup; and where it cannot, nothing of it has changed.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::postgres::{Database, Postgres};
use common::{
    DUMP, PASSWORD, Running, SOON, Site, Tree, assert_same, is_root, mode, seal_z1, set_mode, sh,
    sha256, tree, write,
};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};

const SCHEMA: &str = "my \"Site\"";

/// A site with a database, and all of it as it was when its backup was made.
struct Story<'a> {
    site: Site,
    database: Database<'a>,
    before: State,
}

/// All that a restore touches.
#[derive(PartialEq)]
struct State {
    rows: String,
    media: Tree,
    private: Tree,
    security: Tree,
}

impl<'a> Story<'a> {
    fn new(server: &'a Postgres, is_encrypted: bool) -> Self {
        let database = server.database();
        database.sql(
            r#"CREATE SCHEMA "my ""Site"""; SET search_path TO "my ""Site""";
               CREATE TABLE rsc (id serial PRIMARY KEY, title text);
               CREATE TABLE edge (subject int REFERENCES rsc(id), n int);
               INSERT INTO rsc (title) SELECT E'before\\ \t ' || n FROM generate_series(1, 500) n;
               INSERT INTO edge SELECT id, id * 2 FROM rsc"#,
        );
        let mut site = Site::new();
        site.set_database(&database.settings(SCHEMA));
        site.encrypt(is_encrypted);
        write(&site.path("media/deep/er/file"), "deep");
        set_mode(&site.path("media/a.txt"), 0o640);
        set_mode(&site.path("security/ssl/site.key"), 0o400);
        symlink("a.txt", site.path("media/link")).unwrap();
        let mut story = Self {
            site,
            database,
            before: State {
                rows: String::new(),
                media: Tree::new(),
                private: Tree::new(),
                security: Tree::new(),
            },
        };
        story.before = story.state();
        story
    }

    fn state(&self) -> State {
        State {
            rows: self.database.sql(
                r#"SET search_path TO "my ""Site"""; SELECT rsc FROM rsc ORDER BY id;
                   SELECT count(*), sum(n) FROM edge; SELECT last_value FROM rsc_id_seq"#,
            ),
            media: tree(&self.site.path("media")),
            private: tree(&self.site.path("priv")),
            security: tree(&self.site.path("security")),
        }
    }

    /// The site goes on, and wrong.
    fn disaster(&self) {
        self.database.sql(
            r#"SET search_path TO "my ""Site"""; DELETE FROM edge; DELETE FROM rsc WHERE id > 10;
               UPDATE rsc SET title = 'lost'; CREATE TABLE extra AS SELECT 1 AS one"#,
        );
        let at = |name: &str| self.site.path(name);
        write(&at("media/a.txt"), "overwritten");
        fs::remove_dir_all(at("media/2026")).unwrap();
        fs::remove_file(at("media/link")).unwrap();
        write(&at("media/later.txt"), "made after the backup");
        write(&at("priv/zotonic_site.config"), "[broken].\n");
        fs::remove_file(at("priv/config.d/extra.config")).unwrap();
        fs::remove_file(at("security/ssl/site.key")).unwrap();
        write(&at("security/ssl/new.key"), "new");
    }

    #[track_caller]
    fn is_unchanged(&self, before: &State) {
        let now = self.state();
        assert_eq!(now.rows, before.rows);
        assert_same(&now.media, &before.media);
        assert_same(&now.private, &before.private);
        assert_same(&now.security, &before.security);
        self.is_tidy();
    }

    /// Nothing of a restore is left beside the site.
    #[track_caller]
    fn is_tidy(&self) {
        let found = sh(
            "find \"$1\" -name '.zbackup-*' -o -name '.restore*' -o -name .staging",
            &[&self.site.path("")],
        );
        assert_eq!(found.good().stdout, "");
        let schemas = self
            .database
            .sql("SELECT nspname FROM pg_namespace WHERE nspname ~ 'before' ORDER BY 1");
        assert_eq!(schemas, "");
    }
}

/// What is in `all` is as in `wanted`, but for what is not in that.
#[track_caller]
fn holds(all: &Tree, wanted: &Tree) {
    let kept: Tree = all
        .iter()
        .filter(|(path, _)| wanted.contains_key(*path))
        .map(|(path, content)| (path.clone(), content.clone()))
        .collect();
    assert_same(&kept, wanted);
}

#[test]
fn a_site_comes_back_as_it_was() {
    let server = Postgres::here();
    for is_encrypted in [true, false] {
        let story = Story::new(&server, is_encrypted);
        let name = story.site.backup();
        story.disaster();
        let ran = story.site.run(&format!("restore {name} --yes")).good();
        for word in ["is restored", "1000 rows in 2 tables", "files"] {
            assert!(ran.stdout.contains(word), "{ran:#?}");
        }
        let now = story.state();
        assert_eq!(now.rows, story.before.rows);
        holds(&now.media, &story.before.media);
        holds(&now.private, &story.before.private);
        holds(&now.security, &story.before.security);
        // What came after the backup stays; but for the database, which is that of the backup.
        assert!(story.site.path("media/later.txt").exists());
        assert!(story.site.path("security/ssl/new.key").exists());
        let extra = story
            .database
            .sql("SELECT to_regclass('\"my \"\"Site\"\"\".extra') IS NULL");
        assert_eq!(extra.trim(), "t");
        story.is_tidy();
        // The site works: its sequence goes on, its keys hold.
        story.database.sql(
            r#"SET search_path TO "my ""Site"""; INSERT INTO rsc (title) VALUES ('next');
               INSERT INTO edge SELECT max(id), 1 FROM rsc"#,
        );
        story.site.run("verify").good();
    }
}

#[test]
fn the_newest_is_recent_and_the_report_is_for_programs_too() {
    let server = Postgres::here();
    let story = Story::new(&server, true);
    let name = story.site.backup();
    story.site.edit_catalog(|catalog| {
        catalog["site-old"] = catalog[&name].clone();
        catalog["site-old"]["timestamp"] = 1.into();
    });
    story.disaster();
    let report = story.site.run("restore recent --yes --json").good().json();
    assert_eq!(report["backup"]["name"], name.as_str());
    assert_eq!(report["tables"][0]["name"], "edge");
    assert_eq!(report["tables"][0]["rows"], 500);
    let pieces: Vec<&str> = report["restored"]
        .as_array()
        .unwrap()
        .iter()
        .map(|restored| restored["piece"].as_str().unwrap())
        .collect();
    assert_eq!(pieces, ["database", "files", "config", "security"]);
    assert_eq!(story.state().rows, story.before.rows);
}

#[test]
fn only_what_is_asked_for_is_restored() {
    let server = Postgres::here();
    for (only, [rows, media, private, security]) in [
        ("database", [true, false, false, false]),
        ("files", [false, true, false, false]),
        ("config", [false, false, true, false]),
        ("security", [false, false, false, true]),
        ("files,security", [false, true, false, true]),
    ] {
        let story = Story::new(&server, false);
        let name = story.site.backup();
        story.disaster();
        let lost = story.state();
        story
            .site
            .run(&format!("restore {name} --yes --only {only}"))
            .good();
        let now = story.state();
        let before = &story.before;
        assert!(now.rows == if rows { &before.rows } else { &lost.rows }.clone());
        for (is_wanted, now, lost, before) in [
            (media, &now.media, &lost.media, &before.media),
            (private, &now.private, &lost.private, &before.private),
            (security, &now.security, &lost.security, &before.security),
        ] {
            if is_wanted {
                holds(now, before);
            } else {
                assert_same(now, lost);
            }
        }
        story.is_tidy();
    }
}

#[test]
fn a_new_machine_gets_its_folders() {
    let server = Postgres::here();
    let story = Story::new(&server, true);
    let name = story.site.backup();
    for folder in ["media", "priv", "security"] {
        fs::remove_dir_all(story.site.path(folder)).unwrap();
    }
    story
        .database
        .sql("DROP SCHEMA \"my \"\"Site\"\"\" CASCADE");
    story.site.run(&format!("restore {name} --yes")).good();
    let now = story.state();
    assert_eq!(now.rows, story.before.rows);
    assert_same(&now.media, &story.before.media);
    // The archive has no folders of these: new ones are private.
    let files = |tree: &Tree| -> Tree {
        let files = tree
            .iter()
            .filter(|(path, _)| path.extension().is_some_and(|end| end == "config"));
        files
            .map(|(path, file)| (path.clone(), file.clone()))
            .collect()
    };
    assert_same(&files(&now.private), &files(&story.before.private));
    holds(&now.security, &story.before.security);
    assert_eq!(mode(&story.site.path("security")) & 0o077, 0);
    story.is_tidy();
}

/// The user that Zotonic runs as, on a machine that root brings back.
#[test]
fn what_root_restores_belongs_to_the_owner_of_the_folders() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let name = site.backup();
    for folder in ["media", "priv", "security"] {
        fs::remove_dir_all(site.path(folder)).unwrap();
    }
    fs::create_dir(site.path("media")).unwrap();
    chown(site.path("media"), Some(4321), Some(4322)).unwrap();
    site.run(&format!("restore {name} --yes --only files"))
        .good();
    for path in ["media/a.txt", "media/2026", "media/2026/11/photo.jpg"] {
        let metadata = fs::metadata(site.path(path)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (4321, 4322), "{path}");
    }
}

#[test]
fn nothing_happens_without_being_asked() {
    let server = Postgres::here();
    let story = Story::new(&server, false);
    let name = story.site.backup();
    story.disaster();
    let lost = story.state();
    story
        .site
        .run(&format!("restore {name}"))
        .expect(2, &["no terminal", "--yes"]);
    story.is_unchanged(&lost);
}

#[test]
fn a_damaged_part_stops_all_of_it() {
    let server = Postgres::here();
    for is_encrypted in [true, false] {
        let story = Story::new(&server, is_encrypted);
        let name = story.site.backup();
        story.disaster();
        let lost = story.state();
        for key in ["database", "config_files", "files"] {
            let file = story.site.part(&name, key);
            let good = fs::read(&file).unwrap();
            let mut bad = good.clone();
            let at = bad.len() - 30;
            bad[at] ^= 1;
            for bad in [bad, good[..good.len() / 2].to_vec(), Vec::new()] {
                fs::write(&file, bad).unwrap();
                story
                    .site
                    .run(&format!("restore {name} --yes"))
                    .expect(4, &["damaged"]);
                story.is_unchanged(&lost);
            }
            fs::remove_file(&file).unwrap();
            story
                .site
                .run(&format!("restore {name} --yes"))
                .expect(1, &[file.file_name().unwrap().to_str().unwrap()]);
            story.is_unchanged(&lost);
            fs::write(&file, good).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_meant_is_said() {
    let server = Postgres::here();
    let mut story = Story::new(&server, false);
    story
        .site
        .run("restore recent --yes")
        .expect(1, &["backup", "No such file"]);
    let name = story.site.backup();
    let lost = story.state();
    story
        .site
        .run("restore site-99 --yes")
        .expect(1, &["no backup named \"site-99\"", &name]);
    story
        .site
        .run(&format!("restore {name} --yes --only everything"))
        .expect(2, &["everything", "database", "security"]);
    story.site.unset("media_dir");
    story
        .site
        .run(&format!("restore {name} --yes"))
        .expect(2, &["media_dir", "--only"]);
    story.site.set("media_dir", "\"media\"");
    story.site.set("config_files", "[]");
    story
        .site
        .run(&format!("restore {name} --yes"))
        .expect(2, &["config_files", "--only"]);
    story.site.set_database("");
    story
        .site
        .run(&format!("restore {name} --yes --only database"))
        .expect(2, &["[database]"]);
    story.is_unchanged(&lost);
}

#[test]
fn a_wrong_password_is_told_before_anything_is_touched() {
    let server = Postgres::here();
    let story = Story::new(&server, true);
    let name = story.site.backup();
    story.disaster();
    let lost = story.state();
    write(&story.site.path("password"), "another\n");
    story
        .site
        .run(&format!("restore {name} --yes"))
        .expect(3, &["wrong password"]);
    story.is_unchanged(&lost);
}

/// A dump with something in it that a site is not restored from.
fn spoiled(story: &Story<'_>, name: &str, edit: impl Fn(&str) -> String) {
    let file = story.site.part(name, "database");
    let dump = sh("gunzip <\"$1\"", &[&file]).good().stdout;
    let plain = story.site.path("dump.sql");
    write(&plain, edit(&dump));
    sh("gzip -c <\"$1\" >\"$2\"", &[&plain, &file]).good();
    let hash = sha256(&file);
    let size = fs::metadata(&file).unwrap().len();
    story.site.edit_catalog(|catalog| {
        catalog[name]["database_hash"] = hash.into();
        catalog[name]["database_size"] = size.into();
    });
}

#[test]
fn a_dump_that_fails_or_does_more_than_a_dump_changes_nothing() {
    let server = Postgres::here();
    let story = Story::new(&server, false);
    let name = story.site.backup();
    story.disaster();
    let lost = story.state();
    let original = fs::read(story.site.part(&name, "database")).unwrap();
    let trace = story.site.path("trace");
    let end = "\n--\n-- PostgreSQL database dump complete";
    let before_end = |what: &str| {
        let what = what.replace("TRACE", trace.to_str().unwrap());
        move |dump: &str| dump.replace(end, &format!("\n{what}\n{end}"))
    };
    for (what, words) in [
        ("ALTER TABLE \"nowhere\".\"rsc\" ADD x int;", vec!["line"]),
        (
            "CREATE TABLE \"my \"\"Site\"\"\".\"rsc\" (x int);",
            vec!["line", "already exists"],
        ),
        ("\\! touch TRACE", vec!["line"]),
        ("SELECT 1 \\g TRACE", vec!["line"]),
        ("\\copy (select 1) to 'TRACE'", vec!["line"]),
        ("\\o TRACE", vec!["line"]),
        ("COMMIT;", vec!["line", "COMMIT"]),
        ("COPY (SELECT 1) TO PROGRAM 'touch TRACE';", vec!["line"]),
        (
            "DROP TABLE \"my \"\"Site\"\"\".\"edge\";",
            vec!["line", "DROP"],
        ),
    ] {
        fs::write(story.site.part(&name, "database"), &original).unwrap();
        spoiled(&story, &name, before_end(what));
        let ran = story.site.run(&format!("restore {name} --yes"));
        assert!(!ran.status.success(), "{what}: {ran:#?}");
        for word in words {
            assert!(ran.said().contains(word), "{what}: no {word} in {ran:#?}");
        }
        assert!(!trace.exists(), "{what} was run");
        story.is_unchanged(&lost);
    }
    // A row that does not fit, and the dump of another schema.
    for (edit, word) in [
        (
            Box::new(|dump: &str| dump.replace("\n7\tbefore", "\nseven\tbefore"))
                as Box<dyn Fn(&str) -> String>,
            "seven",
        ),
        (
            Box::new(|dump: &str| dump.replace("\"my \"\"Site\"\"\"", "\"other\"")),
            "other",
        ),
    ] {
        fs::write(story.site.part(&name, "database"), &original).unwrap();
        spoiled(&story, &name, edit);
        let ran = story.site.run(&format!("restore {name} --yes"));
        assert!(
            !ran.status.success() && ran.said().contains(word),
            "{ran:#?}"
        );
        story.is_unchanged(&lost);
    }
}

#[test]
fn a_backup_of_zotonics_own_module_is_restored() {
    let server = Postgres::here();
    let mut story = Story::new(&server, false);
    let made = story.site.backup();
    // What that module would have made of it: other names, no sizes, owners that are not here.
    spoiled(&story, &made, |dump| {
        dump.replacen(
            "\n\nSET default_tablespace",
            "\n\nALTER SCHEMA \"my \"\"Site\"\"\" OWNER TO \"nobody here\";\n\
             GRANT ALL ON SCHEMA \"my \"\"Site\"\"\" TO \"nobody here\";\n\nSET default_tablespace",
            1,
        )
        .replacen(
            "SET lock_timeout",
            "SET transaction_timeout = 0;\nSET lock_timeout",
            1,
        )
    });
    let backups = story.site.backups();
    let mut entry = serde_json::json!({
        "timestamp": 1_795_441_562, "is_encrypted": true, "is_filestore_uploaded": false
    });
    for (key, file) in [
        ("database", "site-w0.sql.gz"),
        ("config_files", "config-site-w0.tar.gz"),
        ("files", "site-w0.tar.gz"),
    ] {
        let from = story.site.part(&made, key);
        // It hashes before it encrypts.
        entry[format!("{key}_hash")] = sha256(&from).into();
        entry[key] = format!("{file}.enc").into();
        seal_z1(PASSWORD, &from, &backups.join(format!("{file}.enc")));
        fs::remove_file(from).unwrap();
    }
    write(
        &backups.join("backup.json"),
        serde_json::json!({ "site-w0": entry }).to_string(),
    );
    story.site.encrypt(true);
    story.disaster();
    let ran = story.site.run("restore site-w0 --yes").good();
    assert!(ran.stderr.contains("no integrity"), "{ran:#?}");
    let now = story.state();
    assert_eq!(now.rows, story.before.rows);
    holds(&now.media, &story.before.media);
    holds(&now.security, &story.before.security);
    story.is_tidy();
}

/// Puts an archive in the place of a part that is not encrypted.
fn replace_files(site: &Site, name: &str, script: &str) {
    let file = site.part(name, "files");
    sh(script, &[&file, &site.path("work")]).good();
    let hash = sha256(&file);
    let size = fs::metadata(&file).unwrap().len();
    site.edit_catalog(|catalog| {
        catalog[name]["files_hash"] = hash.into();
        catalog[name]["files_size"] = size.into();
    });
}

#[test]
fn an_archive_that_leads_out_changes_nothing_outside() {
    let site = Site::new();
    let name = site.backup();
    write(&site.path("outside/victim"), "untouched");
    let before = tree(&site.path("media"));
    let outside = tree(&site.path("outside"));
    for (script, word) in [
        (
            "mkdir -p \"$2\"; cd \"$2\"; echo evil >x; tar --transform 's,x,../outside/victim,' -Pczf \"$1\" x",
            "../outside/victim",
        ),
        (
            "mkdir -p \"$2\"; cd \"$2\"; echo evil >x; tar --transform \"s,x,$2/../outside/victim,\" -Pczf \"$1\" x",
            "outside/victim",
        ),
        (
            "mkdir -p \"$2/d\"; cd \"$2\"; ln -s ../outside l; echo evil >d/victim; \
             tar --transform 's,^d,l,' -Pczf \"$1\" l d/victim; rm -r l d",
            "l/victim",
        ),
    ] {
        replace_files(&site, &name, script);
        let ran = site.run(&format!("restore {name} --yes --only files"));
        assert!(ran.said().contains(word), "{word}: {ran:#?}");
        assert!(!ran.status.success(), "{word}: {ran:#?}");
        assert_same(&tree(&site.path("outside")), &outside);
        assert_same(&tree(&site.path("media")), &before);
    }
    // Things that are no files are left out, and the others come.
    replace_files(
        &site,
        &name,
        "rm -rf \"$2\"; mkdir -p \"$2\"; cd \"$2\"; mkfifo pipe; ln -s /etc etc; echo good >good; \
         chmod 4755 good; tar -czf \"$1\" pipe etc good",
    );
    let ran = site
        .run(&format!("restore {name} --yes --only files"))
        .good();
    for word in ["pipe", "etc", "good"] {
        assert!(ran.stderr.contains(word), "{ran:#?}");
    }
    assert_eq!(fs::read(site.path("media/good")).unwrap(), b"good\n");
    assert_eq!(mode(&site.path("media/good")), 0o755);
    assert!(site.path("media/etc").symlink_metadata().is_err());
    assert!(site.path("media/pipe").symlink_metadata().is_err());
}

#[test]
fn a_drill_rehearses_the_restore_and_changes_nothing() {
    let server = Postgres::here();
    let story = Story::new(&server, true);
    let name = story.site.backup();
    story
        .site
        .run("verify --drill")
        .expect(0, &["rehearsed", "1000 rows in 2 tables"]);
    story.is_unchanged(&story.before);
    // A dump that is whole, and cannot be loaded.
    let mut story = Story::new(&server, false);
    let made = story.site.backup();
    assert_eq!(made, name);
    spoiled(&story, &made, |dump| {
        dump.replace("\n7\tbefore", "\nseven\tbefore")
    });
    story.site.run("verify").good();
    story
        .site
        .run("verify --drill")
        .expect(1, &["NOT proven", "rehearsed", "seven"]);
    story.is_unchanged(&story.before);
    story.site.set_database("");
    story
        .site
        .run("verify --drill")
        .expect(2, &["--drill", "[database]"]);
}

#[test]
fn a_second_one_is_told_who_is_busy() {
    let (site, running) = common::busy();
    site.run("restore recent --yes --only files")
        .expect(1, &[&format!("PID {}", running.pid())]);
    running.signal("INT");
    running.wait(SOON);
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let mut site = Site::with_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    site.set("media_dir", "\"media\"");
    let sparse = fs::File::create(site.path("media/huge")).unwrap();
    // Ten times what is free; it takes no room itself.
    sparse.set_len(8 << 40).unwrap();
    let started = std::time::Instant::now();
    site.run("backup").expect(1, &["too little room", "free"]);
    assert!(started.elapsed() < SOON, "it was begun");
    assert!(!site.backups().join("backup.json").exists());
    assert!(
        Running::start(&mut site.zbackup("list"))
            .wait(SOON)
            .status
            .success()
    );
}
