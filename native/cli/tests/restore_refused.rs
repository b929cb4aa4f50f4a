//! What is not restored, and that nothing has changed then.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::postgres::Postgres;
use common::story::{SCHEMA, Story, spoiled};
use common::{DUMP, Running, SOON, Site, assert_same, mode, sh, sha256, tree, write};
use std::fs;

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
                    .run(&format!("restore {name} --yes --trust-dump"))
                    .expect(4, &["damaged"]);
                story.is_unchanged(&lost);
            }
            fs::remove_file(&file).unwrap();
            story
                .site
                .run(&format!("restore {name} --yes --trust-dump"))
                .expect(1, &[file.file_name().unwrap().to_str().unwrap()]);
            story.is_unchanged(&lost);
            fs::write(&file, good).unwrap();
        }
    }
}

/// It is proven while it is loaded: what the server has to say of it comes second.
#[test]
fn a_damaged_dump_is_no_database_when_it_is_all_that_is_wanted() {
    let server = Postgres::here();
    for is_encrypted in [true, false] {
        let story = Story::new(&server, is_encrypted);
        let name = story.site.backup();
        let file = story.site.part(&name, "database");
        let good = fs::read(&file).unwrap();
        story.disaster();
        let lost = story.state();
        let mut bad = good.clone();
        let at = bad.len() - 30;
        bad[at] ^= 1;
        let mut all_bad = vec![bad, good[..good.len() / 2].to_vec(), Vec::new()];
        if !is_encrypted {
            // Right as gzip; for the server wrong, and right.
            for more in ["SELECT no_such_column;", "-- nothing"] {
                sh(&format!("echo '{more}' | gzip >> \"$1\""), &[&file]).expect(0, &[]);
                all_bad.push(fs::read(&file).unwrap());
                fs::write(&file, &good).unwrap();
            }
        }
        for bad in all_bad {
            fs::write(&file, bad).unwrap();
            story
                .site
                .run(&format!(
                    "restore {name} --yes --trust-dump --only database"
                ))
                .expect(4, &["damaged"]);
            story.is_unchanged(&lost);
        }
    }
}

#[test]
fn what_cannot_be_meant_is_said() {
    let server = Postgres::here();
    let mut story = Story::new(&server, false);
    story
        .site
        .run("restore recent --yes --trust-dump")
        .expect(1, &["backup", "No such file"]);
    let name = story.site.backup();
    let lost = story.state();
    story
        .site
        .run("restore site-99 --yes --trust-dump")
        .expect(1, &["no backup named \"site-99\"", &name]);
    story
        .site
        .run(&format!(
            "restore {name} --yes --trust-dump --only everything"
        ))
        .expect(2, &["everything", "database", "security"]);
    story.site.unset("media_dir");
    story
        .site
        .run(&format!("restore {name} --yes --trust-dump"))
        .expect(2, &["media_dir", "--only"]);
    story.site.set("media_dir", "\"media\"");
    story.site.set("config_files", "[]");
    story
        .site
        .run(&format!("restore {name} --yes --trust-dump"))
        .expect(2, &["config_files", "--only"]);
    story.site.set_database("");
    story
        .site
        .run(&format!(
            "restore {name} --yes --trust-dump --only database"
        ))
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
        .run(&format!("restore {name} --yes --trust-dump"))
        .expect(3, &["wrong password"]);
    story.is_unchanged(&lost);
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
        let ran = story
            .site
            .run(&format!("restore {name} --yes --trust-dump"));
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
        let ran = story
            .site
            .run(&format!("restore {name} --yes --trust-dump"));
        assert!(
            !ran.status.success() && ran.said().contains(word),
            "{ran:#?}"
        );
        story.is_unchanged(&lost);
    }
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
        let ran = site.run(&format!("restore {name} --yes --trust-dump --only files"));
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
        .run(&format!("restore {name} --yes --trust-dump --only files"))
        .good();
    for word in ["pipe", "etc", "good"] {
        assert!(ran.stderr.contains(word), "{ran:#?}");
    }
    assert_eq!(fs::read(site.path("media/good")).unwrap(), b"good\n");
    assert_eq!(mode(&site.path("media/good")), 0o755);
    assert!(site.path("media/etc").symlink_metadata().is_err());
    assert!(site.path("media/pipe").symlink_metadata().is_err());
}

