//! SQL of any kind, in pieces of any length.

use super::*;
use proptest::prelude::*;

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

/// A piece of SQL that is no statement and no word of one.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        noise().prop_map(|text| format!("'{}',", text.replace('\'', "''"))),
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

/// A literal of `INSERT`.
fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        noise().prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        noise().prop_map(|text| format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))),
        "-?[0-9]{1,4}([.][0-9])?(e[+-]?[0-9])?",
        Just("NULL".to_owned()),
    ]
}

/// A part of a dump, and what is loaded of it.
fn part() -> impl Strategy<Value = (String, String)> {
    let same = |text: String| (text.clone(), format!("{text}\n"));
    let gone = |text: String| (text, String::new());
    let values = || prop::collection::vec(value(), 0..6).prop_map(|values| values.join(" "));
    prop_oneof![
        values().prop_map(move |values| same(format!("CREATE TABLE s.t ({values});"))),
        prop::collection::vec(literal(), 1..6).prop_map(move |values| same(format!(
            "INSERT INTO s.t VALUES ({});",
            values.join(", ")
        ))),
        values().prop_map(move |values| same(format!("CREATE VIEW s.v AS x {values};"))),
        values().prop_map(move |values| same(format!("CREATE INDEX i ON s.t ({values});"))),
        literal().prop_map(move |value| same(format!(
            "COMMENT ON TABLE s.t IS '{}';",
            value.replace('\'', "''")
        ))),
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
            let copy = format!("COPY s.t FROM stdin;\n{rows}\\.\n");
            (copy.clone(), copy)
        }),
        noise().prop_map(move |text| gone(format!("-- {}\n", text.replace(['\n', '\r'], "")))),
        Just(gone("\n\n".into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_sql_passes_in_any_pieces(
        parts in prop::collection::vec(part(), 0..8),
        lengths in prop::collection::vec(1..50_usize, 1..20),
    ) {
        let join = |of: fn(&(String, String)) -> &str, end: &str| -> String {
            parts.iter().map(|part| format!("{}{end}", of(part))).collect()
        };
        let dump = whole(&join(|part| &part.0, "\n"));
        let expected = join(|part| &part.1, "") + LAST;
        let loaded = filtered(dump.as_bytes(), &lengths);
        prop_assert_eq!(loaded.map(|loaded| String::from_utf8(loaded).unwrap()), Ok(expected));
    }

    /// No bytes are too much, and what is said of them does not depend on how they come.
    #[test]
    fn pieces_do_not_matter(
        text in prop::collection::vec(prop_oneof![noise(), value(), part().prop_map(|part| part.0)], 0..8),
        is_first: bool,
        lengths in prop::collection::vec(1..9_usize, 1..9),
    ) {
        let off = match is_first {
            true => "SET standard_conforming_strings = off;\n",
            false => "",
        };
        let dump = whole(&format!("{off}{}", text.concat()));
        let at_once = filtered(dump.as_bytes(), &[dump.len()]);
        prop_assert_eq!(filtered(dump.as_bytes(), &lengths), at_once);
        let (end, refusal) = watched(dump.as_bytes(), dump.len());
        prop_assert_eq!(watched(dump.as_bytes(), lengths[0]).1, refusal);
        drop(end);
    }
}
