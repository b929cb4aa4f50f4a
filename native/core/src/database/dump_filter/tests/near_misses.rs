//! Statements that are loaded, and what differs from them in little and is refused.

use super::*;

/// Refused, and what differs only in that is loaded.
#[track_caller]
pub(super) fn tells_apart(loaded: &[&str], refused: &[(&str, &str)]) {
    for statement in loaded {
        loads(&format!("{statement};\n"));
    }
    for (statement, words) in refused {
        refuses(&format!("{statement};\n"), 1, words);
    }
}

pub(super) const OTHER: &str = "of the schema \"other\"";
pub(super) const NOT: &str = "is not what pg_dump writes";

#[test]
fn nothing_follows_where_pg_dump_writes_nothing() {
    let long = format!("SELECT pg_catalog.setval('s.q', 1{})", ", 1".repeat(50));
    tells_apart(
        &[
            "SELECT pg_catalog.setval('s.q', 5)",
            "SELECT pg_catalog.setval('s.q', 5, true)",
            "SELECT pg_catalog.setval('\"s\".\"q.\"\"r\"', -5, false)",
            "SELECT pg_catalog.setval('S.q', 1)",
        ],
        &[
            ("SELECT pg_catalog.setval('s.q', 5, true), s.f()", NOT),
            ("SELECT pg_catalog.setval('s.q', 5, true) FROM s.t", NOT),
            ("SELECT pg_catalog.setval('s.q', 5, true, 1)", NOT),
            ("SELECT pg_catalog.setval('s.q', 5, s.f())", NOT),
            ("SELECT pg_catalog.setval('s.q', 5 + 1)", NOT),
            ("SELECT pg_catalog.setval('s.q', '5')", NOT),
            ("SELECT pg_catalog.setval('s.q'::text, 5)", NOT),
            ("SELECT pg_catalog.setval('s.q', (SELECT 1))", NOT),
            ("SELECT pg_catalog.setval(E's.q\\\\', 5)", NOT),
            (&long, NOT),
            ("SELECT pg_catalog.setval('other.q', 1)", OTHER),
            (
                "SELECT pg_catalog.setval('\"o\"\"t\".q', 1)",
                "of the schema \"o\"t\"",
            ),
            (
                "SELECT pg_catalog.setval('\"S\".q', 1)",
                "of the schema \"S\"",
            ),
            ("SELECT pg_catalog.setval('\"other\" .q', 1)", NOT),
            ("SELECT pg_catalog.setval('s.q.r', 1)", NOT),
            ("SELECT pg_catalog.setval('s . q', 1)", NOT),
            ("SELECT pg_catalog.setval('s.', 1)", NOT),
            ("SELECT pg_catalog.setval('16384', 1)", NOT),
            ("SELECT pg_catalog.setval('q', 1)", "has no schema"),
            ("SELECT setval('s.q', 1)", NOT),
            ("SELECT * FROM pg_catalog.setval('s.q', 1)", NOT),
        ],
    );
    tells_apart(
        &["SET row_security = off", "SET xmloption = content"],
        &[
            ("SET row_security = off, on", "not a setting"),
            ("SET row_security TO off", "not a setting"),
            ("SET search_path = s, pg_catalog, other", "not a setting"),
            ("SET search_path = s, other", "not a setting"),
            ("SET search_path = s", "not a setting"),
            ("SET search_path = 's'", "not a setting"),
            ("SET search_path = other, pg_catalog", OTHER),
            ("SELECT pg_catalog.set_config('search_path', '', true)", NOT),
            (
                "SELECT pg_catalog.set_config('search_path', 's', false)",
                NOT,
            ),
            (
                "SELECT pg_catalog.set_config('search_path', '', false), s.f()",
                NOT,
            ),
            ("SELECT pg_catalog.set_config('role', '', false)", NOT),
            ("REFRESH MATERIALIZED VIEW s.m WITH NO DATA", NOT),
            (
                "REFRESH MATERIALIZED VIEW CONCURRENTLY s.m",
                "has no schema",
            ),
            ("REFRESH MATERIALIZED VIEW other.m", OTHER),
            ("COMMENT ON TABLE s.t IS 'x' || 'y'", NOT),
            ("COMMENT ON TABLE s.t IS $$x$$", NOT),
            ("COMMENT ON TABLE s.t IS", NOT),
            ("COMMENT ON TABLE s.t.u IS NULL", NOT),
            ("COMMENT ON COLUMN s.t.u.v IS NULL", NOT),
            ("COMMENT ON EXTENSION e IS NULL", NOT),
            ("COPY s.t (a) FROM stdin WHERE s.f()", "COPY"),
            ("COPY s.t (a, b + c) FROM stdin", "COPY"),
            ("COPY s.t (a,) FROM stdin", "COPY"),
            ("COPY s.t (a) FROM stdin (FORMAT csv)", "COPY"),
        ],
    );
}

