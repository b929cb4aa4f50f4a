#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use proptest::prelude::*;

const HEAD: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc123\n\n-- Dumped by pg_dump version 17.12\n\n";
const FOOT: &str = "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc123\n\n";

fn whole(middle: &str) -> String {
    format!("{HEAD}{middle}\nCOMMENT ON SCHEMA s IS NULL;\n{FOOT}")
}

/// What is loaded of a dump that comes in pieces of these lengths, or why it is not.
fn filtered(dump: &[u8], pieces: &[usize]) -> Result<Vec<u8>, String> {
    let mut script = Script::to_load(Schema::of_site("s"));
    let mut loaded = Vec::new();
    let mut rest = dump;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
        rest = after;
        script
            .pass(piece, &mut |part| {
                loaded.extend_from_slice(part);
                Ok(())
            })
            .map_err(|refused: Refused| refused.to_string())?;
    }
    let contents = script.finish()?;
    assert_eq!(contents.bytes, dump.len() as u64);
    // Where this has to be is a test of its own.
    let loaded = String::from_utf8(loaded).unwrap();
    Ok(loaded.replace(RESET, "").into_bytes())
}

const RESET: &str = " SET standard_conforming_strings=on; SET client_encoding='UTF8';";

/// What was executed could have changed how the server reads strings.
#[test]
fn strings_are_read_as_before_after_all_that_was_executed() {
    let middle = "SELECT pg_catalog.set_config('search_path', '', false);\nCOPY s.t FROM stdin;\n1\n\\.\n\n\
                  GRANT x TO y;\nCREATE TABLE s.t AS SELECT 1; CREATE TABLE s.u ();\n";
    let dump = whole(middle);
    let mut script = Script::to_load(Schema::of_site("s"));
    let mut loaded = Vec::new();
    script
        .pass(dump.as_bytes(), &mut |part| {
            loaded.extend_from_slice(part);
            Ok::<_, Refused>(())
        })
        .unwrap();
    let loaded = String::from_utf8(loaded).unwrap();
    for part in [
        format!("false);{RESET}\nCOPY s.t FROM stdin;\n1\n\\.\n{RESET}\n"),
        format!("AS SELECT 1;{RESET} CREATE TABLE s.u ();{RESET}\n"),
    ] {
        assert!(loaded.contains(&part), "{loaded}");
    }
    assert_eq!(loaded.lines().count(), dump.lines().count());
}

#[test]
fn a_variable_of_psql_and_a_word_glued_to_a_number_are_no_words() {
    // As psql counts: `:case` is no CASE, so that the first END ends the function.
    refuses(
        "CREATE FUNCTION s.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT a[1:case when true then 1 end]; END; COMMIT;\n",
        1,
        "would end the transaction",
    );
    refuses("CREATE VIEW s.v AS SELECT 1end;\n", 1, "a number");
}

/// What remains of what is left out.
fn breaks(text: &str) -> String {
    text.chars().filter(|&c| c == '\n').collect()
}

#[track_caller]
fn loads(middle: &str) {
    let dump = whole(middle);
    let loaded = filtered(dump.as_bytes(), &[dump.len()]).unwrap();
    let expected = dump
        .replace("\\restrict abc123", "")
        .replace("\\unrestrict abc123", "");
    assert_eq!(String::from_utf8(loaded).unwrap(), expected);
}

#[track_caller]
fn leaves_out(statement: &str) {
    let dump = whole(&format!(
        "SET row_security = off;\n{statement}\nSET xmloption = content;\n"
    ));
    let loaded = filtered(dump.as_bytes(), &[dump.len()]).unwrap();
    let expected = dump
        .replace("\\restrict abc123", "")
        .replace("\\unrestrict abc123", "")
        .replace(statement, &breaks(statement));
    assert_eq!(String::from_utf8(loaded).unwrap(), expected);
}

/// Refused in this line of the middle, with these words.
#[track_caller]
fn refuses(middle: &str, line: usize, words: &str) {
    let dump = whole(middle);
    let line = HEAD.matches('\n').count() + line;
    for piece in [dump.len(), 1, 7] {
        let reason = filtered(dump.as_bytes(), &[piece])
            .map(|loaded| String::from_utf8_lossy(&loaded).into_owned())
            .unwrap_err();
        assert!(
            reason.starts_with(&format!("line {line} of the dump")) && reason.contains(words),
            "{middle}\n{reason}"
        );
    }
}

