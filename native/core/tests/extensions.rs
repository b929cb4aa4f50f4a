//! Extensions in the schema that a restore replaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::postgres::{Db, has, load_as_admin, loads_of, make_site, role};
use zbackup_core::database::{Purpose, Trust};

#[test]
fn extensions_and_privileges_of_the_schema_stay() {
    let db = Db::new();
    make_site(&db, "public");
    let reader = role(&db, "reader");
    db.sql(&format!(
        "CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore; CREATE TABLE t (x text, h hstore);
         INSERT INTO t VALUES ('abc', 'a=>b'); CREATE INDEX t_trgm ON t USING gin (x gin_trgm_ops);
         GRANT USAGE ON SCHEMA public TO \"{reader}\" WITH GRANT OPTION; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    ));
    let privileges =
        "SELECT nspacl::text, nspowner::regrole FROM pg_namespace WHERE nspname = 'public'";
    let (before, acl) = (db.all(), db.sql(privileges));
    let dump = db.dump("public");
    assert!(dump.contains("gin_trgm_ops"));
    // What is in it belongs to a superuser: its owner makes it anew, which a drill cannot.
    has(
        &db.load("public", &dump, Purpose::Drill).unwrap_err(),
        &["the extension", "anew", &db.role, "an encrypted backup"],
    );
    db.admin("CREATE SCHEMA other; CREATE TABLE other.t (h public.hstore)");
    has(
        &db.load("public", &dump, Purpose::Replace).unwrap_err(),
        &["outside", "table other.t"],
    );
    db.admin("DROP SCHEMA other CASCADE");
    // What somebody has put into the extension would not come back.
    db.admin("CREATE FUNCTION public.more() RETURNS int LANGUAGE sql AS 'select 1'; ALTER EXTENSION pg_trgm ADD FUNCTION public.more()");
    has(
        &db.load("public", &dump, Purpose::Replace).unwrap_err(),
        &["an extension", "by hand"],
    );
    assert_eq!(db.sql("SELECT public.more()"), "1");
    db.admin("ALTER EXTENSION pg_trgm DROP FUNCTION public.more(); DROP FUNCTION public.more()");
    db.load("public", &dump, Purpose::Replace).unwrap();
    assert_eq!(db.all(), before);
    assert_eq!(db.sql("SELECT similarity('abc', x) FROM t"), "1");
    let admin = db.settings_of_admin("public");
    for purpose in [Purpose::Drill, Purpose::Replace] {
        loads_of(&admin, &dump, Trust::Authenticated, purpose).unwrap();
        assert_eq!(db.all(), before);
        let sorted = |acl: &str| {
            let mut parts: Vec<_> = acl.split([',', '{', '}', '|']).map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&db.sql(privileges)), sorted(&acl));
        assert_eq!(db.sql("SELECT similarity('abc', x) FROM t"), "1");
    }
    // Tables of an extension would have to be locked.
    db.admin("CREATE EXTENSION pg_buffercache SCHEMA public");
    let error = loads_of(&admin, &dump, Trust::Authenticated, Purpose::Drill).unwrap_err();
    has(&error, &["pg_buffercache", "drill"]);
    load_as_admin(&db, "public", &dump).unwrap();
    assert_eq!(db.sql("SELECT similarity('abc', x) FROM t"), "1");
    // One that cannot be moved by anybody.
    db.admin("UPDATE pg_extension SET extrelocatable = false WHERE extname = 'hstore'");
    has(
        &load_as_admin(&db, "public", &dump).unwrap_err(),
        &["hstore", "PostgreSQL cannot move", "into a new database"],
    );
}

/// Its owner can drop an extension that is a superuser's, and make it again, but not set what a superuser had.
#[test]
fn what_was_set_of_an_extension_that_is_made_anew_is_named() {
    let db = Db::new();
    make_site(&db, "public");
    db.sql("CREATE EXTENSION pg_trgm; CREATE EXTENSION unaccent; CREATE EXTENSION hstore");
    let dump = db.dump("public");
    let warnings = || db.load("public", &dump, Purpose::Replace).unwrap().warnings;
    assert_eq!(warnings(), [""; 0]);
    // As it was, in other words.
    db.admin("GRANT EXECUTE ON FUNCTION public.show_trgm(text) TO PUBLIC");
    assert_eq!(warnings(), [""; 0]);
    db.admin(
        "REVOKE EXECUTE ON FUNCTION public.similarity(text, text) FROM PUBLIC;
         ALTER FUNCTION public.show_limit() COST 77;
         ALTER TEXT SEARCH DICTIONARY public.unaccent (RULES = 'xsyn_sample')",
    );
    let warned = warnings();
    assert_eq!(warned.len(), 1, "{warned:?}");
    for named in [
        "public.similarity(pg_catalog.text,pg_catalog.text) of \"pg_trgm\"",
        "public.show_limit() of \"pg_trgm\"",
        "public.unaccent of \"unaccent\"",
        "a superuser gives it",
    ] {
        assert!(warned[0].contains(named), "{named}: {warned:?}");
    }
    assert!(
        !warned[0].contains("hstore") && !warned[0].contains("show_trgm"),
        "{warned:?}"
    );
}

#[test]
fn who_keeps_an_extension_from_being_made_anew_is_named() {
    let db = Db::new();
    make_site(&db, "public");
    db.sql("CREATE EXTENSION pg_trgm; CREATE TABLE t (x text); CREATE INDEX t_trgm ON t USING gin (x gin_trgm_ops)");
    let (dump, before) = (db.dump("public"), db.all());
    let mut session = db.session();
    session.run("SET application_name = 'site worker'; BEGIN; SELECT count(*) FROM t");
    has(
        &db.load("public", &dump, Purpose::Replace).unwrap_err(),
        &[
            "cannot make an extension of the old schema anew",
            "in use by site worker (PID ",
            "stop the site",
        ],
    );
    session.run("COMMIT");
    assert!(db.all() == before);
    db.load("public", &dump, Purpose::Replace).unwrap();
}
