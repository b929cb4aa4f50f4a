//! What is around a schema that a restore replaces: what depends on it, whom it belongs to, who may use
//! it, and what a dump can do with the rights of the user.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::Scratch;
use common::postgres::{
    Db, has, load_as_admin, loads, loads_of, make_site, role, settings_of, site,
};
use zbackup_core::database::{Purpose, Trust};
use zbackup_core::site::Database;

/// Everything with owners and privileges, without the order of either.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn what_depends_on_it_from_outside_is_named_before_anything_is_changed() {
    let (db, dump) = site();
    let role = role(&db, "other");
    for (make, undo, words) in [
        (
            "CREATE VIEW other.v AS SELECT * FROM site.rsc",
            "DROP VIEW other.v",
            "view other.v",
        ),
        (
            "CREATE TABLE other.t (r int REFERENCES site.rsc (id))",
            "DROP TABLE other.t",
            "t_r_fkey on table other.t",
        ),
        (
            "CREATE TABLE other.t (m site.mood)",
            "DROP TABLE other.t",
            "table other.t",
        ),
        (
            "CREATE TABLE other.t (x int DEFAULT nextval('site.rsc_id_seq'))",
            "DROP TABLE other.t",
            "table other.t",
        ),
        (
            "CREATE TABLE other.t () INHERITS (site.rsc)",
            "DROP TABLE other.t",
            "table other.t",
        ),
        (
            "CREATE FUNCTION other.f(site.rsc) RETURNS int LANGUAGE sql AS 'select 1'",
            "DROP FUNCTION other.f",
            "function other.f",
        ),
        (
            "CREATE PUBLICATION p FOR TABLE site.rsc",
            "ALTER PUBLICATION p DROP TABLE site.rsc; DROP PUBLICATION p",
            "publication of table site.rsc in publication p",
        ),
        (
            "CREATE PUBLICATION p FOR TABLES IN SCHEMA site",
            "DROP PUBLICATION p",
            "publication of schema site in publication p",
        ),
        (
            "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (connect = false, slot_name = NONE);
             INSERT INTO pg_subscription_rel SELECT oid, 'site.rsc'::regclass, 'r' FROM pg_subscription WHERE subname = 's'",
            "DELETE FROM pg_subscription_rel; DROP SUBSCRIPTION s",
            "subscription to table site.rsc",
        ),
        (
            "CREATE FUNCTION site.seen() RETURNS event_trigger LANGUAGE plpgsql AS 'begin end';
             CREATE EVENT TRIGGER seen ON sql_drop EXECUTE FUNCTION site.seen()",
            "DROP EVENT TRIGGER seen; DROP FUNCTION site.seen",
            "event trigger seen",
        ),
        (
            "CREATE FUNCTION site.cast(site.mood) RETURNS int IMMUTABLE LANGUAGE sql AS 'select 1';
             CREATE CAST (site.mood AS int) WITH FUNCTION site.cast",
            "DROP CAST (site.mood AS int); DROP FUNCTION site.cast",
            "cast from site.mood to integer",
        ),
        (
            "CREATE FUNCTION site.cmp(site.mood, site.mood) RETURNS int IMMUTABLE LANGUAGE sql AS 'select 1';
             ALTER OPERATOR FAMILY pg_catalog.text_ops USING btree ADD FUNCTION 1 (site.mood, site.mood) site.cmp(site.mood, site.mood)",
            "ALTER OPERATOR FAMILY pg_catalog.text_ops USING btree DROP FUNCTION 1 (site.mood, site.mood); DROP FUNCTION site.cmp",
            "function 1 (site.mood, site.mood)",
        ),
        (
            "CREATE FUNCTION site.valid(text[], oid) RETURNS bool LANGUAGE sql AS 'select true';
             CREATE FOREIGN DATA WRAPPER w VALIDATOR site.valid",
            "DROP FOREIGN DATA WRAPPER w; DROP FUNCTION site.valid",
            "foreign-data wrapper w",
        ),
        (
            "CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; ALTER EXTENSION hstore ADD FUNCTION site.std()",
            "ALTER EXTENSION hstore DROP FUNCTION site.std(); DROP EXTENSION hstore",
            "extension hstore",
        ),
        (
            &format!("ALTER DEFAULT PRIVILEGES FOR ROLE \"{role}\" IN SCHEMA site GRANT SELECT ON TABLES TO PUBLIC"),
            &format!("ALTER DEFAULT PRIVILEGES FOR ROLE \"{role}\" IN SCHEMA site REVOKE SELECT ON TABLES FROM PUBLIC"),
            &format!("default privileges on new relations belonging to role {role}"),
        ),
    ] {
        if make.contains("TABLES IN SCHEMA") && db.server() < 15 {
            continue;
        }
        db.admin(&format!("CREATE SCHEMA IF NOT EXISTS other; {make}"));
        let before = db.all();
        for purpose in [Purpose::Drill, Purpose::Replace] {
            has(
                &db.load("site", &dump, purpose).unwrap_err(),
                &["depends on it", "Drop that first", words],
            );
        }
        assert!(db.all() == before, "{make}");
        db.admin(undo);
    }
    // What comes with a type is not outside.
    db.sql("CREATE TYPE site.span AS RANGE (subtype = float8)");
    let loaded = db.load("site", &db.dump("site"), Purpose::Replace).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    // Many are not all named.
    for number in 0..13 {
        db.admin(&format!(
            "CREATE VIEW other.v{number} AS SELECT * FROM site.rsc"
        ));
    }
    has(
        &db.load("site", &dump, Purpose::Drill).unwrap_err(),
        &["view other.v0", "and 3 more"],
    );
}

