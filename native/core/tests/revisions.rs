//! What is pruned of the revision log, to the second; and what a site notices of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::postgres::{Db, Talk, variable};
use jiff::{Timestamp, ToSpan};
use zbackup_core::error::{Error, ErrorKind};
use zbackup_core::progress::{Cancel, Monitor, NoProgress};
use zbackup_core::revisions::{Options, Pruned, Retention, Rule, prune};
use zbackup_core::site::Database;

const NOW: &str = "2026-08-31T12:00:00Z";
/// 18 months before, in a month of 28 days.
const MONTHS: &str = "2025-02-28T12:00:00Z";
/// 90 and 30 days before.
const USER: &str = "2026-06-02T12:00:00Z";
const GONE: &str = "2026-08-01T12:00:00Z";

const TABLES: &str = "
    CREATE TABLE rsc (id int PRIMARY KEY);
    CREATE TABLE rsc_gone (id bigint PRIMARY KEY, is_personal_data boolean NOT NULL, modified timestamptz NOT NULL);
    CREATE TABLE identity (id serial PRIMARY KEY, rsc_id int NOT NULL, type varchar(32) NOT NULL);
    CREATE TABLE backup_revision (
        id bigserial PRIMARY KEY, type char(1) NOT NULL DEFAULT 'P', rsc_id int NOT NULL,
        created timestamptz NOT NULL, note varchar(200), data bytea NOT NULL DEFAULT '');
    CREATE INDEX ON backup_revision (rsc_id, created);
    CREATE TABLE backup_edge_log (id bigserial PRIMARY KEY, note text, timestamp timestamptz NOT NULL);
    CREATE TABLE backup_medium_log (id bigserial PRIMARY KEY, note text, medium_deleted timestamptz);
";

/// A schema with a name that must be quoted.
const SCHEMA: &str = "The \"one\" site";

struct Log {
    db: Db,
    talk: Talk,
    database: Database,
}

impl Log {
    fn new() -> Self {
        let db = Db::new();
        let mut talk = db.session();
        let quoted = quoted();
        talk.run(&format!(
            "CREATE SCHEMA {quoted}; SET search_path TO {quoted}; {TABLES}"
        ));
        let database = db.settings(SCHEMA);
        Self { db, talk, database }
    }

    fn sql(&mut self, sql: &str) {
        self.talk.run(sql);
    }

    fn ask(&self, sql: &str) -> String {
        self.db
            .sql(&format!("SET search_path TO {}; {sql}", quoted()))
    }

    fn revision(&mut self, rsc: i32, note: &str, created: &str) {
        self.sql(&format!(
            "INSERT INTO backup_revision (rsc_id, note, created) VALUES ({rsc}, '{note}', '{created}')"
        ));
    }

    fn notes(&self, table: &str) -> Vec<String> {
        let notes = self.ask(&format!("SELECT note FROM {table} ORDER BY id"));
        notes.lines().map(str::to_owned).collect()
    }

    fn count(&self, table: &str) -> i64 {
        let count = self.ask(&format!("SELECT count(*) FROM {table}"));
        count.parse().unwrap()
    }

    fn prune_at(&self, retention: &Retention, now: &str, dry_run: bool) -> Pruned {
        let options = Options {
            dry_run,
            now: Some(now.parse().unwrap()),
        };
        prune(&self.database, retention, options, &Monitor::silent()).unwrap()
    }

    fn prune(&self) -> Pruned {
        self.prune_at(&Retention::default(), NOW, false)
    }
}

fn quoted() -> String {
    format!("\"{}\"", SCHEMA.replace('"', "\"\""))
}

fn deleted(pruned: &Pruned) -> Vec<u64> {
    pruned.rules.iter().map(|rule| rule.deleted).collect()
}

fn second_before(moment: &str) -> String {
    let moment: Timestamp = moment.parse().unwrap();
    moment.checked_sub(1.second()).unwrap().to_string()
}

