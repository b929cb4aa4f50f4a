//! A dump that is loaded takes the place of what was there, or nothing has changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::Scratch;
use common::postgres::{BODY, Db, change_site, changed_site as site, end, has, make_site, with};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use zbackup_core::database::{Purpose, Trust, load};
use zbackup_core::error::ErrorKind;
use zbackup_core::progress::Monitor;

fn line_of(dump: &str, text: &str) -> usize {
    let at = dump.find(text).unwrap();
    dump[..at].matches('\n').count() + 1
}

#[test]
fn what_a_dump_holds_takes_the_place_of_what_is_there() {
    for schema in ["site", "the \"best\" it's $a$", "public", &"ü".repeat(31)] {
        let db = Db::new();
        make_site(&db, schema);
        let dump = db.dump(schema);
        let before = db.all();
        db.sql("CREATE SCHEMA other; CREATE TABLE other.kept AS SELECT 'kept' AS x");
        let beside = db.dump("other");
        change_site(&db, schema);
        assert_ne!(db.all(), before);
        let loaded = db.load(schema, &dump, Purpose::Replace).unwrap();
        let tables: Vec<_> = loaded
            .tables
            .iter()
            .map(|table| (table.name.as_str(), table.rows))
            .collect();
        assert_eq!(tables, [("edge", 500), ("empty one", 0), ("rsc", 4)]);
        assert_eq!(loaded.warnings, [""; 0], "{schema}");
        assert_eq!(db.dump("other").len(), beside.len());
        db.sql("DROP SCHEMA other CASCADE");
        assert!(db.all() == before, "{schema}");
        assert_eq!(
            db.sql("SELECT prosrc FROM pg_proc WHERE proname = 'touch'"),
            BODY.trim()
        );

        // Into a database that has no such schema, too.
        let second = Db::new();
        second.load(schema, &dump, Purpose::Replace).unwrap();
        assert!(
            second.all().replace(&second.role, &db.role) == before,
            "{schema}"
        );
    }
}

#[test]
fn a_bad_dump_changes_nothing_and_the_reason_is_said() {
    let (db, dump) = site();
    let scratch = Scratch::new();
    let mark = scratch.join("ran");
    let ran = mark.to_str().unwrap();
    let copy = "COPY \"site\".\"rsc\"";
    let row = "\n2\t\\\\.\t";
    assert!(
        dump.contains(row),
        "{:?}",
        dump.find(copy).map(|at| &dump[at..at + 300])
    );
    let more = |text: &str| with(&dump, text);
    let between = |text: &str| dump.replacen(copy, &format!("{text}\n{copy}"), 1);
    let cases = [
        (
            more("CREATE INDEX \"x\" ON \"site\".\"nothing\" (\"a\");"),
            "CREATE INDEX \"x\"",
            vec!["does not exist", "site.nothing", "CREATE INDEX \"x\""],
        ),
        (
            more("SELECT pg_catalog.setval('site.nothing', 1);"),
            "SELECT pg_catalog.setval('site.nothing",
            vec!["does not exist"],
        ),
        (
            dump.replacen(row, "\nx\t\\\\.\t", 1),
            "\nx\t",
            vec![
                "row 2 of the table \"rsc\"",
                "invalid input syntax",
                "COPY rsc, line 2",
            ],
        ),
        (dump.replacen(row, "\n1\t\\\\.\t", 1), "\n1\tx", vec![]),
        (
            between("\\! touch RAN"),
            "\\! touch RAN",
            vec!["\\!", "psql itself"],
        ),
        (
            between("\\copy site.rsc from RAN"),
            "\\copy",
            vec!["\\copy"],
        ),
        (between("\\o RAN"), "\\o RAN", vec!["\\o"]),
        (
            between("COMMENT ON TABLE site.rsc IS 'x' \\g RAN\n;"),
            "COMMENT ON TABLE site.rsc IS",
            vec!["\\g"],
        ),
        (
            between("COMMIT;"),
            "COMMIT;\nCOPY",
            vec!["COMMIT", "end the transaction"],
        ),
        (
            between("COPY site.rsc TO PROGRAM 'touch RAN';"),
            "COPY site.rsc TO",
            vec!["COPY"],
        ),
        (
            between("COPY site.edge TO 'RAN';"),
            "COPY site.edge TO",
            vec!["COPY"],
        ),
        (
            between("DROP SCHEMA site CASCADE;"),
            "DROP SCHEMA",
            vec!["DROP SCHEMA"],
        ),
        (
            between("ALTER TABLE other.t ADD x int;"),
            "ALTER TABLE other",
            vec!["schema \"other\"", "\"site\""],
        ),
    ];
    let before = db.all();
    for (bad, place, words) in cases {
        let bad = bad.replace("RAN", ran);
        let place = place.replace("RAN", ran);
        for purpose in [Purpose::Replace, Purpose::Drill] {
            let error = db.load("site", &bad, purpose).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Database);
            if !words.is_empty() {
                let line = line_of(&bad, &place) + usize::from(place.starts_with('\n'));
                has(&error, &[&format!("line {line} of the dump")]);
            }
            has(&error, &words);
            assert!(!mark.exists(), "{bad}");
        }
        assert!(db.all() == before, "{place}");
    }
    // A row is lost that the server takes for the end of the data. PostgreSQL 18 refuses it by itself.
    let lost = dump
        .replacen("\np1\n", "\n", 1)
        .replacen("\t1\tp4\n", "\t1\tp4\\.\n", 1);
    assert_ne!(lost, dump);
    let error = db.load("site", &lost, Purpose::Replace).unwrap_err();
    has(&error, &["\"edge\""]);
    if db.server() < 18 {
        has(&error, &["500 rows", "were loaded"]);
    } else {
        has(&error, &["row 4", "end-of-copy marker"]);
    }
    // Of another site.
    let other = Db::new();
    make_site(&other, "elsewhere");
    for options in [
        &["--schema=elsewhere"][..],
        &["--schema=elsewhere", "--quote-all-identifiers"],
    ] {
        let error = db
            .load("site", &other.dump_with(options), Purpose::Replace)
            .unwrap_err();
        has(
            &error,
            &["the dump is of the schema \"elsewhere\", the site's is \"site\""],
        );
    }
    let nothing = format!(
        "{}{}",
        &dump[..dump.find("CREATE SCHEMA").unwrap()],
        &dump[end(&dump)..]
    );
    let error = db.load("site", &nothing, Purpose::Replace).unwrap_err();
    has(&error, &["holds nothing of the site's schema"]);
    make_site(&other, "public");
    let error = db
        .load(
            "site",
            &other.dump_with(&["--schema=public"]),
            Purpose::Replace,
        )
        .unwrap_err();
    has(&error, &["of the schema \"public\"", "\"site\""]);
    assert!(db.all() == before);
}