#[test]
fn a_table_is_made_of_columns() {
    tells_apart(
        &[
            "CREATE TABLE s.t (\n)",
            "CREATE TABLE s.t (\n    a integer GENERATED ALWAYS AS (b + 1) STORED,\n    CONSTRAINT c CHECK ((a IN ( SELECT 1)))\n)\nINHERITS (s.p)\nWITH (fillfactor='70')",
            "CREATE TABLE s.t (a integer)\nPARTITION BY RANGE (a, lower(b))",
            "CREATE TABLE s.\"as\" (\"as\" integer)",
            "CREATE TABLE s.t OF s.type (\n    a WITH OPTIONS NOT NULL\n)",
            "CREATE TABLE s.execute (execute integer)",
            "CREATE TABLE s.t PARTITION OF s.p\nFOR VALUES FROM ('2020-01-01') TO (MAXVALUE)",
            "CREATE TABLE s.t PARTITION OF s.p (\n    a DEFAULT 1\n)\nFOR VALUES IN ('a', NULL, 5)\nPARTITION BY LIST (b)",
            "CREATE TABLE s.t PARTITION OF s.p\nDEFAULT",
            "CREATE MATERIALIZED VIEW s.m AS\n SELECT 1 AS x\n  WITH NO DATA",
            "CREATE SEQUENCE s.q\n    AS integer\n    START WITH -5\n    INCREMENT BY 1\n    NO MINVALUE\n    MAXVALUE 10\n    CACHE 1\n    CYCLE",
            "CREATE VIEW s.v WITH (security_barrier='true') AS\n SELECT 1\n  WITH LOCAL CHECK OPTION",
        ],
        &[
            ("CREATE TABLE s.t AS SELECT 1", "by a query"),
            ("CREATE TABLE s.t AS EXECUTE p", "by a query"),
            ("CREATE TABLE s.t (a, b) AS VALUES (1, 2)", "by a query"),
            (
                "CREATE UNLOGGED TABLE s.t WITH (fillfactor=70) AS TABLE s.u",
                "by a query",
            ),
            ("CREATE TABLE s.t EXECUTE p", NOT),
            ("CREATE TABLE IF NOT EXISTS s.t (a int)", "has no schema"),
            ("CREATE TEMPORARY TABLE t (a int)", NOT),
            (
                "CREATE TABLE s.t PARTITION OF s.p FOR VALUES IN (s.f())",
                "no value",
            ),
            (
                "CREATE TABLE s.t PARTITION OF s.p FOR VALUES FROM (1 + 1) TO (3)",
                "no value",
            ),
            ("CREATE MATERIALIZED VIEW s.m AS SELECT 1", "WITH NO DATA"),
            (
                "CREATE MATERIALIZED VIEW s.m AS SELECT 1 WITH DATA",
                "WITH NO DATA",
            ),
            ("CREATE SEQUENCE s.q START WITH (SELECT 1)", NOT),
            ("CREATE SEQUENCE s.q RESTART", NOT),
            ("CREATE SEQUENCE s.q OWNED BY other.t.a", OTHER),
            (
                "CREATE OR REPLACE FUNCTION s.f() RETURNS int LANGUAGE sql AS ''",
                NOT,
            ),
            ("CREATE OR REPLACE VIEW other.v AS SELECT 1", OTHER),
            ("CREATE CONSTRAINT c", NOT),
            ("CREATE CAST (s.a AS s.b) WITHOUT FUNCTION", NOT),
        ],
    );
}

