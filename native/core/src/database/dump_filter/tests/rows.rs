//! Rows of data.

use super::*;

#[test]
fn rows_are_counted_and_lines_are_found() {
    let middle = "CREATE TABLE s.t (\n  x int\n);\n\nCOPY s.t FROM stdin;\n1\n2\n\\\\.\n\\.\n\nCOPY s.\"U\" FROM stdin;\n\\.\n";
    for piece in 1..40 {
        let dump = whole(middle);
        let mut filter = DumpFilter::to_load(Schema::of_site("s"));
        for piece in dump.as_bytes().chunks(piece) {
            filter.pass(piece, &mut |_| Ok::<_, Refused>(())).unwrap();
        }
        filter.finish().unwrap();
        let rows: Vec<_> = filter
            .rows()
            .iter()
            .map(|(name, &rows)| (name.as_str(), rows))
            .collect();
        assert_eq!(rows, [("U", 0), ("t", 3)]);
    }
    let copy = |table: &str, first_row_line| Kind::Copy {
        table: table.into(),
        first_row_line,
    };
    let head = HEAD.matches('\n').count() as u64;
    assert_eq!(
        kinds(middle),
        [
            (1, Kind::Other),
            (5, copy("t", head + 6)),
            (11, copy("U", head + 12))
        ]
    );
}

/// What looks like the start of the last line is held back, and nothing else.
#[test]
fn rows_pass_as_they_are() {
    let rows = "\\\n\\\r\n\\\\.\n\\.x\n\\.\rx\n\\.\\.\n\\N\t\\.\n \\.\n\n\r\n.\n";
    for end in ["\\.\n", "\\.\r\n"] {
        let dump = whole(&format!("COPY s.t FROM stdin;\n{rows}{end}"));
        let expected = format!("COPY s.t FROM stdin;\n{rows}\\.\n{LAST}");
        for piece in (1..60).chain([dump.len()]) {
            let loaded = filtered(dump.as_bytes(), &[piece]).unwrap();
            assert_eq!(String::from_utf8(loaded).unwrap(), expected, "{piece}");
        }
    }
}

#[test]
fn rows_are_not_copied() {
    let head = whole("").replace(&format!("\n{LAST}{FOOT}"), "COPY s.t FROM stdin;\n");
    let mut filter = DumpFilter::to_load(Schema::of_site("s"));
    let none = &mut |_: Event<'_>| Ok::<_, Refused>(());
    filter.pass(head.as_bytes(), none).unwrap();
    let block = b"1\n2\n3".as_slice();
    let mut slices = 0;
    for _ in 0..3 {
        filter
            .pass(block, &mut |event| {
                assert!(matches!(event, Event::Rows(rows) if rows.as_ptr() == block.as_ptr() && rows == block));
                slices += 1;
                Ok::<_, Refused>(())
            })
            .unwrap();
    }
    assert_eq!(slices, 3);
    filter.pass(b"\n\\.", none).unwrap();
    assert!(
        filter
            .finish()
            .unwrap_err()
            .contains("in the data of the table \"t\"")
    );
}

/// The time grows with the length of a dump, however many tables and statements it has.
#[test]
fn many_small_tables_and_many_values_take_little_time() {
    let table = |number: usize| {
        format!(
            "CREATE TABLE s.t{number} (\n    id integer NOT NULL\n);\n\nALTER TABLE s.t{number} OWNER TO x;\n\n\
             COMMENT ON TABLE s.t{number} IS 'x';\n\nCOPY s.t{number} (id) FROM stdin;\n1\n\\.\n\n\
             ALTER TABLE ONLY s.t{number}\n    ADD CONSTRAINT c PRIMARY KEY (id);\n\n"
        )
    };
    let tables: String = (0..10_000).map(table).collect();
    let values = vec!["(-1, 'it''s', 1e+20)"; 100_000].join(",\n\t");
    let dump = whole(&format!("{tables}INSERT INTO s.t VALUES\n\t{values};\n"));
    for piece in [dump.len(), 4096] {
        let start = std::time::Instant::now();
        filtered(dump.as_bytes(), &[piece]).unwrap();
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}