#[test]
fn a_dump_that_is_cut_off_changes_nothing() {
    let (db, dump) = site();
    let before = db.all();
    let end = dump.trim_end().len();
    let step = end / 40;
    for length in (0..end).step_by(step).chain([end - 1]) {
        let Some(cut) = dump.get(..length) else {
            continue;
        };
        let error = db.load("site", cut, Purpose::Replace).unwrap_err();
        assert!(
            ["cut off", "not a dump"]
                .iter()
                .any(|words| error.to_string().contains(words)),
            "{length}: {error}"
        );
    }
    assert!(db.all() == before);
}

/// In the style of Zotonic's own module, by a newer pg_dump than the server, of a role that is not here.
const FOREIGN: &str = r#"--
-- PostgreSQL database dump
--

\restrict 029C5HROBUb1ymf3hlebIKn1PmF2yd0uFSj1hZWmrc5XrJUozRhVuqCSy5eduLC

-- Dumped from database version 17.12 (Debian 17.12-0+deb13u1)
-- Dumped by pg_dump version 17.12 (Debian 17.12-0+deb13u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA "site";

ALTER SCHEMA "site" OWNER TO "no such role";

SET default_tablespace = '';
SET default_table_access_method = "heap";

CREATE TABLE "site"."rsc" (
    "id" integer NOT NULL,
    "owner to" "text"
);

ALTER TABLE "site"."rsc" OWNER TO "no such role";

COPY "site"."rsc" ("id", "owner to") FROM stdin;
1	ALTER TABLE x OWNER TO y;
2	\N
\.

GRANT USAGE ON SCHEMA "site" TO "no such role";
SET SESSION AUTHORIZATION "no such role";
GRANT SELECT ON TABLE "site"."rsc" TO "no such reader" WITH GRANT OPTION;
RESET SESSION AUTHORIZATION;
REVOKE ALL ON TABLE "site"."rsc" FROM "no such reader";
ALTER DEFAULT PRIVILEGES FOR ROLE "no such role" IN SCHEMA "site" GRANT SELECT ON TABLES TO "no such reader";

--
-- PostgreSQL database dump complete
--

\unrestrict 029C5HROBUb1ymf3hlebIKn1PmF2yd0uFSj1hZWmrc5XrJUozRhVuqCSy5eduLC

"#;

#[test]
fn a_dump_of_zotonics_own_module_is_loaded() {
    let db = Db::new();
    for schema_is_there in [false, true] {
        let loaded = db.load("site", FOREIGN, Purpose::Replace).unwrap();
        assert_eq!(loaded.tables[0].rows, 2, "{schema_is_there}");
        assert_eq!(
            db.sql("SELECT \"owner to\" FROM site.rsc WHERE id = 1"),
            "ALTER TABLE x OWNER TO y;"
        );
    }
    // As pg_dump writes it when nobody tells it how.
    let (db, _) = site();
    let before = db.all();
    let plain = db.dump_with(&["--schema=site"]);
    assert!(plain.contains("OWNER TO"));
    change_site_again(&db);
    db.load("site", &plain, Purpose::Replace).unwrap();
    assert_eq!(db.all(), before);
}

fn change_site_again(db: &Db) {
    db.sql("DELETE FROM site.edge; CREATE TABLE site.again (x int)");
}

/// A place in a dump where something is waited for.
struct Pause<F>(F);

impl<F: Fn()> Read for Pause<F> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        (self.0)();
        Ok(0)
    }
}

