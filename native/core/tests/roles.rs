//! Roles and policies that stand between a restore and the tables that it makes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::postgres::{load_as_admin, loads_of, role, settings_of, site, with};
use zbackup_core::database::{Purpose, Trust};

/// Policies that hold for the owner of a table too hide no row from the count.
#[test]
fn rows_that_a_policy_hides_from_the_owner_are_counted() {
    let (db, _) = site();
    db.sql(
        "SET search_path TO site; CREATE POLICY few ON edge USING (id < 3);
         ALTER TABLE edge ENABLE ROW LEVEL SECURITY; ALTER TABLE edge FORCE ROW LEVEL SECURITY;
         CREATE TABLE open (x int); ALTER TABLE open FORCE ROW LEVEL SECURITY",
    );
    let (dump, before) = (db.dump("site"), db.all());
    let rows = |loaded: zbackup_core::database::Loaded| {
        let edge = loaded.tables.iter().find(|table| table.name == "edge");
        edge.unwrap().rows
    };
    for database in [db.settings("site"), db.settings_of_admin("site")] {
        for purpose in [Purpose::Drill, Purpose::Replace] {
            let loaded = loads_of(&database, &dump, Trust::Authenticated, purpose).unwrap();
            assert_eq!(rows(loaded), 500, "{}", database.user);
            assert!(db.all() == before, "{}", database.user);
        }
    }
}

/// What is temporary would be found before the catalog of the server: a function of a dump can make it.
#[test]
fn a_dump_does_not_say_what_was_loaded() {
    let (db, dump) = site();
    let dump = with(
        &dump,
        "CREATE FUNCTION site.lie() RETURNS int LANGUAGE plpgsql AS $$BEGIN
            EXECUTE 'CREATE TEMP TABLE pg_class ON COMMIT DROP AS SELECT oid, relname, relnamespace, relkind,
                relowner, relacl, relrowsecurity, relforcerowsecurity
                FROM pg_catalog.pg_class WHERE relname <> ' || quote_literal('edge');
            RETURN 1; END$$;
         CREATE TABLE site.lied (x int CHECK (site.lie() = x)); INSERT INTO site.lied VALUES (1);",
    );
    for purpose in [Purpose::Drill, Purpose::Replace] {
        let loaded = db.load("site", &dump, purpose).unwrap();
        let names: Vec<_> = loaded.tables.iter().map(|table| &*table.name).collect();
        assert_eq!(names, ["edge", "empty one", "lied", "rsc"]);
    }
}

/// Since PostgreSQL 16 a role can have the rights of another one and not be allowed to act as it.
#[test]
fn a_member_that_cannot_act_as_the_owner_restores_as_itself() {
    let (db, dump) = site();
    if db.server() < 16 {
        eprintln!("skipped: this server has no such members");
        return;
    }
    let member = role(&db, "member");
    db.admin(&format!(
        "GRANT \"{}\" TO \"{member}\" WITH INHERIT TRUE, SET FALSE",
        db.role
    ));
    let loaded = loads_of(
        &settings_of(&db, &member),
        &dump,
        Trust::Authenticated,
        Purpose::Replace,
    );
    let warnings = loaded.unwrap().warnings;
    assert!(
        warnings[0].contains("what belonged to") && warnings[0].contains(&member),
        "{warnings:?}"
    );
    assert_eq!(
        db.admin("SELECT tableowner FROM pg_tables WHERE tablename = 'rsc'"),
        member
    );
}

/// They are another program's to understand, and a superuser's to give.
#[test]
fn security_labels_that_are_left_out_are_told() {
    let (db, dump) = site();
    let label =
        "SECURITY LABEL FOR \"selinux\" ON TABLE \"site\".\"rsc\" IS 'system_u:object_r:x_t:s0';\n";
    let loaded = load_as_admin(&db, "site", &with(&dump, &label.repeat(2))).unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    let told = ["security labels are not restored", "has 2"];
    assert!(
        told.iter().all(|words| loaded.warnings[0].contains(words)),
        "{:?}",
        loaded.warnings
    );
}
