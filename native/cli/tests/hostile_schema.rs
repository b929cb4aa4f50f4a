//! A schema or a database whose owner prepared it against whoever backs it up.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Site;
use common::postgres::Postgres;

/// Prints what a conversation in text would take for answers, once a name is looked up in this schema.
const FORGED_ANSWERS: &str = r#"
CREATE SCHEMA ex;
CREATE TABLE ex.t (id int PRIMARY KEY, v text);
INSERT INTO ex.t VALUES (1, 'yesterday');
CREATE FUNCTION ex.cat(a text, b text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE token text := a; nl text := chr(10);
BEGIN
  IF a ~ '^z[0-9a-f]{32}$' THEN
    RETURN pg_catalog.concat(token, 'true', nl, token, 'null', nl, token, 'null', nl, token, 'true', nl,
                             token, '["COMMIT; BEGIN"]', nl, repeat(pg_catalog.concat(token, 'true', nl), 40));
  END IF;
  RETURN pg_catalog.concat(a, b);
END $$;
CREATE OPERATOR ex.|| (FUNCTION = ex.cat, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION ex.ix(x text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_catalog.set_config('search_path', 'ex, pg_catalog', false); RETURN x; END $$;
ALTER TABLE ex.t ADD CHECK (ex.ix(v) IS NOT NULL);
"#;

/// Makes a superuser of whoever may, when a superuser's session looks a name up in this schema. `@` is the
/// superuser's name.
const TRAPS: &str = r#"
CREATE SCHEMA ex;
CREATE TABLE ex.t (id int PRIMARY KEY);
CREATE TABLE ex.backup_revision (id bigint, created timestamptz, rsc_id int);
CREATE TABLE ex.backup_medium_log (id bigint, medium_deleted timestamptz);
CREATE TABLE ex.backup_edge_log (id bigint, "timestamp" timestamptz);
CREATE TABLE ex.rsc (id int); CREATE TABLE ex.rsc_gone (id int, is_personal_data boolean, modified timestamptz);
CREATE TABLE ex.identity (rsc_id int, type text);
CREATE FUNCTION ex.spring() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = '@') THEN
    EXECUTE 'CREATE ROLE "@" SUPERUSER';
  END IF;
END $$;
CREATE FUNCTION ex.cat(a text, b text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM ex.spring(); RETURN pg_catalog.concat(a, b); END $$;
CREATE OPERATOR ex.|| (FUNCTION = ex.cat, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION ex.same(a name, b text) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM ex.spring(); RETURN a::text OPERATOR(pg_catalog.=) b; END $$;
CREATE OPERATOR ex.= (FUNCTION = ex.same, LEFTARG = name, RIGHTARG = text);
CREATE FUNCTION ex.to_json(a bigint) RETURNS json LANGUAGE plpgsql AS
  $$ BEGIN PERFORM ex.spring(); RETURN pg_catalog.to_json(a); END $$;
CREATE FUNCTION ex.to_json(a boolean) RETURNS json LANGUAGE plpgsql AS
  $$ BEGIN PERFORM ex.spring(); RETURN pg_catalog.to_json(a); END $$;
CREATE FUNCTION ex.set_config(a text, b text, c boolean) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM ex.spring(); RETURN pg_catalog.set_config(a, b, c); END $$;
CREATE FUNCTION ex.txid_current() RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN PERFORM ex.spring(); RETURN pg_catalog.txid_current(); END $$;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = ex, pg_catalog', current_database()); END $$;
"#;

fn site(database: &str, is_encrypted: bool) -> Site {
    let mut site = Site::with_dump("");
    site.encrypt(is_encrypted);
    site.set_database(database);
    site
}

#[test]
fn a_drill_of_a_prepared_schema_commits_nothing() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(FORGED_ANSWERS);
    let site = site(&database.settings("ex"), true);
    site.backup();
    database.sql("INSERT INTO ex.t VALUES (2, 'today')");
    site.run("verify --drill").good();
    assert_eq!(
        database.sql("SELECT v FROM ex.t ORDER BY id"),
        "yesterday\ntoday\n"
    );
    assert_eq!(
        database.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'ex%'"),
        "1\n"
    );
}

#[test]
fn the_owner_of_a_database_gets_no_power_from_a_superuser_s_commands() {
    let server = Postgres::here();
    for is_encrypted in [true, false] {
        let database = server.database();
        database.sql(&TRAPS.replace('@', &format!("pwn {}", database.name)));
        let site = site(&database.settings_of_admin("ex"), is_encrypted);
        site.backup();
        let pwned = || {
            let roles = format!(
                "SELECT count(*) FROM pg_roles WHERE rolname = 'pwn {}'",
                database.name
            );
            database.admin(&format!("SET search_path = pg_catalog; {roles}"))
        };
        for words in [
            "verify --drill",
            "restore recent --yes",
            "prune-revisions --dry-run",
            "prune-revisions",
        ] {
            site.run(words);
            assert_eq!(pwned(), "0\n", "{words}");
        }
    }
}

/// Functions of a dump that run while a superuser loads it, and the constraint or default that calls them.
const CLIMBERS: [(&str, &str); 5] = [
    ("a CHECK", "CREATE TABLE ex.t (v text CHECK (ex.climb(v) IS NOT NULL))"),
    (
        "a domain",
        "CREATE DOMAIN ex.d AS text CHECK (ex.climb(VALUE) IS NOT NULL); CREATE TABLE ex.t (v ex.d)",
    ),
    (
        "a generated column",
        "CREATE TABLE ex.t (v text, g text GENERATED ALWAYS AS (ex.same(v)) STORED)",
    ),
    (
        "a key of partitions",
        "CREATE TABLE ex.t (v text) PARTITION BY LIST (ex.same(v)); CREATE TABLE ex.p PARTITION OF ex.t DEFAULT",
    ),
    (
        "a function of PostgreSQL",
        "CREATE TABLE ex.t (v text CHECK (pg_catalog.set_config('role', 'none', false) IS NOT NULL),
            w xml CHECK (pg_catalog.query_to_xml('SELECT ex.climb(''x'')', true, true, '') IS NOT NULL))",
    ),
];

#[test]
fn functions_of_a_dump_run_as_nobody_but_the_site_s_role() {
    let server = Postgres::here();
    for (place, table) in CLIMBERS {
        let database = server.database();
        let mark = format!("climbed {}", database.name);
        database.sql(&format!(
            "CREATE SCHEMA ex; CREATE FUNCTION ex.climb(x text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN
                EXECUTE 'RESET SESSION AUTHORIZATION'; EXECUTE 'RESET ROLE';
                IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
                    EXECUTE 'CREATE ROLE \"{mark}\"'; END IF;
                RETURN x; END $f$;
             CREATE FUNCTION ex.same(x text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
                'BEGIN RETURN ex.climb(x); END';
             {table}; INSERT INTO ex.t (v) VALUES ('yesterday')"
        ));
        for settings in [database.settings_of_admin("ex"), database.settings("ex")] {
            let is_admin = settings != database.settings("ex");
            let site = site(&settings, true);
            site.backup();
            let before = database.sql("SELECT v FROM ex.t");
            for words in ["verify --drill", "restore recent --yes"] {
                let ran = site.run(words);
                // A superuser does not load it, the site's role does.
                match is_admin {
                    true => ran.expect(
                        1,
                        &[
                            "the site's own functions",
                            "the role that the site itself uses",
                        ],
                    ),
                    false => ran.good(),
                };
                let climbed = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{mark}'");
                assert_eq!(database.admin(&climbed), "0\n", "{place}, {words}");
                assert_eq!(
                    database.sql("SELECT v FROM ex.t"),
                    before,
                    "{place}, {words}"
                );
            }
        }
    }
}

/// A dump that nobody has sealed moves a sequence of the live site, which no rollback undoes.
#[test]
fn a_dump_of_unknown_origin_takes_consent_and_a_drill_tells_what_it_did() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(
        "CREATE SCHEMA site; CREATE TABLE site.rsc (id serial PRIMARY KEY, v text);
         INSERT INTO site.rsc (v) VALUES ('a'), ('b'), ('c');
         CREATE FUNCTION site.live(v text) RETURNS boolean LANGUAGE plpgsql AS $$ DECLARE s text; BEGIN
            SELECT nspname INTO s FROM pg_catalog.pg_namespace WHERE nspname LIKE 'site\\_before\\_%';
            IF s IS NOT NULL THEN PERFORM pg_catalog.setval(pg_catalog.format('%I.rsc_id_seq', s), 1); END IF;
            RETURN true; END $$;
         ALTER TABLE site.rsc ADD CHECK (site.live(v))",
    );
    let site = site(&database.settings("site"), false);
    let name = site.backup();
    let words = [
        "nothing proves who made",
        "--trust-dump",
        "the database's user",
    ];
    for refused in ["verify --drill", "restore recent --yes"] {
        site.run(refused).expect(2, &words);
    }
    site.run("verify").good();
    assert_eq!(
        database.sql("SELECT last_value FROM site.rsc_id_seq"),
        "3\n"
    );
    site.run("verify --drill --trust-dump").expect(
        1,
        &[
            "was rolled back",
            "set sequences of the site back",
            "setval('\"site\".\"rsc_id_seq\"', 3)",
        ],
    );
    assert_eq!(database.sql("SELECT count(*) FROM site.rsc"), "3\n");
    site.run(&format!("restore {name} --yes --trust-dump"))
        .good();
    assert_eq!(database.sql("SELECT count(*) FROM site.rsc"), "3\n");
}