#[test]
fn what_pg_dump_writes_is_loaded() {
    for statement in [
        "SET client_encoding = 'UTF8';",
        "SET standard_conforming_strings = on;",
        "SELECT pg_catalog.set_config('search_path', '', false);",
        "SET search_path = s, pg_catalog;",
        "SET default_tablespace = '';",
        "SET default_table_access_method = \"heap\";",
        "CREATE TYPE \"s\".\"t\" AS ENUM (\n    'a;b',\n    'c'\n);",
        "CREATE FUNCTION \"s\".\"f\"() RETURNS \"trigger\"\n    LANGUAGE \"plpgsql\"\n    AS $_$\nbegin\n\\! no\nALTER x OWNER TO y;\ncommit;\n$$;$a$\nend $_$;",
        "CREATE FUNCTION s.g() RETURNS integer\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND;",
        "CREATE PROCEDURE \"s\".\"p\"()\n    LANGUAGE sql AS 'select 1; commit; \\! x';",
        "CREATE OR REPLACE VIEW s.v AS\n SELECT 'GRANT; \\q'::text AS \"x;\"\"\" -- ; \\x '\n;",
        "CREATE UNLOGGED TABLE s.u (a integer DEFAULT 1e5, b text[] DEFAULT '{}'::text[], c int DEFAULT (a)[1:2]);",
        "CREATE UNIQUE INDEX \"i\" ON \"s\".\"t\" USING \"gin\" (\"a\" \"s\".\"gin_trgm_ops\");",
        "CREATE RULE r AS\n    ON DELETE TO s.t DO ( DELETE FROM s.u;\n DELETE FROM s.w;\n);",
        "CREATE CONSTRAINT TRIGGER x AFTER INSERT ON s.t;",
        "CREATE OPERATOR s.+ (FUNCTION = s.f);",
        "CREATE TEXT SEARCH CONFIGURATION s.c (PARSER = pg_catalog.\"default\" );",
        "CREATE FOREIGN TABLE s.ft (a int) SERVER x;",
        "CREATE STATISTICS s.st ON a, b FROM s.t;",
        "ALTER TABLE ONLY \"s\".\"t\" ALTER COLUMN \"owner\" SET DEFAULT 'OWNER TO x';",
        "ALTER TABLE s.t ENABLE ROW LEVEL SECURITY;",
        "ALTER INDEX s.i ATTACH PARTITION s.j;",
        "ALTER SEQUENCE \"s\".\"q\" OWNED BY \"s\".\"t\".\"id\";",
        "ALTER SEQUENCE s.q OWNER TO_;",
        "COMMENT ON TABLE s.t IS 'it''s';",
        "COMMENT ON COLUMN s.t.a IS E'a\\'; \\\\! COMMIT; --';",
        "COMMENT ON SCHEMA s IS NULL;",
        "SELECT pg_catalog.setval('s.q', 5, true);",
        "SELECT pg_catalog.setval('\"s\".\"q.\"\"r\"', -5, false);",
        "SELECT * FROM pg_catalog.pg_restore_relation_stats(\n\t'version', '180000'::integer);",
        "INSERT INTO s.t VALUES (1, 'a', E'\\\\', U, e, \"e\", x'00');",
        "REFRESH MATERIALIZED VIEW s.m;",
        "COPY s.t (a, b) FROM stdin;\n1\t\\\\.\n\\\\.\n\\N\t\\! x\nCOMMIT;\n \\.\n\\.",
        "COPY t FROM stdin;\n\\.",
        "COPY \"s\".\"t\" (\"a;\"\"\", \"from\") FROM stdin; \nx\r\n\\.\r",
        "/* a /* nested ; \\! */ ' */ ;",
        "-- ' \\! $$ ;",
    ] {
        loads(&format!("{statement}\n"));
    }
}