#[test]
fn each_limit_holds_to_the_second() {
    let mut log = Log::new();
    log.sql(&format!(
        "INSERT INTO rsc VALUES (1), (2), (3), (4);
         INSERT INTO identity (rsc_id, type) VALUES (2, 'username_pw'), (3, 'email');
         INSERT INTO rsc_gone VALUES
            (5, true, '{GONE}'), (6, true, timestamptz '{GONE}' + interval '1 second'),
            (7, false, '{MONTHS}'), (4, true, '{MONTHS}')"
    ));
    // Any page.
    log.revision(1, "page: too old", &second_before(MONTHS));
    log.revision(1, "page: 18 months", MONTHS);
    // Users: with a password, and with an identity that makes no user.
    log.revision(2, "user: too old", &second_before(USER));
    log.revision(2, "user: 90 days", USER);
    log.revision(3, "no user any more", &second_before(USER));
    log.revision(3, "no user, too old", &second_before(MONTHS));
    // One that was deleted and recovered, though Zotonic still says that it is gone.
    log.revision(4, "recovered", USER);
    // Users that were deleted 30 days ago, and a second less.
    log.revision(5, "gone: all of it", NOW);
    log.revision(5, "gone: also this", USER);
    log.revision(6, "gone not so long", NOW);
    log.revision(6, "gone: 90 days", USER);
    log.revision(6, "gone: too old", &second_before(USER));
    // A page that was deleted and held no personal data.
    log.revision(7, "gone page", MONTHS);
    for (table, column) in [
        ("backup_edge_log", "timestamp"),
        ("backup_medium_log", "medium_deleted"),
    ] {
        log.sql(&format!(
            "INSERT INTO {table} (note, {column}) VALUES ('old', timestamptz '{MONTHS}' - interval '1 second'), ('kept', '{MONTHS}')"
        ));
    }
    log.sql("INSERT INTO backup_medium_log (note) VALUES ('there')");

    let counted = log.prune_at(&Retention::default(), NOW, true);
    assert!(counted.dry_run && counted.is_complete());
    assert_eq!(
        log.count("backup_revision"),
        13,
        "a dry run deletes nothing"
    );
    let pruned = log.prune();
    assert!(!pruned.dry_run && pruned.is_complete());
    assert_eq!(deleted(&pruned), [2, 2, 2, 1, 1]);
    assert_eq!(deleted(&counted), deleted(&pruned));
    let before: Vec<i64> = pruned.rules.iter().map(|rule| rule.before).collect();
    let seconds = |moment: &str| moment.parse::<Timestamp>().unwrap().as_second();
    let months = seconds(MONTHS);
    assert_eq!(
        before,
        [months, seconds(USER), seconds(GONE), months, months]
    );
    assert_eq!(
        log.notes("backup_revision"),
        [
            "page: 18 months",
            "user: 90 days",
            "no user any more",
            "recovered",
            "gone not so long",
            "gone: 90 days",
            "gone page"
        ]
    );
    assert_eq!(log.notes("backup_edge_log"), ["kept"]);
    assert_eq!(log.notes("backup_medium_log"), ["kept", "there"]);
    assert_eq!(
        deleted(&log.prune()),
        [0; 5],
        "a second time there is nothing left"
    );
}

#[test]
fn a_dry_run_counts_what_two_rules_want_once() {
    let mut log = Log::new();
    log.sql(
        "INSERT INTO rsc VALUES (1);
         INSERT INTO identity (rsc_id, type) VALUES (1, 'username_pw');
         INSERT INTO rsc_gone VALUES (2, true, '2020-01-01')",
    );
    for rsc in [1, 2] {
        log.revision(rsc, "old", "2020-01-01");
        log.revision(rsc, "not so old", &second_before(USER));
        log.revision(rsc, "new", NOW);
    }
    let counted = log.prune_at(&Retention::default(), NOW, true);
    assert_eq!(deleted(&counted), [2, 2, 1, 0, 0]);
    assert_eq!(deleted(&log.prune()), [2, 2, 1, 0, 0]);
    assert_eq!(log.notes("backup_revision"), ["new"]);
}

#[test]
fn settings_are_followed() {
    let mut log = Log::new();
    log.sql(
        "INSERT INTO rsc VALUES (1), (2);
         INSERT INTO identity (rsc_id, type) VALUES (1, 'oauth'), (2, 'username_pw');
         INSERT INTO rsc_gone VALUES (3, true, '2026-08-30 12:00:00+00')",
    );
    for rsc in [1, 2, 3] {
        log.revision(rsc, &format!("{rsc} month"), "2026-07-31 11:59:59+00");
        log.revision(rsc, &format!("{rsc} days"), "2026-08-30 11:59:59+00");
    }
    let retention: Retention = toml::from_str(
        "revision_retention_months = 1\nuser_revision_retention_days = 1\n\
         user_deletion_retention_days = 1\nuser_identity_types = ['oauth', \"it's {odd}, \\\\\"]",
    )
    .unwrap();
    let pruned = log.prune_at(&retention, NOW, false);
    assert_eq!(deleted(&pruned), [3, 2, 0, 0, 0]);
    assert_eq!(log.notes("backup_revision"), ["2 days"]);
}

#[test]
fn types_of_users_are_texts() {
    let mut log = Log::new();
    log.sql(
        "INSERT INTO rsc VALUES (1); INSERT INTO identity (rsc_id, type) VALUES (1, 'a'';b'), (1, E'\\\\')",
    );
    log.revision(1, "old", "2026-01-01");
    for types in ["[]", "[\"a';b\"]"] {
        let retention: Retention =
            toml::from_str(&format!("user_identity_types = {types}")).unwrap();
        let pruned = log.prune_at(&retention, NOW, false);
        assert!(pruned.is_complete(), "{pruned:?}");
        assert_eq!(deleted(&pruned)[1], u64::from(types != "[]"));
    }
}

