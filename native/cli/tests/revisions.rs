//! Pruning the revisions of a site from the command line. What is due is tested in the core.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Site;
use common::postgres::{Database, Postgres};

const TABLES: &str = "
    CREATE SCHEMA \"the site\"; SET search_path TO \"the site\";
    CREATE TABLE rsc (id int PRIMARY KEY);
    CREATE TABLE rsc_gone (id bigint, is_personal_data boolean, modified timestamptz);
    CREATE TABLE identity (rsc_id int, type varchar(32));
    CREATE TABLE backup_revision (id bigserial PRIMARY KEY, rsc_id int, created timestamptz);
    CREATE TABLE backup_edge_log (id bigserial PRIMARY KEY, timestamp timestamptz);
    CREATE TABLE backup_medium_log (id bigserial PRIMARY KEY, medium_deleted timestamptz);
    INSERT INTO identity VALUES (2, 'username_pw');
    INSERT INTO backup_revision (rsc_id, created)
        SELECT rsc, now() - months * interval '1 month' + interval '1 day' FROM generate_series(1, 2) rsc, generate_series(0, 24, 6) months";

fn count(database: &Database<'_>) -> String {
    let count = database.sql("SELECT count(*) FROM \"the site\".backup_revision");
    count.trim().to_owned()
}

#[test]
fn revisions_are_counted_and_then_pruned() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(TABLES);
    let mut site = Site::new();
    site.set_database(&database.settings("the site"));

    let counted = site.run("prune-revisions --dry-run").good();
    assert!(
        counted.stdout.contains(": 2 would be deleted")
            && counted.stdout.contains(": 3 would be deleted"),
        "{counted:?}"
    );
    assert_eq!(count(&database), "10");
    let pruned = site.run("prune-revisions --json").good().json();
    assert_eq!(pruned["dry_run"], false);
    assert_eq!(pruned["rules"][0]["rule"], "revisions");
    assert_eq!(pruned["rules"][0]["deleted"], 2);
    assert_eq!(pruned["rules"][1]["rule"], "user_revisions");
    assert_eq!(pruned["rules"][1]["deleted"], 3);
    assert_eq!(count(&database), "5");
    let again = site.run("prune-revisions").good();
    assert!(again.stdout.contains("revisions of users"), "{again:?}");
    assert!(!again.stdout.contains("would"), "{again:?}");

    // A rule that fails is named, and the others are followed.
    database.sql("DROP TABLE \"the site\".identity; DROP TABLE \"the site\".backup_edge_log");
    site.run("prune-revisions")
        .expect(1, &["and then it failed", "identity", "backup_edge_log"]);
}

#[test]
fn what_cannot_be_pruned_says_why() {
    let server = Postgres::here();
    let database = server.database();
    let site = Site::new();
    site.run("prune-revisions").expect(2, &["no database"]);
    let mut site = Site::new();
    site.set_database(&database.settings("public"));
    site.run("prune-revisions")
        .expect(1, &["public", "no table backup_revision"])
        .without(&[&server.password]);
    // The connection is as safe as it is asked to be: this server has no TLS.
    site.env.push(("PGSSLMODE".into(), "require".into()));
    site.run("prune-revisions")
        .expect(1, &["does not support TLS"])
        .without(&[&server.password]);
}
