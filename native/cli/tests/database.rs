//! The dump of the database: what is in it, and what goes wrong.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::postgres::{Postgres, toml};
use common::{DUMP, PATIENCE, Running, Site, noise, sh, tree, write};
use std::path::Path;

/// Rows that are easily spoiled on their way: quotes, tabs, line breaks, backslashes, bytes, NULL and
/// the empty text, JSON, arrays, what a COPY block or a dump ends with.
const ODD: &str = r#"
CREATE SCHEMA "@";
SET search_path TO "@";
CREATE TYPE "Mood ""x""" AS ENUM ('so', 'so;so', '');
CREATE SEQUENCE "seq" START 4242;
CREATE TABLE "rsc" (
    id bigserial PRIMARY KEY, "Title ""1""" text, data bytea, props jsonb, tags text[],
    mood "Mood ""x""", made timestamptz, price numeric, "select" double precision);
CREATE TABLE edge (subject_id bigint REFERENCES rsc(id) ON DELETE CASCADE, predicate varchar(80));
CREATE INDEX "edge %" ON edge (predicate) WHERE predicate <> '';
CREATE VIEW recent AS SELECT id FROM rsc WHERE id > 1;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $_$ BEGIN NEW.made := 'epoch'; RETURN NEW; END $_$;
CREATE TRIGGER touched BEFORE INSERT ON edge FOR EACH ROW WHEN (false) EXECUTE FUNCTION touch();
INSERT INTO rsc ("Title ""1""", data, props, tags, mood, made, price, "select") VALUES
    (E'tab\t cr\r lf\n back\\slash \\. \\N', '\x00ff5c2e0a', '{"a": "\u00e9 \\ \""}', ARRAY['a,b','{}','"',NULL], 'so;so', '2026-11-24 03:00:00.123456+01', 1e-20, 'NaN'),
    (E'--\n-- PostgreSQL database dump complete\n--\n', '', '[]', '{}', '', 'infinity', 99999999999999999999.5, '-Infinity'),
    ('', NULL, 'null', NULL, NULL, '-infinity', NULL, -0.0),
    (E'\\.', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('Ünï¢ödé 日本語 🦀', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO edge SELECT id, 'p' || n FROM rsc, generate_series(1, 500) n;
SELECT setval('seq', 777777);
"#;

/// Everything that is in the schema, as text to compare.
const CONTENT: &str = r#"
SET search_path TO "@"; SET TIME ZONE 'UTC'; SET extra_float_digits TO 3;
SELECT rsc FROM rsc ORDER BY id;
SELECT encode(data, 'hex'), "Title ""1""" IS NULL, data IS NULL, tags FROM rsc ORDER BY id;
SELECT md5(string_agg(edge::text, ',' ORDER BY edge)) , count(*) FROM edge;
SELECT last_value FROM seq;
SELECT count(*) FROM recent;
SELECT enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid WHERE typname = 'Mood "x"' ORDER BY enumsortorder;
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'touched';
SELECT indexdef FROM pg_indexes WHERE schemaname = '@@' ORDER BY 1;
SELECT conname, confdeltype FROM pg_constraint WHERE conrelid = 'edge'::regclass;
SELECT table_name FROM information_schema.tables WHERE table_schema = '@@' ORDER BY 1;
"#;

/// SQL for a schema of this name.
fn of_schema(sql: &str, schema: &str) -> String {
    sql.replace("@@", &schema.replace('\'', "''"))
        .replace("\"@\"", &format!("\"{}\"", schema.replace('"', "\"\"")))
}

fn gunzip(file: &Path) -> String {
    sh("gunzip <\"$1\"", &[file]).good().stdout
}

/// A site with only a database.
fn database_site(lines: &str) -> Site {
    let mut site = Site::with_dump("");
    site.set_database(lines);
    site
}

#[test]
fn a_schema_of_any_name_comes_back_as_it_was_and_nothing_else() {
    let server = Postgres::here();
    for schema in [
        "site",
        "My Site",
        "the \"best\" site",
        "it's",
        "100%_*.?",
        "a.b",
        "a|b(c)[d]$^+{}",
        "back\\slash",
        "-n other",
        "日本",
    ] {
        let database = server.database();
        database.sql(&of_schema(ODD, schema));
        // What patterns could take for the schema that was asked for.
        database.sql(
            "CREATE SCHEMA other; CREATE TABLE other.secret AS SELECT 'strangers'' data' AS x;
             CREATE SCHEMA \"100xxx_yyy.z\"; CREATE TABLE \"100xxx_yyy.z\".secret AS SELECT 'strangers'' data' AS x;
             CREATE SCHEMA \"SITE\"; CREATE TABLE \"SITE\".secret AS SELECT 'strangers'' data' AS x;
             CREATE SCHEMA \"my site\"; CREATE TABLE \"my site\".secret AS SELECT 'strangers'' data' AS x;
             CREATE TABLE public.secret AS SELECT 'strangers'' data' AS x",
        );
        let site = database_site(&database.settings(schema));
        let name = site.backup();
        let dump = site.part(&name, "database");
        let text = gunzip(&dump);
        assert!(
            !text.contains("strangers"),
            "{schema}: other schemas are in the dump"
        );
        let second = server.database();
        second.load(&dump).good();
        let content = of_schema(CONTENT, schema);
        assert_eq!(second.sql(&content), database.sql(&content), "{schema}");
        site.run("verify").expect(0, &["proven"]);
    }
}

#[test]
fn the_schema_public_comes_back_too() {
    let server = Postgres::here();
    let database = server.database();
    database.sql(
        "CREATE TABLE public.rsc AS SELECT n, 'row ' || n AS t FROM generate_series(1, 100) n;
                  CREATE SCHEMA other; CREATE TABLE other.secret AS SELECT 'strangers'' data' AS x",
    );
    let site = database_site(&database.settings("public"));
    let dump = site.part(&site.backup(), "database");
    assert!(!gunzip(&dump).contains("strangers"));
    let second = server.database();
    second.load(&dump).good();
    let content = "SELECT md5(string_agg(rsc::text, ',' ORDER BY n)), count(*) FROM public.rsc";
    assert_eq!(second.sql(content), database.sql(content));
}

#[test]
fn neither_owners_nor_grants_are_in_the_dump() {
    let server = Postgres::here();
    let database = server.database();
    let role = database.role("x");
    database.admin(&format!(
        "CREATE SCHEMA s AUTHORIZATION \"{role}\"; CREATE TABLE s.t (x int); ALTER TABLE s.t OWNER TO \"{role}\";
         GRANT ALL ON s.t TO PUBLIC; GRANT USAGE ON SCHEMA s TO PUBLIC"
    ));
    let site = database_site(&database.settings("s"));
    let text = gunzip(&site.part(&site.backup(), "database"));
    assert!(text.contains("CREATE TABLE \"s\".\"t\""), "{text}");
    for word in ["OWNER", "GRANT", "REVOKE", &role] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}

#[test]
fn any_password_works() {
    let server = Postgres::here();
    for password in [
        "plain",
        "with space",
        " space at both ends ",
        "a:b:c",
        "back\\slash",
        "\\:\\\\::\\",
        "it's \"quoted\" `$(id)`",
        "#not a comment",
        "*",
        "tab\tinside",
        "ünï日本",
        "-W",
    ] {
        let database = server.database();
        let role = database.role(password);
        database.sql("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 'here' AS x");
        let site = database_site(&database.settings_of(&role, password, "s"));
        let ran = site.run("backup");
        assert!(ran.status.success(), "{password:?}: {ran:#?}");
        // It was asked for: another one is refused, and is not shown.
        let site = database_site(&database.settings_of(&role, "s3cr3t-w0rd", "s"));
        site.run("backup")
            .expect(1, &["password authentication failed"])
            .without(&["s3cr3t-w0rd"]);
        assert!(tree(&site.tmp()).is_empty());
    }
}

#[test]
fn settings_of_another_connection_do_not_reach_pg_dump() {
    let server = Postgres::here();
    let database = server.database();
    database.sql("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 'here' AS x");
    let mut site = database_site(&database.settings("s"));
    for (name, value) in [
        ("PGHOST", "nowhere.invalid"),
        ("PGPORT", "1"),
        ("PGUSER", "nobody"),
        ("PGPASSWORD", "wrong"),
        ("PGDATABASE", "nothing"),
        ("PGOPTIONS", "--nonsense=1"),
        ("PGSERVICE", "none"),
        ("PGHOSTADDR", "192.0.2.1"),
    ] {
        site.env.push((name.into(), value.into()));
    }
    assert!(gunzip(&site.part(&site.backup(), "database")).contains("here"));
}

/// A backup that fails says what is wrong, and changes nothing.
#[track_caller]
fn fails(site: &Site, words: &[&str]) {
    let kept = site.kept();
    site.run("backup").expect(1, words);
    kept.check();
}

#[test]
fn what_the_server_refuses_is_said_and_harms_nothing() {
    let server = Postgres::here();
    let database = server.database();
    database.sql("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS x");
    let role = database.role("right");
    let good = database.settings_of(&role, "right", "s");
    let mut site = Site::new();
    site.encrypt(true);
    site.set_database(&good);
    site.backup();

    site.set_database(&good.replace("right", "wrong"));
    fails(
        &site,
        &[
            "password authentication failed",
            &role,
            &server.port,
            "check both",
        ],
    );

    site.set_database(&good.replace("password = \"right\"\n", ""));
    fails(&site, &["no password supplied", "password of the database"]);

    site.set_database(&good.replace(&server.host, "no-such-host.invalid"));
    fails(&site, &["no-such-host.invalid", "cannot be reached"]);

    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    site.set_database(&good.replace(&server.port, &port));
    fails(
        &site,
        &[
            &format!("127.0.0.1:{port}"),
            "cannot be reached",
            "is PostgreSQL running",
            "refused",
        ],
    );

    let gone = good.replace(
        &format!("dbname = \"{}\"", database.name),
        "dbname = \"gone\"",
    );
    assert_ne!(gone, good);
    site.set_database(&gone);
    fails(
        &site,
        &[
            "there is no database gone on ",
            &server.port,
            "make it (createdb --owner ",
            " gone)",
        ],
    );

    site.set_database(&good.replace("schema = \"s\"", "schema = \"Gone %\""));
    fails(&site, &["has no schema Gone %", &database.name]);

    site.set_database(&good.replace("right", "right\\nmore"));
    let kept = site.kept();
    site.run("backup").expect(2, &["line break"]);
    kept.check();

    site.set_database(&good);
    site.run("verify").expect(0, &["proven"]);
}

#[test]
fn a_missing_database_is_not_called_a_missing_server() {
    let server = Postgres::here();
    let database = server.database();
    let settings = database.settings("s").replace(&database.name, "no_such_db");
    let site = database_site(&settings);
    let ran = site
        .run("backup")
        .expect(1, &["no_such_db", "does not exist"]);
    ran.without(&["is PostgreSQL running"]);
}

#[test]
fn a_role_that_may_not_read_a_table_is_said() {
    let server = Postgres::here();
    let database = server.database();
    let role = database.role("x");
    database.admin(&format!(
        "CREATE SCHEMA s; CREATE TABLE s.closed AS SELECT 1 AS x; ALTER ROLE \"{role}\" NOSUPERUSER;
         GRANT USAGE ON SCHEMA s TO \"{role}\""
    ));
    let site = database_site(&database.settings_of(&role, "x", "s"));
    fails(&site, &["permission denied", "closed"]);
}

#[test]
fn a_pg_dump_that_cannot_be_run_is_said() {
    let mut site = Site::new();
    site.backup();
    let settings = |command: &Path| {
        format!(
            "user = \"u\"\ndbname = \"d\"\npg_dump = {}\n",
            toml(command.to_str().unwrap())
        )
    };
    for missing in ["/nowhere/pg_dump", "pg_dump-no-such-version"] {
        site.set_database(&settings(Path::new(missing)));
        fails(
            &site,
            &[missing, "cannot be run", "postgresql-client", "pg_dump"],
        );
    }
    let file = site.path("not-executable");
    write(&file, DUMP);
    site.set_database(&settings(&file));
    fails(&site, &["not-executable", "cannot be run"]);
    let folder = site.path("media");
    site.set_database(&settings(&folder));
    fails(&site, &["media", "cannot be run"]);
}

/// A site with a good backup, whose `pg_dump` is then another.
fn spoiled(script: &str) -> Site {
    let mut site = Site::new();
    site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    site.backup();
    site.fake_dump(script);
    site
}

#[test]
fn a_pg_dump_that_fails_after_plausible_output_is_a_failed_backup() {
    let site = spoiled(&format!(
        "cat <<'EOF'\n{DUMP}EOF\necho 'pg_dump: error: the disk of the server burns' >&2; exit 1"
    ));
    fails(
        &site,
        &[
            "exit status 1",
            "the disk of the server burns",
            "was not dumped",
        ],
    );
}

#[test]
fn a_pg_dump_that_is_killed_half_way_is_a_failed_backup() {
    let site = spoiled("printf -- '--\\n-- PostgreSQL database dump\\n--\\n'; kill -9 $$");
    fails(&site, &["was not dumped", "illed"]);
    // Also when all of the dump is there already.
    let site = spoiled(&format!("cat <<'EOF'\n{DUMP}EOF\nkill -9 $$"));
    fails(&site, &["was not dumped", "illed"]);
}

#[test]
fn a_dump_that_is_not_whole_is_a_failed_backup_whatever_pg_dump_says() {
    let half = DUMP
        .split("-- PostgreSQL database dump complete")
        .next()
        .unwrap();
    let site = spoiled(&format!("cat <<'EOF'\n{half}EOF"));
    fails(&site, &["pg_dump said that it succeeded", "cut off"]);
    fails(
        &spoiled(":"),
        &["pg_dump said that it succeeded", "not a dump"],
    );
    fails(&spoiled("echo 'Usage: something else'"), &["not a dump"]);
    let site = spoiled(&format!("cat <<'EOF'\n{DUMP}COPY x FROM stdin;\nEOF"));
    fails(&site, &["goes on after its end"]);
}

#[test]
fn a_flood_on_stderr_blocks_nothing_and_its_end_is_shown() {
    let flood =
        "i=0; while [ $i -lt 40 ]; do head -c 100000 /dev/zero | tr '\\0' w >&2; i=$((i+1)); done";
    let site = spoiled(&format!(
        "{flood}; echo >&2; echo 'pg_dump: error: the reason at last' >&2; exit 1"
    ));
    let kept = site.kept();
    let ran = site.run("backup").expect(1, &["exit status 1"]);
    kept.check();
    assert!(
        ran.stderr.len() < 200_000,
        "{} bytes are shown",
        ran.stderr.len()
    );
    assert!(
        ran.stderr.contains("the reason at last"),
        "pg_dump says last what went wrong, and that is not shown"
    );
    // A whole dump stays one.
    let site = spoiled(&format!("{flood}\ncat <<'EOF'\n{DUMP}EOF"));
    site.run("backup").good();
}

#[test]
fn what_pg_dump_warns_of_is_shown_and_the_backup_is_good() {
    let site = spoiled(&format!(
        "echo 'pg_dump: warning: there are circular foreign-key constraints' >&2\ncat <<'EOF'\n{DUMP}EOF"
    ));
    site.run("backup")
        .expect(0, &["warning", "circular foreign-key"]);
    let json = site.run("backup --json").good().json();
    assert!(
        json["warnings"][0]
            .as_str()
            .unwrap()
            .contains("circular foreign-key")
    );
}

#[test]
fn a_dump_that_a_restore_would_refuse_is_warned_of_and_kept() {
    let server = Postgres::here();
    let database = server.database();
    // A part of a table that is not the site's.
    database.sql(
        "CREATE SCHEMA s; CREATE SCHEMA other; CREATE TABLE other.whole (x int) PARTITION BY LIST (x);
         CREATE TABLE s.part PARTITION OF other.whole FOR VALUES IN (1)",
    );
    let site = database_site(&database.settings("s"));
    let report = site.run("backup --json").good().json();
    let warning = report["warnings"][0].as_str().unwrap();
    let dump = gunzip(&site.part(report["backup"]["name"].as_str().unwrap(), "database"));
    let lines: Vec<&str> = dump.lines().collect();
    let line = lines
        .iter()
        .position(|line| line.contains("\"other\""))
        .unwrap()
        + 1;
    for words in [
        "a restore would refuse",
        &format!("line {line} of the dump"),
        "of the schema \"other\"",
    ] {
        assert!(warning.contains(words), "{warning}");
    }
    site.run("backup")
        .expect(0, &["warning", "a restore would refuse"]);
    let ran = site.run("restore recent --yes --trust-dump");
    assert!(
        ran.said().contains(&format!("line {line} of the dump")),
        "{ran:#?}"
    );
    database.sql("DROP TABLE s.part");
    site.run("backup").good().without(&["warning"]);
}

#[test]
fn a_terminal_does_not_obey_what_pg_dump_and_the_server_say() {
    let evil = "printf 'pg_dump: \\033]0;owned\\007\\033[2J\\rgone\\n' >&2";
    let site = spoiled(&format!("{evil}; exit 1"));
    let failed = site
        .run("backup")
        .expect(1, &["\\u{1b}]0;owned\\u{7}", "\\rgone"]);
    let site = spoiled(&format!("{evil}\ncat <<'EOF'\n{DUMP}EOF"));
    let warned = site
        .run("backup")
        .expect(0, &["warning", "\\u{1b}]0;owned"]);
    for ran in [failed, warned] {
        assert!(!ran.said().contains(['\u{1b}', '\u{7}', '\r']), "{ran:#?}");
    }
}

#[test]
fn a_server_that_is_newer_than_pg_dump_is_said_in_words() {
    let site = spoiled(
        "echo 'pg_dump: error: aborting because of server version mismatch' >&2
         echo 'pg_dump: detail: server version: 17.2; pg_dump version: 15.18' >&2; exit 1",
    );
    fails(
        &site,
        &[
            "server is newer than pg_dump",
            "install the client",
            "17.2",
            "15.18",
        ],
    );
}

#[test]
fn a_large_dump_passes_through() {
    // Base64 of noise, so that it is large when packed too.
    let mut site = Site::with_dump("");
    let data = site.path("data");
    write(&data, noise(8 << 20, 3));
    site.fake_dump(&format!(
        "printf -- '--\\n-- PostgreSQL database dump\\n--\\nCOPY s.t FROM stdin;\\n'; base64 '{}'; printf -- '\\\\.\\n--\\n-- PostgreSQL database dump complete\\n--\\n'",
        data.display()
    ));
    site.encrypt(true);
    let name = site.backup();
    let verified = site.run("verify --json").good().json();
    assert!(
        verified[0]["parts"][0]["contents"]["bytes"]
            .as_u64()
            .unwrap()
            > 11_000_000
    );
    let dump = site.part(&name, "database");
    let out = site.path("out.sql.gz");
    let decrypt = Running::start(
        site.command(common::ZBACKUP)
            .arg("decrypt")
            .args([&dump, Path::new("-o"), &out])
            .arg("--password-file")
            .arg(site.path("password")),
    );
    decrypt.wait(PATIENCE).good();
    sh(
        "gunzip <\"$1\" | sed '1,4d' | head -n -4 | base64 -d | cmp - \"$2\"",
        &[&out, &data],
    )
    .good();
}
