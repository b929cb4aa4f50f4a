//! Where strings and statements end, and settings that change that.

use super::*;

const OFF: &str = "SET standard_conforming_strings = off;\n";
const ON: &str = "SET standard_conforming_strings = on;\n";

#[test]
fn a_backslash_in_a_string_is_read_as_the_server_reads_it() {
    let escapes = "COMMENT ON TABLE s.t IS 'a\\'; COMMIT; --';\n";
    loads(&format!("{OFF}SET escape_string_warning = off;\n{escapes}"));
    refuses(&format!("{ON}{escapes}"), 2, "COMMIT");
    // Names, bits and dollars have no escapes.
    loads(&format!(
        "{OFF}CREATE TABLE s.\"a\\\" (x bit(8) DEFAULT B'0\\', y text DEFAULT 'a\\''');', z text DEFAULT $$\\$$);\n"
    ));
    loads(&format!("{OFF}{ON}COMMENT ON TABLE s.t IS 'a\\';\n"));
    // What a backslash means in the name of a sequence is not computed.
    refuses_without_first(
        &format!("{OFF}SELECT pg_catalog.setval('s.q\\\\', 1);\n"),
        "SELECT",
    );
    loads(&format!("{OFF}SELECT pg_catalog.setval('s.q', 1);\n"));
}

/// Refused, where nothing was loaded before.
#[track_caller]
fn refuses_without_first(middle: &str, words: &str) {
    let reason = filtered(whole(middle).as_bytes(), &[7]).unwrap_err();
    assert!(reason.contains(words), "{middle}{reason}");
}

#[test]
fn settings_that_change_how_text_is_read_come_first() {
    use Kind::{Encoding, SearchPath, StringsSetting};
    let path = "SELECT pg_catalog.set_config('search_path', '', false);\n";
    let latin = "SET client_encoding = 'LATIN1';\n";
    assert_eq!(
        kinds(&format!("{path}{latin}{OFF}{latin}{OFF}")),
        [
            (1, SearchPath),
            (2, Encoding("LATIN1".into())),
            (3, StringsSetting(false)),
            (4, Encoding("LATIN1".into())),
            (5, StringsSetting(false)),
        ]
    );
    assert_eq!(kinds(ON), [(1, StringsSetting(true))]);
    for (middle, line, words) in [
        (OFF, 1, "changes between statements"),
        (latin, 1, "changes between statements"),
        (
            "SET client_encoding = 'UTF8';\n",
            1,
            "changes between statements",
        ),
        ("SET standard_conforming_strings = x;\n", 1, "not a setting"),
        ("SET standard_conforming_strings = 0;\n", 1, "not a setting"),
    ] {
        refuses(middle, line, words);
    }
    loads(&format!("COMMENT ON TABLE s.t IS NULL;\n{ON}"));
    for (middle, words) in [
        (
            format!("{latin}SET client_encoding = 'UTF8';\n"),
            "the encoding",
        ),
        (
            format!("{OFF}COMMENT ON TABLE s.t IS NULL;\n{ON}"),
            "strings",
        ),
        (format!("COPY s.t FROM stdin;\n\\.\n{OFF}"), "strings"),
    ] {
        refuses_without_first(&middle, words);
    }
    // What is left out is not executed.
    loads_from(
        &format!("CREATE SCHEMA s;\n{latin}{OFF}"),
        &format!("{latin}{OFF}"),
    );
}

#[track_caller]
fn loads_from(middle: &str, expected: &str) {
    let loaded = filtered(whole(middle).as_bytes(), &[3]).unwrap();
    assert_eq!(
        String::from_utf8(loaded).unwrap(),
        format!("{expected}{LAST}")
    );
}

#[test]
fn a_word_glued_to_a_number_is_refused() {
    refuses("CREATE VIEW s.v AS SELECT 1end;\n", 1, "a number");
    // psql 15 and later count no END here, a server of version 14 does.
    for glued in [
        "$1end",
        "$1END",
        "$12_end",
        "$1\u{e9}nd",
        "1e",
        "1e+x",
        "0x1",
        "1_0",
        "1$",
        "1\"x\"",
        "1.2.3",
        "1..2",
    ] {
        let body = format!("SELECT CASE WHEN true THEN {glued}; END;");
        let function = "CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql BEGIN ATOMIC";
        refuses(&format!("{function} {body}\n"), 1, "a number");
    }
    loads("CREATE VIEW s.v AS SELECT 1.5, 1., .5, 1e5, 1E-5, 1.5e+20, a[1:2], $1, 1-1;\n");
    for (digits, is_loaded) in [(150_000, true), (300_000, false)] {
        let dump = whole(&format!(
            "CREATE VIEW s.v AS SELECT {};\n",
            "1".repeat(digits)
        ));
        for piece in [dump.len(), 4096] {
            let loaded = filtered(dump.as_bytes(), &[piece]);
            assert_eq!(loaded.is_ok(), is_loaded, "{loaded:?}");
        }
    }
    refuses(
        &format!("CREATE VIEW s.v AS SELECT {};\n", "x".repeat(1025)),
        1,
        "too long",
    );
    refuses("CREATE VIEW s.v AS SELECT $ 1;\n", 1, "dollar");
}

#[test]
fn a_string_that_goes_on_is_refused() {
    for strings in ["E'a'\n'\\'", "'a'\n'b'", "B'1'\n'0'", "'a' -- x\n'b'"] {
        refuses(
            &format!("CREATE VIEW s.v AS SELECT {strings};\n"),
            2,
            "two strings",
        );
    }
    loads(
        "CREATE VIEW s.v AS SELECT E'a', 'b' || 'c', n'x', B'1', x'f', date '2020-01-01', e'\\''';';\n",
    );
}

#[test]
fn the_body_of_a_function_is_a_part_of_its_statement() {
    for middle in [
        "CREATE FUNCTION s.g() RETURNS integer\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END;\n SELECT 2;\nEND;\n",
        "CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN $1 END; END;\n",
        "CREATE PROCEDURE s.p()\n LANGUAGE sql\n begin atomic\n INSERT INTO s.t VALUES (1);\n DELETE FROM s.t WHERE (CASE WHEN a THEN b END);\nend;\n",
        "CREATE FUNCTION s.begin() RETURNS int LANGUAGE sql AS 'select 1';\n",
        "CREATE RULE r AS\n    ON DELETE TO s.t DO ( DELETE FROM s.u;\n DELETE FROM s.w;\n);\n",
    ] {
        loads(middle);
    }
    refuses(
        "CREATE VIEW s.v AS SELECT BEGIN ATOMIC; COMMIT;\n",
        1,
        "COMMIT",
    );
    refuses(
        "CREATE FUNCTION s.f() BEGIN ATOMIC SELECT 1; END; COMMIT;\n",
        1,
        "COMMIT",
    );
}

#[test]
fn comments_and_empty_statements_are_not_loaded() {
    for middle in [
        "/* a /* nested ; \\! */ ' */ ;\n",
        "-- ' \\! $$ ;\n",
        ";;\n",
    ] {
        loads_from(middle, "");
    }
    loads("COMMENT ON /* ' ; */ TABLE s.t -- ; '\n IS NULL ;\n");
    let kinds = kinds("/*\n*/ COMMENT ON\nTABLE s.t IS NULL;");
    assert_eq!(kinds, [(2, Kind::Other)]);
}