#[test]
fn a_user_who_may_not_is_told_what_it_takes() {
    let (db, dump) = site();
    let role = role(&db, "weak");
    let database = settings_of(&db, &role);
    let drill = || loads(&database, &dump, Purpose::Drill).unwrap_err();
    has(&drill(), &["may not make a schema", "GRANT CREATE"]);
    db.sql(&format!(
        "GRANT CREATE ON DATABASE \"{}\" TO \"{role}\"",
        db.name
    ));
    has(&drill(), &["does not own", "OWNER TO"]);
    // One who just may.
    db.admin(&format!("ALTER SCHEMA site OWNER TO \"{role}\""));
    let loaded = loads(&database, &dump, Purpose::Replace).unwrap();
    let told = &loaded.warnings[0];
    for words in [&db.role, &role, "belongs to", "and 5 more"] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(db.admin("SELECT count(*) FROM site.edge"), "500");
    // One who may act as the owner does.
    let (db, dump) = site();
    let role = self::role(&db, "member");
    db.admin(&format!("GRANT \"{}\" TO \"{role}\"", db.role));
    let loaded = loads(&settings_of(&db, &role), &dump, Purpose::Replace).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(db.sql("SELECT count(*) FROM site.edge"), "500");
    has_connection_words(&db, &dump);
}

fn has_connection_words(db: &Db, dump: &str) {
    let fails = |change: fn(&mut Database), words: &[&str]| {
        let mut database = db.settings("site");
        change(&mut database);
        has(
            &loads(&database, dump, Purpose::Replace).unwrap_err(),
            words,
        );
    };
    let wrong = |database: &mut Database| {
        database.password = Some(zbackup_core::secret::Secret::new(b"wrong".to_vec()))
    };
    fails(wrong, &["not restored", "refuses the user or the password"]);
    fails(
        |database| database.port = 1,
        &["cannot be reached", "is PostgreSQL running"],
    );
    fails(
        |database| database.dbname = "no such".into(),
        &["there is no database no such", "createdb"],
    );
}

/// Whom the relations and functions in a schema belong to, and that itself.
fn owners(db: &Db, schema: &str) -> String {
    db.admin(&format!(
        "SELECT string_agg(DISTINCT owner::regrole::text, ' ') FROM (
            SELECT relowner FROM pg_class WHERE relnamespace = '\"{schema}\"'::regnamespace
            UNION SELECT proowner FROM pg_proc WHERE pronamespace = '\"{schema}\"'::regnamespace
            UNION SELECT typowner FROM pg_type WHERE typnamespace = '\"{schema}\"'::regnamespace) each(owner);
         SELECT nspowner::regrole FROM pg_namespace WHERE nspname = '{schema}'"
    ))
}

