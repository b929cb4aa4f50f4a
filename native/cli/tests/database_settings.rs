//! Settings of roles, databases and the environment, and encodings: none of them changes a dump or a restore.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Site;
use common::postgres::{Database, Postgres};
use std::path::Path;

fn site(database: &str) -> Site {
    let mut site = Site::with_dump("");
    site.encrypt(true);
    site.set_database(database);
    site
}

/// Rows and comments that settings of a session can spoil.
const CONTENT: &str = r"CREATE SCHEMA site; CREATE TABLE site.t (id int PRIMARY KEY, v text, d date, i interval, f float8, a text[]);
    INSERT INTO site.t VALUES (1, E'back\\slash \' quote', '2026-02-03', '-1 day +02:03:04', 0.1, ARRAY['NULL', NULL]);
    COMMENT ON TABLE site.t IS E'a \\ and a \'';";

/// Runs SQL as a superuser, whatever the database says.
#[track_caller]
fn plain(database: &Database<'_>, sql: &str) -> String {
    let mut options = "-c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off -c datestyle=ISO \
                       -c intervalstyle=postgres -c extra_float_digits=3 -c client_min_messages=warning \
                       -c search_path=pg_catalog -c array_nulls=on -c standard_conforming_strings=on"
        .to_owned();
    if Postgres::here().version() >= 14 {
        options += " -c idle_session_timeout=0";
    }
    let mut psql = std::process::Command::new("psql");
    psql.args([
        "-XqAt",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        sql,
        "-d",
        &database.name,
    ])
    .envs([("PGOPTIONS", &*options), ("PGCLIENTENCODING", "UTF8")]);
    common::run(&mut psql).good().stdout
}

fn content(database: &Database<'_>) -> String {
    plain(
        database,
        "SELECT t, obj_description('site.t'::regclass) FROM site.t ORDER BY id",
    )
}

#[test]
fn settings_of_roles_and_databases_change_nothing() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(CONTENT);
    let before = content(&database);
    let idle = match server.version() {
        14.. => "idle_session_timeout = 1",
        _ => "work_mem = '64kB'",
    };
    for setting in [
        "default_transaction_read_only = on",
        "standard_conforming_strings = off",
        "statement_timeout = 1",
        idle,
        "client_min_messages = 'debug5'",
        "search_path = 'nope'",
        "extra_float_digits = -10",
        "default_transaction_isolation = 'serializable'",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'sql_standard'",
        "array_nulls = off",
        "lock_timeout = 1",
        "client_encoding = 'LATIN1'",
    ] {
        for of in ["ROLE", "DATABASE"] {
            let name = match of {
                "ROLE" => &database.owner,
                _ => &database.name,
            };
            plain(&database, &format!("ALTER {of} \"{name}\" SET {setting}"));
            let site = site(&database.settings("site"));
            site.run("backup").good().without(&["warning"]);
            site.run("verify --drill").good();
            plain(&database, "DELETE FROM site.t");
            site.run("restore recent --yes")
                .good()
                .without(&["warning"]);
            assert_eq!(content(&database), before, "{of} {setting}");
            plain(&database, &format!("ALTER {of} \"{name}\" RESET ALL"));
        }
    }
}

#[test]
fn the_environment_changes_nothing() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(CONTENT);
    let before = content(&database);
    let mut site = site(&database.settings("site"));
    for (name, value) in [
        (
            "PGOPTIONS",
            "-c search_path=nope -c default_transaction_read_only=on",
        ),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGSERVICE", "nowhere"),
        ("PGHOST", "192.0.2.1"),
        ("TMPDIR", "/nonexistent"),
    ] {
        site.env.push((name.into(), value.into()));
    }
    site.backup();
    database.sql("DELETE FROM site.t");
    site.run("restore recent --yes").good();
    assert_eq!(content(&database), before);
    // What libpq has and we have not is said.
    for (name, value, words) in [
        ("PGSSLMODE", "sometimes", "verify-full"),
        ("PGSSLCRL", "/x", "revocation lists"),
        ("PGGSSENCMODE", "require", "GSSAPI"),
        ("PGSSLMODE", "require", "TLS"),
    ] {
        site.env.push((name.into(), value.into()));
        let code = if value == "require" && name == "PGSSLMODE" {
            1
        } else {
            2
        };
        site.run("restore recent --yes").expect(code, &[words]);
        site.env.pop();
    }
}

#[test]
fn the_password_file_of_postgresql_is_read_where_no_password_is_set() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(CONTENT);
    let settings = database.settings("site");
    let without = settings
        .lines()
        .filter(|line| !line.starts_with("password"));
    let mut site = site(&without.map(|line| format!("{line}\n")).collect::<String>());
    let file = site.path("pgpass");
    let password = server.password.replace('\\', "\\\\").replace(':', "\\:");
    common::write(&file, format!("*:*:*:nobody:x\n*:*:*:*:{password}\n"));
    common::set_mode(&file, 0o600);
    site.run("backup")
        .expect(1, &["refuses the user or the password"]);
    site.env
        .push(("PGPASSFILE".into(), file.display().to_string()));
    site.backup();
    site.run("restore recent --yes").good();
    // As libpq has it: one that others may read does not count.
    common::set_mode(&file, 0o644);
    site.run("restore recent --yes")
        .expect(1, &["refuses the user or the password"]);
}