#[test]
fn values_are_literals() {
    tells_apart(
        &[
            "INSERT INTO s.t VALUES (1, 'a', E'\\\\', x'00', B'01', -1.5e-7, NULL, true, FALSE, DEFAULT)",
            "INSERT INTO s.t (a, \"b\") OVERRIDING SYSTEM VALUE VALUES\n\t(1, 2),\n\t(3, +4)",
            "INSERT INTO s.t DEFAULT VALUES",
            "INSERT INTO s.t (a) VALUES (1) ON CONFLICT DO NOTHING",
        ],
        &[
            (
                "INSERT INTO s.t VALUES (s.f())",
                "something else than values",
            ),
            (
                "INSERT INTO s.t VALUES (1 + 1)",
                "something else than values",
            ),
            (
                "INSERT INTO s.t VALUES ('a'::s.d)",
                "something else than values",
            ),
            (
                "INSERT INTO s.t VALUES (1), ((SELECT 1))",
                "something else than values",
            ),
            ("INSERT INTO s.t VALUES (now)", "something else than values"),
            ("INSERT INTO s.t VALUES ($1)", "something else than values"),
            ("INSERT INTO s.t VALUES ()", "something else than values"),
            ("INSERT INTO s.t SELECT 1", NOT),
            ("INSERT INTO s.t (SELECT 1)", NOT),
            ("INSERT INTO s.t AS x VALUES (1)", NOT),
            ("INSERT INTO s.t VALUES (1) RETURNING s.f()", NOT),
            (
                "INSERT INTO s.t VALUES (1) ON CONFLICT DO UPDATE SET a = 1",
                NOT,
            ),
            ("INSERT INTO other.t VALUES (1)", OTHER),
        ],
    );
    let statistics = "SELECT * FROM pg_catalog.pg_restore_attribute_stats(\n\t'version', '180000'::integer,\n\t'schemaname', 's',\n\t'relname', 't'";
    let with = |rest: &str| format!("{statistics}{rest}");
    let loaded = [
        with(
            ",\n\t'attname', 'a',\n\t'inherited', 'f'::boolean,\n\t'null_frac', '0'::real,\n\t'avg_width', 4::integer,\n\t'most_common_freqs', '{0.5,0.5}'::real[]\n)",
        ),
        with(")").replace("attribute", "relation"),
    ];
    let refused = [
        (with(")").replace("'s'", "'other'"), OTHER),
        (with(", 'SCHEMANAME', 'other')"), OTHER),
        (with(")").replace("schemaname", "schema"), NOT),
        (with(", 'relation', 's.t'::regclass)"), NOT),
        (with(", 'a', s.f())"), NOT),
        (with(", 'a', 1 + 1)"), NOT),
        (with(", 'a', 'x'::s.d)"), NOT),
        (with(", 'a')"), NOT),
        (with(") WHERE s.f()"), NOT),
        (with(")").replace("* FROM", ""), NOT),
        (
            with(")").replace("restore_attribute", "clear_attribute"),
            NOT,
        ),
    ];
    for statement in &loaded {
        tells_apart(&[statement], &[]);
    }
    for (statement, words) in &refused {
        refuses(&format!("{statement};\n"), 1, words);
    }
}

#[test]
fn what_belongs_to_a_table_is_of_the_schema() {
    tells_apart(
        &[
            "CREATE INDEX i ON s.t USING btree (a)",
            "CREATE INDEX \"on\" ON ONLY s.t USING btree (lower(a))",
            "CREATE UNIQUE INDEX \"i\" ON \"s\".\"t\" USING \"gin\" (\"a\" \"s\".\"gin_trgm_ops\")",
            "CREATE TRIGGER t BEFORE UPDATE OF \"on\", b ON s.t FOR EACH ROW WHEN ((a ON b)) EXECUTE FUNCTION other.f('x')",
            "CREATE RULE r AS\n    ON INSERT TO s.t DO INSTEAD NOTHING",
            "CREATE RULE \"_RETURN\" AS\n    ON SELECT TO s.t DO INSTEAD  SELECT 1",
            "CREATE POLICY p ON s.t FOR SELECT TO x USING (true)",
            "CREATE STATISTICS s.st (ndistinct) ON a, EXTRACT(year FROM b) FROM s.t",
        ],
        &[
            ("CREATE INDEX i ON other.t USING btree (a)", OTHER),
            ("CREATE INDEX i ON ONLY other.t USING btree (a)", OTHER),
            ("CREATE INDEX i ON t USING btree (a)", "has no schema"),
            ("CREATE INDEX CONCURRENTLY i ON s.t (a)", NOT),
            ("CREATE INDEX IF NOT EXISTS i ON s.t (a)", NOT),
            ("CREATE INDEX ON s.t (a)", NOT),
            ("CREATE UNIQUE INDEX i ON other.t (a)", OTHER),
            (
                "CREATE TRIGGER t AFTER INSERT ON other.t EXECUTE FUNCTION s.f()",
                OTHER,
            ),
            (
                "CREATE TRIGGER t AFTER UPDATE OF \"on\" ON other.t EXECUTE FUNCTION s.f()",
                OTHER,
            ),
            (
                "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON pg_class EXECUTE FUNCTION s.f()",
                "has no schema",
            ),
            ("CREATE RULE r AS ON INSERT TO other.t DO NOTHING", OTHER),
            ("CREATE POLICY p ON other.t", OTHER),
            ("CREATE STATISTICS s.st ON a, b FROM other.t", OTHER),
            ("CREATE STATISTICS other.st ON a, b FROM s.t", OTHER),
            ("CREATE STATISTICS s.st ON a, b FROM s.t, other.t", NOT),
            ("COMMENT ON TRIGGER x ON other.t IS NULL", OTHER),
            ("COMMENT ON RULE x ON other.t IS NULL", OTHER),
            ("COMMENT ON POLICY x ON other.t IS NULL", OTHER),
            ("COMMENT ON CONSTRAINT x ON other.t IS NULL", OTHER),
            ("COMMENT ON CONSTRAINT x ON DOMAIN other.d IS NULL", OTHER),
            ("COMMENT ON COLUMN other.t.a IS NULL", OTHER),
            (
                "COMMENT ON OPERATOR other.+ (integer, integer) IS NULL",
                OTHER,
            ),
        ],
    );
}
