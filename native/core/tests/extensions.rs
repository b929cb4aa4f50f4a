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
    // What is in it belongs to a superuser, so it stays, and the tables move: that locks them, which a drill does not.
    has(
        &db.load("public", &dump, Purpose::Drill).unwrap_err(),
        &["the extension", "has to stay", "a drill cannot"],
    );
    db.admin("CREATE SCHEMA other; CREATE TABLE other.t (h public.hstore)");
    let with_other = db.all();
    db.load("public", &dump, Purpose::Replace).unwrap();
    assert_eq!(db.all(), with_other);
    db.admin("DROP SCHEMA other CASCADE");
    // What somebody has put into the extension stays in it.
    db.admin("CREATE FUNCTION public.more() RETURNS int LANGUAGE sql AS 'select 1'; ALTER EXTENSION pg_trgm ADD FUNCTION public.more()");
    db.load("public", &dump, Purpose::Replace).unwrap();
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
    // One that nobody can move stays where it is.
    db.admin("UPDATE pg_extension SET extrelocatable = false WHERE extname = 'hstore'");
    load_as_admin(&db, "public", &dump).unwrap();
    assert_eq!(db.sql("SELECT h->'a' FROM t"), "b");
}

/// An extension that a superuser made in the site's schema is not touched by the restore of the site's role.
#[test]
fn an_extension_of_somebody_else_stays_as_it_is() {
    let db = Db::new();
    db.admin(&format!(
        "CREATE EXTENSION citext SCHEMA public; REVOKE EXECUTE ON FUNCTION public.citext_eq(citext, citext) FROM PUBLIC;
         GRANT EXECUTE ON FUNCTION public.citext_eq(citext, citext) TO \"{}\"",
        db.role
    ));
    make_site(&db, "public");
    db.sql(
        "CREATE TABLE t (a citext PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY); INSERT INTO t VALUES ('A');
         CREATE DOMAIN word AS citext; CREATE TYPE pair AS (a citext, b word);
         CREATE FUNCTION f(p pair) RETURNS text LANGUAGE sql AS 'select $1.a::text';
         CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int); CREATE PROCEDURE proc() LANGUAGE sql AS 'select 1';
         CREATE OPERATOR === (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text);
         CREATE COLLATION mine FROM \"C\"; CREATE STATISTICS stat ON id, mood FROM rsc;
         CREATE TEXT SEARCH CONFIGURATION conf (COPY = simple); CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple);
         CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM rsc; CREATE SEQUENCE lone; SELECT nextval('lone');
         CREATE TABLE parts (n int) PARTITION BY RANGE (n); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (9);
         INSERT INTO parts VALUES (3)",
    );
    let (dump, before) = (db.dump("public"), db.all());
    db.sql("DROP TABLE t, parts; CREATE TABLE later (x int); DROP OPERATOR === (text, text)");
    let loaded = db.load("public", &dump, Purpose::Replace).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    assert!(db.all() == before, "{}", db.all());
    assert_eq!(db.sql("SELECT n FROM t WHERE a = 'a'"), "1");
    assert_eq!(
        db.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'public%'"),
        "1"
    );
}

#[test]
fn who_keeps_tables_from_being_moved_is_named() {
    let db = Db::new();
    make_site(&db, "public");
    db.sql("CREATE EXTENSION pg_trgm; CREATE TABLE t (x text); CREATE INDEX t_trgm ON t USING gin (x gin_trgm_ops)");
    let (dump, before) = (db.dump("public"), db.all());
    let mut session = db.session();
    session.run("SET application_name = 'site worker'; BEGIN; SELECT count(*) FROM t");
    has(
        &db.load("public", &dump, Purpose::Replace).unwrap_err(),
        &[
            "cannot move the old schema out of the way",
            "in use by site worker (PID ",
            "stop the site",
        ],
    );
    session.run("COMMIT");
    assert!(db.all() == before);
    db.load("public", &dump, Purpose::Replace).unwrap();
}