#[test]
fn owners_privileges_and_timeouts_are_left_out() {
    for statement in [
        "ALTER SCHEMA \"s\" OWNER TO \"zotonic\";",
        "ALTER TABLE s.t OWNER TO zotonic;",
        "ALTER TABLE ONLY s.t\n    OWNER TO \"z;\n\";",
        "ALTER FUNCTION \"s\".\"f\"(\"a\" integer, b text)\n OWNER TO x;",
        "ALTER OPERATOR s.+ (integer, integer) OWNER TO x;",
        "ALTER TEXT SEARCH CONFIGURATION s.c OWNER TO x;",
        "GRANT SELECT ON TABLE s.t TO missing, \"other;\";",
        "REVOKE ALL ON SCHEMA s FROM PUBLIC;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE x IN SCHEMA s GRANT SELECT ON TABLES TO y;",
        "SET SESSION AUTHORIZATION \"x\";",
        "RESET SESSION AUTHORIZATION;",
        "SECURITY LABEL FOR x ON TABLE s.t IS ';';",
        "SET transaction_timeout = 0;",
        "SET lock_timeout = 0;",
        "SET statement_timeout = 0;",
        "SET idle_in_transaction_session_timeout = 0;",
        "CREATE SCHEMA s;",
        "CREATE SCHEMA \"s\"  /* ; */ ;",
        "CREATE SCHEMA IF NOT EXISTS \"s\";",
    ] {
        leaves_out(statement);
    }
}

#[test]
fn everything_else_is_refused_with_its_line() {
    for (middle, line, words) in [
        ("\\! touch x\n", 1, "\\!"),
        (
            "\nSET row_security = off;\n\\copy s.t from x\n",
            3,
            "\\copy",
        ),
        ("\\o x\n", 1, "\\o"),
        ("COMMENT ON TABLE s.t IS 'x' \\g x\n;\n", 1, "\\g"),
        ("COMMENT ON TABLE s.t IS 'x'\n\\;\n", 2, "\\;"),
        ("\\restrict other\n", 1, "\\restrict"),
        ("\\unrestrict abc123\n", 1, "\\unrestrict"),
        ("BEGIN;\n", 1, "end the transaction"),
        ("\n  commit;\n", 2, "COMMIT"),
        ("ROLLBACK TO x;\n", 1, "ROLLBACK"),
        ("END;\n", 1, "END"),
        ("abort;\n", 1, "ABORT"),
        ("START TRANSACTION;\n", 1, "START"),
        ("SAVEPOINT x;\n", 1, "SAVEPOINT"),
        ("RELEASE x;\n", 1, "RELEASE"),
        ("PREPARE TRANSACTION 'x';\n", 1, "PREPARE"),
        ("-- x\rCOMMIT;\n", 1, "COMMIT"),
        ("COPY s.t TO stdout;\n", 1, "COPY"),
        ("COPY s.t TO PROGRAM 'x';\n", 1, "COPY"),
        ("COPY s.t FROM PROGRAM 'x';\n", 1, "COPY"),
        ("COPY s.t FROM '/etc/passwd';\n", 1, "COPY"),
        ("COPY s.t FROM stdin WITH (FORMAT csv);\n", 1, "COPY"),
        ("COPY (SELECT 1) TO stdout;\n", 1, "COPY"),
        ("COPY s.t FROM stdin; x\n\\.\n", 1, "follows COPY"),
        ("DO $$ $$;\n", 1, "DO"),
        ("DROP TABLE s.t;\n", 1, "DROP TABLE"),
        ("DELETE FROM s.t;\n", 1, "DELETE"),
        ("SELECT 1;\n", 1, "SELECT"),
        ("SELECT pg_catalog.lo_create('1');\n", 1, "SELECT"),
        (
            "SELECT pg_catalog.set_config('role', 'x', false);\n",
            1,
            "not a setting",
        ),
        (
            "SELECT pg_catalog.setval('s.q', (SELECT 1));\n",
            1,
            "SELECT",
        ),
        ("SET ROLE x;\n", 1, "SET"),
        ("SET LOCAL x = 1;\n", 1, "not a setting"),
        (
            "SET session_replication_role = replica;\n",
            1,
            "not a setting",
        ),
        ("SET standard_conforming_strings = off;\n", 1, "old kind"),
        ("SET client_encoding = 'SJIS';\n", 1, "SJIS"),
        ("ALTER SYSTEM SET x = 1;\n", 1, "ALTER SYSTEM"),
        ("ALTER SCHEMA s RENAME TO t;\n", 1, "ALTER SCHEMA"),
        ("ALTER LARGE OBJECT 1 OWNER TO x;\n", 1, "LARGE"),
        ("CREATE EXTENSION x;\n", 1, "EXTENSION"),
        ("CREATE ROLE x;\n", 1, "ROLE"),
        ("CREATE DATABASE x;\n", 1, "DATABASE"),
        (
            "CREATE EVENT TRIGGER x ON ddl_command_end EXECUTE FUNCTION s.f();\n",
            1,
            "EVENT",
        ),
        (
            "CREATE SCHEMA s CREATE TABLE t (x int);\n",
            1,
            "CREATE SCHEMA",
        ),
        (
            "CREATE SCHEMA other;\n",
            1,
            "of the schema \"other\", the site's is \"s\"",
        ),
        ("CREATE SCHEMA \"S\";\n", 1, "\"S\""),
        (
            "\nCREATE TABLE \"public\".\"t\" (\n    x int\n);\n",
            2,
            "of the schema \"public\"",
        ),
        (
            "ALTER TABLE ONLY other.t ADD x int;\n",
            1,
            "of the schema \"other\"",
        ),
        (
            "COPY Other.t FROM stdin;\n\\.\n",
            1,
            "of the schema \"other\"",
        ),
        (
            "INSERT INTO other.t VALUES (1);\n",
            1,
            "of the schema \"other\"",
        ),
        (
            "SET search_path = other, pg_catalog;\n",
            1,
            "of the schema \"other\"",
        ),
        (
            "SELECT pg_catalog.setval('\"o\"\"t\".q', 1);\n",
            1,
            "of the schema \"o\"t\"",
        ),
        (
            "COMMENT ON SCHEMA other IS 'x';\n",
            1,
            "of the schema \"other\"",
        ),
        ("CREATE TABLE U&\"\\006fther\".t (x int);\n", 1, "U&"),
        (
            "COMMENT ON TABLE s.t IS E'a'\n'\\'; COMMIT; --';\n",
            2,
            "two strings",
        ),
        ("COMMENT ON TABLE s.t IS 1E'\\'; COMMIT; --';\n", 1, "quote"),
        (
            "CREATE FUNCTION s.begin() RETURNS int LANGUAGE sql AS 'select 1'; COMMIT; END;\n",
            1,
            "BEGIN",
        ),
        ("COMMENT ON TABLE s.t IS 'a\0b';\n", 1, "zero byte"),
        ("COPY s.t FROM stdin;\na\0\n\\.\nCOMMIT;\n", 2, "zero byte"),
        ("'x';\n", 1, "not what pg_dump writes"),
    ] {
        refuses(middle, line, words);
    }
}

