#![allow(clippy::unwrap_used, clippy::panic)]

mod properties;

use super::*;

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
    // psql 15 and later count no END here, a server of version 14 does.
    for glued in ["$1end", "$1END", "$12_end", "$1\u{e9}nd"] {
        let body = format!("SELECT CASE WHEN true THEN {glued}; END;");
        let function = "CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql BEGIN ATOMIC";
        refuses(&format!("{function} {body}\n"), 1, "a number, and a word");
    }
    loads(
        "CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN $1 END; END;\n",
    );
}

/// What remains of what is left out.
fn breaks(text: &str) -> String {
    text.chars().filter(|&c| c == '\n').collect()
}

#[track_caller]
pub(in crate::database) fn loads(middle: &str) {
    let dump = whole(middle);
    let loaded = filtered(dump.as_bytes(), &[dump.len()]).unwrap();
    let expected = dump
        .replace("\\restrict abc123", "")
        .replace("\\unrestrict abc123", "");
    assert_eq!(String::from_utf8(loaded).unwrap(), expected);
}

#[track_caller]
pub(in crate::database) fn leaves_out(statement: &str) {
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
pub(in crate::database) fn refuses(middle: &str, line: usize, words: &str) {
    // After it has turned out to be of the site.
    let dump = whole(&format!("COMMENT ON SCHEMA s IS NULL;\n{middle}"));
    let line = HEAD.matches('\n').count() + 1 + line;
    for piece in [dump.len(), 1, 7] {
        let reason = filtered(dump.as_bytes(), &[piece])
            .map(|loaded| String::from_utf8_lossy(&loaded).into_owned())
            .unwrap_err();
        assert!(
            reason.starts_with(&format!("line {line} of the dump")) && reason.contains(words),
            "{middle}\n{reason}"
        );
        // A backup hears the same of it.
        let (_, refusal) = watched(dump.as_bytes(), piece);
        assert_eq!(refusal.as_ref(), Some(&reason));
    }
}

/// What comes of watching a dump, and what is remembered of it.
fn watched(dump: &[u8], piece: usize) -> (Result<Contents, String>, Option<String>) {
    let mut script = Script::watched(Schema::of_site("s"));
    let passed: Result<(), Refused> = dump
        .chunks(piece)
        .try_for_each(|piece| script.pass(piece, &mut |_| Ok(())));
    let end = passed.map_err(|refused| refused.to_string());
    let end = end.and_then(|()| script.finish());
    (end, script.refusal().map(Refused::to_string))
}

#[test]
fn what_would_be_refused_does_not_keep_a_dump_from_being_whole() {
    let middle = "COPY s.t FROM stdin;\n1\n\\.\n\nCOMMENT ON TABLE s.t IS 'it''s; --';\nALTER TABLE x.t ADD y int;\n\
                  CREATE FUNCTION s.begin() RETURNS int AS 'select 1';\nDROP TABLE s.t;\n\\! x\n";
    let dump = whole(middle);
    let line = HEAD.matches('\n').count() + 6;
    for piece in [dump.len(), 1, 7] {
        let (end, refusal) = watched(dump.as_bytes(), piece);
        assert_eq!(end.unwrap().bytes, dump.len() as u64);
        let said = refusal.unwrap();
        let start =
            format!("line {line} of the dump is not loaded: the dump is of the schema \"x\"");
        assert!(said.starts_with(&start), "{said}");
        // What is not whole is not.
        for length in 0..dump.trim_end().len() {
            watched(&dump.as_bytes()[..length], piece).0.unwrap_err();
        }
    }
    let nothing = format!("{HEAD}SET row_security = off;\n{FOOT}");
    let (end, refusal) = watched(nothing.as_bytes(), 7);
    end.unwrap();
    assert!(refusal.unwrap().contains("nothing of the site's schema"));
    assert_eq!(watched(whole("").as_bytes(), 7).1, None);
}

/// It may be a good one: that is no damage, and not about a line.
#[test]
fn a_dump_of_another_site_is_told_from_one_that_goes_astray() {
    for middle in [
        "CREATE SCHEMA \"the \x1b other\";\n",
        "CREATE TABLE \"the \x1b other\".t (x int);\n",
        "SELECT pg_catalog.setval('\"the \x1b other\".t', 1, true);\n",
    ] {
        let error = check_script(whole(middle).as_bytes(), "s").unwrap_err();
        let error = error.of(std::path::Path::new("x"));
        assert!(matches!(error, Error::Usage(_)), "{error:?}");
        assert_eq!(
            error.to_string(),
            "the dump is of the schema \"the \\u{1b} other\", the site's is \"s\": set schema to \
             \"the \\u{1b} other\" in [database] (dbschema in Zotonic), or take the backup of this site"
        );
        let own = format!("CREATE SCHEMA s;\n{middle}");
        let error = check_script(whole(&own).as_bytes(), "s").unwrap_err();
        let error = error.of(std::path::Path::new("x"));
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    }
}

/// Of a dump with so many mebibytes between these.
fn long(before: &str, mebibytes: usize, after: &str) -> Result<Contents, String> {
    let mut script = Script::to_load(Schema::of_site("s"));
    let mut pass = |part: &[u8]| {
        let passed: Result<(), Refused> = script.pass(part, &mut |_| Ok(()));
        passed.map_err(|refused| refused.to_string())
    };
    pass(format!("{HEAD}COMMENT ON SCHEMA s IS NULL;\n\n{before}").as_bytes())?;
    let block = vec![b'x'; 1 << 20];
    for _ in 0..mebibytes {
        pass(&block)?;
    }
    pass(format!("{after}\n{FOOT}").as_bytes())?;
    script.finish()
}

/// `psql` holds all of a statement, and all of a line, but no rows.
#[test]
fn a_statement_has_a_length_and_rows_have_not() {
    let line = HEAD.matches('\n').count() + 3;
    for (before, after, line) in [
        ("COMMENT ON TABLE s.t IS\n'", "';", line),
        ("CREATE FUNCTION s.f() AS\n$_$\n", "$_$;", line),
        ("/*\n", "*/", line + 1),
        ("CREATE VIEW s.v AS SELECT 1; -- ", "", line),
        ("CREATE VIEW s.v AS SELECT 1\n -- ", "\n;", line),
        ("GRANT x TO \"", "\";", line),
    ] {
        long(before, 255, after).unwrap();
        let reason = long(before, 256, after).unwrap_err();
        assert!(
            reason.starts_with(&format!("line {line} of the dump")) && reason.contains("256 MiB"),
            "{before}{reason}"
        );
    }
    long("COPY s.t FROM stdin;\n", 1025, "\n\\.\n").unwrap();
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