/// A function in a materialized view names a table without its schema. `psql` refuses such a dump.
#[test]
fn functions_that_rely_on_the_search_path_load_at_the_second_try() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(
        "CREATE SCHEMA site; SET search_path = site; CREATE TABLE t (i int); INSERT INTO t SELECT generate_series(1, 10);
         CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql STABLE AS 'SELECT i + (SELECT count(*)::int FROM t)';
         CREATE MATERIALIZED VIEW m AS SELECT f(i) AS v FROM t",
    );
    let site = site(&database.settings("site"));
    site.backup();
    site.run("verify --drill").good();
    database.sql("SET search_path = site; DELETE FROM t; REFRESH MATERIALIZED VIEW m");
    let ran = site.run("restore recent --yes");
    ran.expect(
        0,
        &["warning", "without their schema", "search_path = \"site\""],
    );
    assert_eq!(
        database.sql("SELECT count(*), min(v) FROM site.m"),
        "10|11\n"
    );
}

/// A database in another encoding, whose dump comes back, and into one in UTF-8.
#[test]
fn dumps_in_other_encodings_are_converted() {
    let server = Postgres::here();
    for (encoding, client, text) in [
        ("LATIN1", "LATIN1", "é £ ÿ"),
        ("WIN1252", "WIN1252", "€ é"),
        ("EUC_JP", "EUC_JP", "日本 ソ 表"),
        ("UTF8", "SJIS", "日本 ソ 表 能"),
        ("UTF8", "GBK", "中文 丂"),
    ] {
        let database = server.database_in(encoding);
        let insert = format!(
            "CREATE SCHEMA site; CREATE TABLE site.t (v text DEFAULT '{text}'); INSERT INTO site.t VALUES ('{text}'), (E'tab\\t\\\\');
             COMMENT ON TABLE site.t IS '{text}'"
        );
        database.sql(&insert);
        let all = "SELECT v FROM site.t ORDER BY v; INSERT INTO site.t DEFAULT VALUES RETURNING v;
                   DELETE FROM site.t WHERE ctid = (SELECT max(ctid) FROM site.t);
                   SELECT obj_description('site.t'::regclass)";
        let before = database.sql(all);
        assert!(before.contains(text));
        let mut site = site(&database.settings("site"));
        site.encrypt(false);
        let name = site.backup();
        database.sql("DROP TABLE site.t");
        site.run("restore recent --yes --trust-dump").good();
        assert_eq!(database.sql(all), before, "{encoding}");
        // As somebody else's pg_dump writes it.
        let dump = site.part(&name, "database");
        database.dump_in(client, "site", &dump);
        site.edit_catalog(|catalog| {
            catalog[&name]["database_hash"] = common::sha256(&dump).into();
        });
        database.sql("DROP TABLE site.t");
        site.run("verify").good();
        site.run("restore recent --yes --trust-dump").good();
        assert_eq!(database.sql(all), before, "{client}");
    }
}

/// Nobody knows what the bytes of such a database are: they come back as they were.
#[test]
fn a_database_without_an_encoding_comes_back_byte_by_byte() {
    let server = Postgres::here();
    let database = server.database_in("SQL_ASCII");
    database.sql(
        r"CREATE SCHEMA site; CREATE TABLE site.t (id int, v text);
        DO $$ BEGIN FOR b IN 1..255 LOOP EXECUTE format(
            'INSERT INTO site.t VALUES (%s, E''<\x%s>'')', b, lpad(to_hex(b), 2, '0')); END LOOP; END $$;
        COMMENT ON TABLE site.t IS E'\xe9 it''s a \\'; ALTER TABLE site.t ALTER v SET DEFAULT E'\xe9\\''x';
        DO $$ BEGIN EXECUTE format('CREATE FUNCTION site.f() RETURNS text LANGUAGE sql AS %L', E'SELECT ''\xe9'''); END $$",
    );
    let all = "SELECT md5(obj_description('site.t'::regclass) || site.f()), md5(pg_get_expr(adbin, adrelid)) FROM pg_attrdef
               WHERE adrelid = 'site.t'::regclass; SELECT md5(string_agg(encode(convert_to(v, 'SQL_ASCII'), 'hex'), ',' ORDER BY id)) FROM site.t";
    let before = database.sql(all);
    let site = site(&database.settings("site"));
    site.backup();
    site.run("verify --drill").good();
    database.sql("DELETE FROM site.t");
    site.run("restore recent --yes").good();
    assert_eq!(database.sql(all), before);
}

/// As PostgreSQL wrote them before 9.1, and as a role can still have it.
#[test]
fn a_dump_with_strings_of_the_old_kind_is_loaded() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(CONTENT);
    database.sql(r"ALTER TABLE site.t ALTER v SET DEFAULT E'it\'s a \\'");
    let before = content(&database);
    let mut site = site(&database.settings("site"));
    site.encrypt(false);
    let name = site.backup();
    database.admin(&format!(
        "ALTER ROLE \"{}\" SET standard_conforming_strings = off",
        database.owner
    ));
    let dump = site.part(&name, "database");
    database.dump_in("UTF8", "site", &dump);
    database.admin(&format!("ALTER ROLE \"{}\" RESET ALL", database.owner));
    let text = common::sh("gunzip <\"$1\"", &[&dump]).good().stdout;
    assert!(text.contains("standard_conforming_strings = off"));
    site.edit_catalog(|catalog| {
        catalog[&name]["database_hash"] = common::sha256(&dump).into();
    });
    database.sql("DROP TABLE site.t");
    site.run("verify").good();
    site.run("restore recent --yes --trust-dump").good();
    assert_eq!(content(&database), before);
    assert_eq!(
        database.sql("INSERT INTO site.t (id) VALUES (2) RETURNING v"),
        "it's a \\\n"
    );
}

/// A server of its own, with a certificate.
#[test]
fn tls_is_as_libpq_has_it() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls.sh");
    let ran = common::run(
        std::process::Command::new(scripts.join("with-postgres"))
            .args(["bash".as_ref(), script.as_os_str()])
            .env("ZBACKUP", common::ZBACKUP),
    );
    ran.expect(0, &["all of it is as it should be"]);
}