/// Names of archives reach the terminal in errors and in warnings.
#[test]
fn a_terminal_does_not_obey_the_names_in_an_archive() {
    let site = Site::new();
    let name = site.backup();
    let evil = "é\x1b]0;owned\x07\x1b[2J\r\u{9b}2J\u{202e}";
    let place = site.path("media").join(evil);
    replace_files(
        &site,
        &name,
        "mkdir -p \"$2\"; cd \"$2\"; echo x >\"$(printf \
         'é\\033]0;owned\\007\\033[2J\\r\\302\\2332J\\342\\200\\256')\"; tar -czf \"$1\" ./é*",
    );
    let restore = format!("restore {name} --yes --trust-dump --only files");
    let [warned, json] = [restore.clone(), restore + " --json"].map(|restore| {
        // What is in the way of a file is renamed, and that is said.
        let _ = fs::remove_file(&place);
        fs::create_dir(&place).unwrap();
        site.run(&restore).good()
    });
    for ran in [&warned, &json] {
        assert!(ran.said().contains('é'), "{ran:#?}");
        assert!(
            !ran.said()
                .contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'),
            "{ran:#?}"
        );
    }
    assert!(
        warned.said().contains("that is now é\\u{1b}]0;owned\\u{7}"),
        "{warned:#?}"
    );
}

/// The list is not sealed.
#[test]
fn a_part_that_was_left_out_of_the_list_is_missed() {
    let site = Site::new();
    let name = site.backup();
    let restore = format!("restore {name} --yes --trust-dump");
    site.run(&restore).good().without(&["warning"]);
    site.edit_catalog(|catalog| {
        for key in ["files", "files_hash", "files_size"] {
            catalog[&name].as_object_mut().unwrap().remove(key);
        }
    });
    site.run(&restore)
        .expect(0, &["warning", &format!("the backup {name} has no files")]);
    site.run(&format!("{restore} --only config,security"))
        .good()
        .without(&["warning"]);
}

#[test]
fn a_second_one_is_told_who_is_busy() {
    let (site, running) = common::busy();
    site.run("restore recent --yes --trust-dump --only files")
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

/// The site could not use what belongs to a superuser; and what may come from anybody gets no such rights.
#[test]
fn a_superuser_restores_for_the_site_and_only_what_is_proven() {
    let server = Postgres::here();
    for is_encrypted in [true, false] {
        let mut story = Story::new(&server, is_encrypted);
        let name = story.site.backup();
        let settings = story.database.settings_of_admin(SCHEMA);
        story.site.set_database(&settings);
        story.disaster();
        let lost = story.state();
        let changed = || story.site.path("").metadata().unwrap().modified().unwrap();
        let before = changed();
        let ran = story
            .site
            .run(&format!("restore {name} --yes --trust-dump"));
        // What is unpacked goes there: not before the server was asked.
        assert_eq!(changed() != before, is_encrypted);
        if is_encrypted {
            ran.good();
            // As the site's own role.
            assert_eq!(story.state().rows, story.before.rows);
            story
                .database
                .sql(r#"INSERT INTO "my ""Site""".rsc (title) VALUES ('next')"#);
        } else {
            ran.expect(
                1,
                &[
                    "nothing proves",
                    "superuser",
                    "the role that the site itself uses",
                ],
            );
            story.is_unchanged(&lost);
            story
                .site
                .run("verify --drill --trust-dump")
                .expect(1, &["nothing proves"]);
        }
        story.is_tidy();
    }
}

/// The backup may be a good one: nobody is to throw it away.
#[test]
fn a_dump_of_another_schema_is_a_wrong_setting_and_no_damage() {
    let server = Postgres::here();
    for is_encrypted in [true, false] {
        let mut story = Story::new(&server, is_encrypted);
        let name = story.site.backup();
        story.disaster();
        let lost = story.state();
        let right = story.database.settings(SCHEMA);
        story.site.set_database(&story.database.settings("mysite"));
        let words = [
            "of the schema",
            "the site's is \"mysite\"",
            r#"set schema to "my \"Site\"" in [database]"#,
            "take the backup of this site",
        ];
        let restore = "restore recent --yes --trust-dump";
        story
            .site
            .run(restore)
            .expect(2, &words)
            .without(&["damaged", "line "]);
        let json = story.site.run(&format!("{restore} --json")).expect(2, &[]);
        assert_eq!(json.json()["error"], "usage");
        story.is_unchanged(&lost);
        // It is whole, whatever the site is.
        story.site.run("verify").expect(0, &["proven"]);
        if is_encrypted {
            story
                .site
                .run("verify --drill --trust-dump")
                .expect(2, &["NOT proven", "was rehearsed"])
                .expect(2, &words)
                .without(&["damaged"]);
            let json = story
                .site
                .run("verify --drill --trust-dump --json")
                .expect(2, &[])
                .json();
            assert_eq!(json[0]["parts"][0]["kind"], "usage");
        }
        // A file that is damaged behind that is damaged.
        let file = story.site.part(&name, "database");
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        let at = bad.len() - 6;
        bad[at] ^= 1;
        fs::write(&file, bad).unwrap();
        story.site.run(restore).expect(4, &["damaged"]);
        fs::write(&file, good).unwrap();

        story.site.set_database(&right);
        story.site.run(restore).good();
        assert!(story.state().rows == story.before.rows);
    }
}