#[test]
fn more_than_one_step_is_pruned_and_holes_are_passed() {
    let mut log = Log::new();
    log.sql(
        "INSERT INTO backup_revision (id, rsc_id, created)
            SELECT CASE WHEN n > 2500 THEN n::bigint * 1000000000 ELSE n END, n % 50,
                CASE WHEN n % 2 = 0 THEN timestamptz '2020-01-01' ELSE '2026-08-01' END
            FROM generate_series(1, 5001) n;
         INSERT INTO backup_revision (id, rsc_id, created) VALUES (-9223372036854775807, 1, '2020-01-01')",
    );
    assert_eq!(deleted(&log.prune()), [2501, 0, 0, 0, 0]);
    assert_eq!(log.count("backup_revision"), 2501);
}

#[test]
fn what_another_transaction_holds_is_left_for_the_next_time() {
    let mut log = Log::new();
    for n in 0..5 {
        log.revision(n, "old", "2020-01-01");
    }
    log.sql("BEGIN; SELECT FROM backup_revision WHERE rsc_id = 3 FOR UPDATE");
    assert_eq!(deleted(&log.prune()), [4, 0, 0, 0, 0]);
    log.sql("COMMIT");
    assert_eq!(deleted(&log.prune()), [1, 0, 0, 0, 0]);
}

#[test]
fn a_rule_that_fails_does_not_stop_the_others() {
    let mut log = Log::new();
    log.sql(
        "INSERT INTO rsc_gone VALUES (9, true, '2020-01-01');
         INSERT INTO backup_edge_log (timestamp) VALUES ('2020-01-01');
         DROP TABLE identity; DROP TABLE backup_medium_log",
    );
    log.revision(1, "old", "2020-01-01");
    log.revision(9, "gone", NOW);
    let pruned = log.prune();
    assert!(!pruned.is_complete());
    assert_eq!(deleted(&pruned), [1, 0, 1, 0, 1]);
    let failed: Vec<(Rule, &str)> = pruned
        .rules
        .iter()
        .filter_map(|rule| Some((rule.rule, rule.problem.as_deref()?)))
        .collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    for ((rule, problem), (wanted, words)) in failed.iter().zip([
        (Rule::UserRevisions, "identity"),
        (Rule::MediumLog, "backup_medium_log"),
    ]) {
        assert_eq!(*rule, wanted);
        assert!(problem.contains(words), "{problem}");
    }
}

#[test]
fn a_connection_that_is_lost_is_made_again() {
    let mut log = Log::new();
    log.sql(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid()); RETURN old; END $$;
         CREATE TRIGGER cut BEFORE DELETE ON backup_revision FOR EACH ROW EXECUTE FUNCTION cut();
         INSERT INTO backup_edge_log (timestamp) VALUES ('2020-01-01')",
    );
    log.revision(1, "old", "2020-01-01");
    let pruned = log.prune();
    assert!(pruned.rules[0].problem.is_some());
    assert_eq!(deleted(&pruned), [0, 0, 0, 0, 1]);
    assert_eq!(log.count("backup_revision"), 1);
}

#[test]
fn errors_say_what_is_wrong() {
    let log = Log::new();
    let monitor = Monitor::silent();
    let fails = |database: &Database| {
        let error = prune(
            database,
            &Retention::default(),
            Options::default(),
            &monitor,
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Database, "{error}");
        error.to_string()
    };
    let elsewhere = Database {
        schema: "no such schema".into(),
        ..log.database.clone()
    };
    assert!(fails(&elsewhere).contains("no such schema"));
    let nobody = Database {
        user: "nobody at all".into(),
        ..log.database.clone()
    };
    let said = fails(&nobody);
    assert!(
        said.contains("nobody at all") && said.contains("refuses the user"),
        "{said}"
    );
    assert!(!said.contains(&variable("PGPASSWORD")));
    let down = Database {
        port: 1,
        ..log.database.clone()
    };
    assert!(fails(&down).contains(":1 cannot be reached"));
}

#[test]
fn it_stops_when_it_is_asked_to() {
    let mut log = Log::new();
    log.revision(1, "old", "2020-01-01");
    let cancel = Cancel::default();
    cancel.cancel();
    let monitor = Monitor::new(std::sync::Arc::new(NoProgress), cancel);
    let stopped = prune(
        &log.database,
        &Retention::default(),
        Options::default(),
        &monitor,
    );
    assert!(matches!(stopped, Err(Error::Cancelled)));
    assert_eq!(log.count("backup_revision"), 1);
}