#[test]
fn a_dump_that_is_cut_off_says_where() {
    for (middle, words) in [
        (
            "COPY s.t FROM stdin;\n1\n",
            "in the data of the table \"t\"",
        ),
        (
            "CREATE TABLE s.t (\n",
            "in the statement that starts in line",
        ),
        ("COMMENT ON TABLE s.t IS '\n", "in the statement"),
        ("CREATE FUNCTION s.f() AS $x$\n", "in the statement"),
        ("/* x\n", "cut off"),
    ] {
        let reason = filtered(format!("{HEAD}{middle}").as_bytes(), &[1000]).unwrap_err();
        assert!(
            reason.contains("cut off") && reason.contains(words),
            "{reason}"
        );
    }
}

#[test]
fn a_dump_of_nothing_does_not_empty_a_site() {
    let dump = format!("{HEAD}SET row_security = off;\n{FOOT}");
    let reason = filtered(dump.as_bytes(), &[7]).unwrap_err();
    assert!(reason.contains("nothing of the site's schema"), "{reason}");
    check_dump(dump.as_bytes()).unwrap();
}

#[test]
fn rows_are_counted_and_lines_are_found() {
    let middle = "CREATE TABLE s.t (\n  x int\n);\n\nCOPY s.t FROM stdin;\n1\n2\n\\\\.\n\\.\n\nCOPY s.\"U\" FROM stdin;\n\\.\n";
    for piece in 1..40 {
        let dump = whole(middle);
        let mut script = Script::to_load(Schema::of_site("s"));
        for piece in dump.as_bytes().chunks(piece) {
            script.pass(piece, &mut |_| Ok::<_, Refused>(())).unwrap();
        }
        script.finish().unwrap();
        let rows: Vec<_> = script
            .rows()
            .iter()
            .map(|(name, &rows)| (name.as_str(), rows))
            .collect();
        assert_eq!(rows, [("U", 0), ("t", 3)]);
        let head = HEAD.matches('\n').count() as u64;
        let passed = |line| script.passed(head + line).unwrap();
        assert_eq!(passed(3).line, head + 1);
        assert_eq!(passed(3).start, "CREATE TABLE s.t (");
        assert_eq!(passed(9).table.as_deref(), Some("t"));
        assert_eq!(passed(9).data, head + 6);
    }
}

