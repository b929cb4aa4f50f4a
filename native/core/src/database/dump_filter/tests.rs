#![allow(clippy::unwrap_used, clippy::panic)]

mod altered;
mod near_misses;
mod properties;
mod rows;
mod statements;
mod strings;

use super::*;
use crate::error::Error;

const HEAD: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc123\n\n-- Dumped by pg_dump version 17.12\n\n";
const FOOT: &str = "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc123\n\n";

/// The last statement of [`whole`], which makes the dump one of the site.
const LAST: &str = "COMMENT ON SCHEMA s IS NULL;\n";

fn whole(middle: &str) -> String {
    format!("{HEAD}{middle}\n{LAST}{FOOT}")
}

/// Adds an event to text in the form of a dump.
fn add(event: Event<'_>, loaded: &mut Vec<u8>) {
    match event {
        Event::Statement { text, .. } => {
            loaded.extend_from_slice(text);
            loaded.extend_from_slice(b";\n");
        }
        Event::Rows(rows) => {
            assert!(!rows.is_empty());
            loaded.extend_from_slice(rows);
        }
        Event::RowsEnd => loaded.extend_from_slice(b"\\.\n"),
    }
}

/// Returns what is loaded of a dump that comes in pieces of these lengths, or why it is not.
fn filtered(dump: &[u8], pieces: &[usize]) -> Result<Vec<u8>, String> {
    let mut filter = DumpFilter::to_load(Schema::of_site("s"));
    let mut loaded = Vec::new();
    let mut rest = dump;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
        rest = after;
        filter
            .pass(piece, &mut |event| {
                add(event, &mut loaded);
                Ok(())
            })
            .map_err(|refused: Refused| refused.to_string())?;
    }
    let contents = filter.finish()?;
    assert_eq!(contents.bytes, dump.len() as u64);
    assert_eq!(
        filter.line,
        dump.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1
    );
    Ok(loaded)
}

/// Returns the kinds of the statements that are loaded of this, and where they start.
fn kinds(middle: &str) -> Vec<(u64, Kind)> {
    let mut filter = DumpFilter::to_load(Schema::of_site("s"));
    let mut kinds = Vec::new();
    filter
        .pass(whole(middle).as_bytes(), &mut |event| {
            if let Event::Statement { line, kind, .. } = event {
                kinds.push((line - HEAD.matches('\n').count() as u64, kind));
            }
            Ok::<_, Refused>(())
        })
        .unwrap();
    kinds.pop();
    kinds
}

/// Loaded as it stands here, in the form that [`add`] writes.
#[track_caller]
fn loads(middle: &str) {
    let dump = whole(middle);
    for piece in [dump.len(), 1, 7] {
        let loaded = filtered(dump.as_bytes(), &[piece]).unwrap();
        assert_eq!(
            String::from_utf8(loaded).unwrap(),
            format!("{middle}{LAST}")
        );
    }
}

/// Nothing is loaded of it.
#[track_caller]
fn leaves_out(statement: &str) {
    let before = "SET row_security = off;\n";
    let dump = whole(&format!("{before}{statement}\n"));
    for piece in [dump.len(), 1, 7] {
        let loaded = filtered(dump.as_bytes(), &[piece]).unwrap();
        assert_eq!(
            String::from_utf8(loaded).unwrap(),
            format!("{before}{LAST}")
        );
    }
}

/// Refused in this line of the middle, with these words.
#[track_caller]
fn refuses(middle: &str, line: usize, words: &str) {
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

/// Returns what comes of watching a dump, and what is remembered of it.
fn watched(dump: &[u8], piece: usize) -> (Result<Contents, String>, Option<String>) {
    let mut filter = DumpFilter::watched(Schema::of_site("s"));
    let passed: Result<(), Refused> = dump
        .chunks(piece)
        .try_for_each(|piece| filter.pass(piece, &mut |_| Ok(())));
    let end = passed.map_err(|refused| refused.to_string());
    let end = end.and_then(|()| filter.finish());
    (end, filter.refusal().map(Refused::to_string))
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

/// Such a line is read on, since the end of the dump is looked for.
#[test]
fn a_command_without_end_takes_no_memory() {
    let mut filter = DumpFilter::watched(Schema::of_site("s"));
    let pass = |filter: &mut DumpFilter, part: &str| {
        let passed: Result<(), Refused> = filter.pass(part.as_bytes(), &mut |_| Ok(()));
        passed.unwrap();
    };
    pass(&mut filter, &format!("{HEAD}DROP TABLE s.t;\n\\"));
    for _ in 0..100 {
        pass(&mut filter, &"x';\"".repeat(1000));
        assert!(filter.carried.len() < 1000, "{}", filter.carried.len());
    }
    pass(&mut filter, &format!("\n{FOOT}"));
    filter.finish().unwrap();
    assert!(filter.refusal().unwrap().to_string().contains("DROP"));
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

/// Checks a dump with so many mebibytes between these.
fn long(
    filter: &mut DumpFilter,
    before: &str,
    mebibytes: usize,
    after: &str,
) -> Result<Contents, String> {
    let mut pass = |part: &[u8]| {
        let passed: Result<(), Refused> = filter.pass(part, &mut |_| Ok(()));
        passed.map_err(|refused| refused.to_string())
    };
    pass(format!("{HEAD}COMMENT ON SCHEMA s IS NULL;\n\n{before}").as_bytes())?;
    let block = vec![b'x'; 1 << 20];
    for _ in 0..mebibytes {
        pass(&block)?;
    }
    pass(format!("{after}\n{FOOT}").as_bytes())?;
    filter.finish()
}

/// A statement is held in memory. Rows and comments are not.
#[test]
fn a_statement_has_a_length_and_rows_have_not() {
    let load = || DumpFilter::to_load(Schema::of_site("s"));
    let line = HEAD.matches('\n').count() + 3;
    for (before, after) in [
        ("COMMENT ON TABLE s.t IS\n'", "';"),
        ("CREATE FUNCTION s.f() AS\n$_$\n", "$_$;"),
        ("CREATE VIEW s.v AS SELECT 1\n -- ", "\n;"),
        ("GRANT x TO \"", "\";"),
    ] {
        long(&mut load(), before, 255, after).unwrap();
        let reason = long(&mut load(), before, 256, after).unwrap_err();
        assert!(
            reason.starts_with(&format!("line {line} of the dump")) && reason.contains("256 MiB"),
            "{before}{reason}"
        );
        // A backup can be made of it all the same, and then nothing is held.
        let mut filter = DumpFilter::watched(Schema::of_site("s"));
        long(&mut filter, before, 300, after).unwrap();
        assert!(filter.refusal().unwrap().to_string().contains("256 MiB"));
    }
    for (before, after) in [
        ("COPY s.t FROM stdin;\n", "\n\\.\n"),
        ("/*\n", "*/"),
        ("COMMENT ON TABLE s.t IS NULL; -- ", ""),
    ] {
        let mut filter = load();
        long(&mut filter, before, 1025, after).unwrap();
        assert!(filter.carried.capacity() < 2 << 20);
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