#[test]
fn a_superuser_restores_for_the_role_of_the_site() {
    for schema in ["site", "public"] {
        let db = Db::new();
        make_site(&db, schema);
        let dump = db.dump(schema);
        let before = (db.all(), owners(&db, schema));
        db.sql(&format!("DROP TABLE {schema}.edge"));
        let loaded = load_as_admin(&db, schema, &dump).unwrap();
        assert_eq!(loaded.warnings, [""; 0]);
        assert_eq!(owners(&db, schema), before.1);
        assert_eq!(db.all(), before.0);
        db.sql(&format!("INSERT INTO {schema}.edge SELECT FROM {schema}.rsc WHERE false; DROP TABLE {schema}.edge"));

        // Into an empty database, as on a new machine.
        let second = Db::new();
        load_as_admin(&second, schema, &dump).unwrap();
        assert_eq!(
            second.sql(&format!("SELECT count(*) FROM {schema}.edge")),
            "500"
        );
        assert!(owners(&second, schema).starts_with(&format!("\"{}\"\n", second.role)));
    }
    // Where the schema is somebody else's, that stays so; and what is only in it, is the site's from now on.
    let (db, dump) = site();
    let owner = role(&db, "owner");
    db.admin(&format!(
        "ALTER SCHEMA site OWNER TO \"{owner}\"; GRANT USAGE ON SCHEMA site TO \"{}\"; CREATE TABLE site.odd ()",
        db.role
    ));
    let loaded = load_as_admin(&db, "site", &dump).unwrap();
    assert_eq!(owners(&db, "site"), format!("\"{}\"\n\"{owner}\"", db.role));
    assert_eq!(db.sql("SELECT count(*) FROM site.edge"), "500");
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("odd"), "{loaded:?}");
}

#[test]
fn what_only_a_superuser_may_make_is_said_with_the_way_on() {
    let (db, _) = site();
    db.admin(&format!(
        "CREATE OPERATOR FAMILY site.family USING btree; ALTER OPERATOR FAMILY site.family USING btree OWNER TO \"{}\"",
        db.role
    ));
    let dump = db.dump("site");
    let before = db.all();
    has(
        &load_as_admin(&db, "site", &dump).unwrap_err(),
        &[
            "must be superuser",
            "CREATE OPERATOR FAMILY",
            &format!("ALTER ROLE \"{}\" SUPERUSER", db.role),
        ],
    );
    assert!(db.all() == before);
    db.admin(&format!("ALTER ROLE \"{}\" SUPERUSER", db.role));
    load_as_admin(&db, "site", &dump).unwrap();
    assert!(db.all() == before);
}