/// Text of any kind, in which the marks of SQL are frequent.
fn noise() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            Just("'"),
            Just("\""),
            Just("\\"),
            Just("$"),
            Just("$$"),
            Just("$a$"),
            Just("--"),
            Just("/*"),
            Just("*/"),
            Just(";"),
            Just("\n"),
            Just("\\.\n"),
            Just("\n\\."),
            Just("("),
            Just(")"),
            Just("E'"),
            Just("COMMIT;"),
            Just("GRANT x;"),
            Just("\\! x\n"),
            Just("é"),
            Just(" "),
            Just("abc"),
            Just("0"),
            Just("\r"),
            Just("ALTER TABLE s.t OWNER TO x;"),
        ],
        0..12,
    )
    .prop_map(|parts| parts.concat())
}

/// A piece of SQL that is no statement: it says nothing of what that does.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        noise().prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        noise().prop_map(|text| format!("E'{}',", text.replace('\\', "\\\\").replace('\'', "\\'"))),
        noise().prop_map(|text| format!("\"{}\"", text.replace('"', "\"\""))),
        noise().prop_map(|text| format!("$body$ {text}$body$")),
        noise().prop_map(|text| format!("$$ {} $$", text.replace('$', ""))),
        noise().prop_map(|text| format!("/* {} */", text.replace(['*', '/'], ""))),
        noise().prop_map(|text| format!("--{}\n", text.replace(['\n', '\r'], ""))),
        Just("( a; /*;*/ b )".to_owned()),
        "[a-z_é][a-z0-9_$]{0,9}".prop_map(|word| format!(" {word} ")),
        "[0-9]{1,4}([.][0-9])? ",
        "[ \n\t+*=<>,.:]",
    ]
}

/// A piece of a dump, and what is loaded of it.
fn piece() -> impl Strategy<Value = (String, String)> {
    let same = |text: String| (text.clone(), text);
    let gone = |text: String| {
        let breaks = breaks(&text);
        (text, breaks)
    };
    let values = || prop::collection::vec(value(), 0..6).prop_map(|values| values.join(" "));
    prop_oneof![
        values().prop_map(move |values| same(format!("CREATE TABLE s.t ({values});"))),
        values().prop_map(move |values| same(format!("INSERT INTO s.t VALUES ({values});"))),
        values().prop_map(move |values| same(format!("CREATE VIEW s.t AS x {values};"))),
        values().prop_map(move |values| same(format!("COMMENT ON TABLE s.t IS {values};"))),
        values().prop_map(move |values| same(format!("ALTER TABLE s.t x {values} y;"))),
        values().prop_map(move |values| gone(format!("GRANT x {values};"))),
        noise().prop_map(move |name| gone(format!(
            "ALTER TABLE s.t\nOWNER TO \"{}\";",
            name.replace('"', "\"\"")
        ))),
        prop::collection::vec(noise(), 0..5).prop_map(move |rows| {
            let rows: String = rows
                .iter()
                .map(|row| row.replace('\\', "\\\\") + "\n")
                .collect();
            same(format!("COPY s.t FROM stdin;\n{rows}\\.\n"))
        }),
        noise().prop_map(move |text| same(format!("-- {}\n", text.replace(['\n', '\r'], "")))),
        Just(same("\n\n".into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_sql_passes_in_any_pieces(
        pieces in prop::collection::vec(piece(), 0..8),
        lengths in prop::collection::vec(1..50_usize, 1..20),
    ) {
        let join = |part: fn(&(String, String)) -> &str| -> String {
            pieces.iter().map(|piece| format!("{}\n", part(piece))).collect()
        };
        let dump = whole(&join(|piece| &piece.0));
        let expected = whole(&join(|piece| &piece.1))
            .replace(HEAD, &HEAD.replace("\\restrict abc123", ""))
            .replace(FOOT, &FOOT.replace("\\unrestrict abc123", ""));
        let loaded = filtered(dump.as_bytes(), &lengths);
        prop_assert_eq!(loaded.map(|loaded| String::from_utf8(loaded).unwrap()), Ok(expected));
    }

    /// No bytes are too much, and what is said of them does not depend on how they come.
    #[test]
    fn pieces_do_not_matter(
        text in prop::collection::vec(prop_oneof![noise(), value(), piece().prop_map(|piece| piece.0)], 0..8),
        lengths in prop::collection::vec(1..9_usize, 1..9),
    ) {
        let dump = whole(&text.concat());
        let at_once = filtered(dump.as_bytes(), &[dump.len()]);
        prop_assert_eq!(filtered(dump.as_bytes(), &lengths), at_once);
    }
}
