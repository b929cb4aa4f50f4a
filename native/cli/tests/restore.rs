//! A site comes back from its backup; and where it cannot, nothing of it has changed.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::postgres::Postgres;
use common::story::{Story, holds, spoiled};
use common::{PASSWORD, Site, Tree, assert_same, is_root, mode, seal_z1, sha256, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

#[test]
fn a_site_comes_back_as_it_was() {
    let server = Postgres::here();
    for is_encrypted in [true, false] {
        let story = Story::new(&server, is_encrypted);
        let name = story.site.backup();
        story.disaster();
        let ran = story
            .site
            .run(&format!("restore {name} --yes --trust-dump"))
            .good();
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
    let report = story
        .site
        .run("restore recent --yes --trust-dump --json")
        .good()
        .json();
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
            .run(&format!("restore {name} --yes --trust-dump --only {only}"))
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
    story
        .site
        .run(&format!("restore {name} --yes --trust-dump"))
        .good();
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

/// A site without folders for them does not get any.
#[test]
fn no_folder_is_made_for_nothing() {
    let mut site = Site::new();
    site.set("config_files", "[\"priv/zotonic_site.config\"]");
    let name = site.backup();
    for folder in ["priv", "security"] {
        fs::remove_dir_all(site.path(folder)).unwrap();
    }
    site.run(&format!("restore {name} --yes --trust-dump --only config"))
        .good();
    assert!(site.path("priv/zotonic_site.config").exists());
    assert!(!site.path("priv/config.d").exists());
    assert!(!site.path("security").exists());
    fs::remove_dir_all(site.path("priv")).unwrap();
    site.run(&format!(
        "restore {name} --yes --trust-dump --only security"
    ))
    .good();
    assert!(site.path("security/ssl/site.key").exists());
    assert!(!site.path("priv").exists());
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
    site.run(&format!("restore {name} --yes --trust-dump --only files"))
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
    let ran = story.site.run("restore site-w0 --yes --trust-dump").good();
    assert!(ran.stderr.contains("no integrity"), "{ran:#?}");
    let now = story.state();
    assert_eq!(now.rows, story.before.rows);
    holds(&now.media, &story.before.media);
    holds(&now.security, &story.before.security);
    story.is_tidy();
}

#[test]
fn a_drill_rehearses_the_restore_and_changes_nothing() {
    let server = Postgres::here();
    let story = Story::new(&server, true);
    let name = story.site.backup();
    story
        .site
        .run("verify --drill --trust-dump")
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
        .run("verify --drill --trust-dump")
        .expect(1, &["NOT proven", "rehearsed", "seven"]);
    story.is_unchanged(&story.before);
    story.site.set_database("");
    story
        .site
        .run("verify --drill --trust-dump")
        .expect(2, &["--drill", "[database]"]);
}