#[test]
fn who_may_do_what_stays() {
    let db = Db::new();
    make_site(&db, "site");
    let [reader, writer] = ["reader", "writer"].map(|name| role(&db, name));
    db.sql(&format!(
        "SET search_path TO site; CREATE TABLE later (x int); CREATE FUNCTION of(m mood, t rsc[]) RETURNS int LANGUAGE sql AS 'select 1';
         CREATE AGGREGATE middle(float8 ORDER BY float8) (SFUNC = float8pl, STYPE = float8, INITCOND = '0', FINALFUNC = float8pl);
         REVOKE EXECUTE ON FUNCTION middle(float8, float8) FROM PUBLIC; GRANT EXECUTE ON FUNCTION middle(float8, float8) TO \"{writer}\";
         CREATE PROCEDURE done() LANGUAGE sql AS 'select 1'; CREATE DOMAIN word AS text;
         GRANT USAGE ON SCHEMA site TO \"{reader}\", \"{writer}\";
         GRANT SELECT ON recent, \"empty one\" TO \"{reader}\" WITH GRANT OPTION; GRANT INSERT, UPDATE ON rsc TO \"{writer}\";
         GRANT SELECT (id, \"Title \"\"1\"\"\") ON rsc TO \"{reader}\"; GRANT USAGE ON SEQUENCE rsc_id_seq TO \"{writer}\";
         REVOKE EXECUTE ON FUNCTION of FROM PUBLIC; GRANT EXECUTE ON FUNCTION of TO \"{writer}\";
         REVOKE EXECUTE ON PROCEDURE done FROM PUBLIC; REVOKE USAGE ON TYPE mood FROM PUBLIC; GRANT USAGE ON TYPE word TO \"{reader}\";
         ALTER DEFAULT PRIVILEGES IN SCHEMA site GRANT SELECT ON TABLES TO \"{reader}\";
         ALTER DEFAULT PRIVILEGES IN SCHEMA site GRANT EXECUTE ON FUNCTIONS TO \"{writer}\" WITH GRANT OPTION;
         CREATE TABLE secret (x int); REVOKE ALL ON secret FROM \"{reader}\"; CREATE TABLE shown (x int)"
    ));
    let before = db.all();
    let dump = db.dump("site");
    for role in [&reader, &writer] {
        assert!(before.contains(role) && !dump.contains(role));
    }
    let member = role(&db, "member");
    db.admin(&format!("GRANT \"{}\" TO \"{member}\"", db.role));
    for database in [
        db.settings("site"),
        db.settings_of_admin("site"),
        settings_of(&db, &member),
    ] {
        for purpose in [Purpose::Drill, Purpose::Replace] {
            db.sql("CREATE TABLE site.extra (x int)");
            loads_of(&database, &dump, Trust::Authenticated, purpose).unwrap();
            db.sql("DROP TABLE IF EXISTS site.extra");
            assert_eq!(sorted(&db.all()), sorted(&before), "{}", database.user);
        }
    }
    // What is lost altogether is as the default says.
    db.sql("DROP TABLE site.later");
    db.load("site", &dump, Purpose::Replace).unwrap();
    let may = |table: &str| {
        db.sql(&format!(
            "SELECT has_table_privilege('{reader}', 'site.{table}', 'SELECT')"
        ))
    };
    assert_eq!([may("later"), may("secret"), may("shown")], ["t", "f", "t"]);
}

/// A dump whose table runs a program on the server.
fn evil(mark: &str) -> String {
    format!(
        "--\n-- PostgreSQL database dump\n--\n\n\
         CREATE FUNCTION \"site\".\"f\"() RETURNS int LANGUAGE plpgsql AS $$ begin begin execute 'reset role'; \
         exception when others then null; end; \
         execute $x$copy (select 1) to program 'touch {mark}'$x$; return 1; end $$;\n\
         CREATE TABLE \"site\".\"t\" (\"x\" int CHECK (\"site\".\"f\"() = 1));\n\
         COPY \"site\".\"t\" (\"x\") FROM stdin;\n1\n\\.\n\n\
         --\n-- PostgreSQL database dump complete\n--\n\n"
    )
}

#[test]
fn a_dump_that_is_not_proven_gets_no_power_over_the_server() {
    let (db, dump) = site();
    let scratch = Scratch::new();
    std::fs::set_permissions(
        scratch.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let mark = scratch.join("ran");
    let evil = evil(mark.to_str().unwrap());
    let before = db.all();
    let program = role(&db, "program");
    let heir = role(&db, "heir");
    let maker = role(&db, "maker");
    db.admin(&format!(
        "GRANT \"{0}\" TO \"{program}\", \"{heir}\", \"{maker}\"; GRANT pg_execute_server_program TO \"{program}\";
         GRANT \"{program}\" TO \"{heir}\"; ALTER ROLE \"{heir}\" NOINHERIT; ALTER ROLE \"{maker}\" CREATEROLE",
        db.role
    ));
    let admin = db.settings_of_admin("site");
    let is_old = db.server() < 16;
    for (database, words) in [
        (&admin, "is a superuser"),
        (&settings_of(&db, &program), "pg_execute_server_program"),
        (&settings_of(&db, &heir), "pg_execute_server_program"),
        (&settings_of(&db, &maker), "CREATEROLE"),
    ] {
        if words == "CREATEROLE" && !is_old {
            continue; // it gives no other rights any more
        }
        for purpose in [Purpose::Drill, Purpose::Replace] {
            for dump in [&dump, &evil] {
                has(
                    &loads(database, dump, purpose).unwrap_err(),
                    &[
                        words,
                        "nothing proves",
                        "the role that the site itself uses",
                    ],
                );
            }
        }
    }
    // With the rights of the site it is only an error.
    let error = db.load("site", &evil, Purpose::Drill).unwrap_err();
    has(&error, &["pg_execute_server_program", "external program"]);
    assert!(!mark.exists());
    assert!(db.all() == before);
    // Nor with those of a superuser, who acts as the site's role.
    has(
        &loads_of(&admin, &evil, Trust::Authenticated, Purpose::Drill).unwrap_err(),
        &[
            "calls site.f()",
            "is a superuser",
            "the role that the site itself uses",
        ],
    );
    assert!(!mark.exists());
    // It would, if it could.
    let mut psql = db.psql();
    psql.env("PGUSER", &admin.user);
    common::fed(&mut psql, format!("CREATE SCHEMA IF NOT EXISTS site; BEGIN; SET LOCAL ROLE \"{}\"; DROP SCHEMA site CASCADE; CREATE SCHEMA site; {evil} ROLLBACK;", db.role).as_bytes());
    assert!(mark.exists(), "this test sees nothing");
    // What is proven is loaded.
    loads_of(&admin, &dump, Trust::Authenticated, Purpose::Replace).unwrap();
    assert!(db.all() == before);
}