#[test]
fn a_drill_disturbs_nobody() {
    let (db, _) = site();
    db.sql("INSERT INTO site.edge (subject_id, p) SELECT 1, repeat('x', 100) FROM generate_series(1, 300000)");
    let dump = db.dump("site");
    db.sql("CREATE TABLE site.written (n serial)");
    let before = db.all();
    let (is_over, count) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut session = db.session();
            // Who waits for the drill would wait for ever: that waits for the writes, see below.
            session.run("SET lock_timeout = '20s'");
            while !is_over.load(Ordering::Relaxed) {
                session.run(
                    "INSERT INTO site.written DEFAULT VALUES; UPDATE site.rsc SET mood = 'so' WHERE id = 2;
                     SELECT count(*) FROM site.recent; CREATE TABLE site.ddl (x int); ALTER TABLE site.edge
                     ALTER p SET DEFAULT 'x'; ALTER TABLE site.edge ALTER p DROP DEFAULT; DROP TABLE site.ddl",
                );
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let some_writes = || {
            let enough = count.load(Ordering::Relaxed) + 4;
            while count.load(Ordering::Relaxed) < enough && !writer.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let (start, rest) = dump.as_bytes().split_at(dump.len() / 2);
        let (middle, last) = rest.split_at(rest.len() - 1);
        let settings = db.settings("site");
        let monitor = Monitor::silent();
        let dump = || {
            Ok(Pause(&some_writes)
                .chain(start)
                .chain(Pause(&some_writes))
                .chain(middle)
                .chain(Pause(&some_writes))
                .chain(last))
        };
        let loaded = load(&settings, Trust::Unproven, Purpose::Drill, dump, &monitor)
            .and_then(|(pending, _)| pending.roll_back());
        is_over.store(true, Ordering::Relaxed);
        writer.join().expect("the drill is in its way");
        let edges = &loaded.unwrap().tables[0];
        assert_eq!((edges.name.as_str(), edges.rows), ("edge", 300_250));
    });
    assert_eq!(
        db.sql("SELECT count(*) FROM site.written"),
        count.load(Ordering::Relaxed).to_string()
    );
    db.sql("TRUNCATE site.written RESTART IDENTITY; UPDATE site.rsc SET mood = NULL WHERE id = 2");
    // The rest is as it was, but for the order of rows.
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert!(sorted(&db.all()) == sorted(&before));
}

#[test]
fn who_uses_the_old_tables_is_named() {
    let (db, dump) = site();
    let before = db.all();
    let mut session = db.session();
    session.run("SET application_name = 'site worker'; BEGIN; SELECT count(*) FROM site.rsc");
    let error = db.load("site", &dump, Purpose::Replace).unwrap_err();
    has(&error, &["in use by site worker (PID ", "is as it was"]);
    session.run("COMMIT");
    assert!(db.all() == before);
    // One who lets go is waited for.
    session.run("BEGIN; SELECT count(*) FROM site.rsc");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(3));
            session.run("COMMIT");
        });
        db.load("site", &dump, Purpose::Replace).unwrap();
    });
}
