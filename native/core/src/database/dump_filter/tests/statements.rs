//! Which statements are loaded, left out and refused.

use super::near_misses::OTHER;
use super::*;

#[test]
fn what_pg_dump_writes_is_loaded() {
    for statement in [
        "SET client_min_messages = warning;",
        "SET default_tablespace = '';",
        "SET default_table_access_method = \"heap\";",
        "SET default_with_oids = false;",
        "SELECT pg_catalog.set_config('search_path', '', false);",
        "SET search_path = s, pg_catalog;",
        "SET search_path = \"s\", pg_catalog;",
        "SET search_path = pg_catalog;",
        "CREATE TYPE \"s\".\"t\" AS ENUM (\n    'a;b',\n    'c'\n);",
        "CREATE TYPE s.t;",
        "CREATE TYPE s.r AS RANGE (\n    subtype = integer\n);",
        "CREATE DOMAIN s.d AS integer\n\tCONSTRAINT d_check CHECK ((VALUE > 0));",
        "CREATE FUNCTION \"s\".\"f\"() RETURNS \"trigger\"\n    LANGUAGE \"plpgsql\"\n    AS $_$\nbegin\n\\! no\nALTER x OWNER TO y;\ncommit;\n$$;$a$\nend $_$;",
        "CREATE PROCEDURE \"s\".\"p\"()\n    LANGUAGE sql AS 'select 1; commit; \\! x';",
        "CREATE OR REPLACE VIEW s.v AS\n SELECT 'GRANT; \\q'::text AS \"x;\"\"\" -- ; \\x '\n;",
        "CREATE UNLOGGED TABLE s.u (a integer DEFAULT 1e5, b text[] DEFAULT '{}'::text[], c int DEFAULT (a)[1:2]);",
        "CREATE CONSTRAINT TRIGGER x AFTER INSERT ON s.t;",
        "CREATE OPERATOR s.+ (FUNCTION = s.f);",
        "CREATE OPERATOR s.<@> (FUNCTION = s.f, COMMUTATOR = OPERATOR(s.<@>));",
        "CREATE OPERATOR CLASS s.c\n    FOR TYPE s.t USING btree AS\n    OPERATOR 1 s.<(s.t,s.t) ,\n    FUNCTION 1 (s.t, s.t) s.f(s.t,s.t);",
        "CREATE OPERATOR FAMILY s.o USING btree;",
        "CREATE AGGREGATE s.a(integer) (\n    SFUNC = int4pl,\n    STYPE = integer\n);",
        "CREATE COLLATION s.c (provider = libc, locale = 'C');",
        "CREATE DEFAULT CONVERSION s.c FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;",
        "CREATE TEXT SEARCH CONFIGURATION s.c (PARSER = pg_catalog.\"default\" );",
        "CREATE TEXT SEARCH DICTIONARY s.d (\n    TEMPLATE = pg_catalog.simple,\n    stopwords = 'english' );",
        "CREATE FOREIGN TABLE s.ft (a int) SERVER x;",
        "COMMENT ON TABLE s.t IS 'it''s';",
        "COMMENT ON COLUMN s.t.a IS E'a\\'; \\\\! COMMIT; --';",
        "COMMENT ON SCHEMA s IS NULL;",
        "COMMENT ON CONSTRAINT c ON s.t IS 'x';",
        "COMMENT ON CONSTRAINT c ON DOMAIN s.d IS 'x';",
        "COMMENT ON FUNCTION s.f(a integer, b text) IS 'x';",
        "COMMENT ON AGGREGATE s.a(*) IS 'x';",
        "COMMENT ON OPERATOR s.+ (integer, NONE) IS 'x';",
        "COMMENT ON OPERATOR CLASS s.c USING btree IS 'x';",
        "COMMENT ON OPERATOR FAMILY s.c USING btree IS 'x';",
        "COMMENT ON TRIGGER \"on\" ON s.t IS 'x';",
        "COMMENT ON TEXT SEARCH CONFIGURATION s.c IS 'x';",
        "REFRESH MATERIALIZED VIEW s.m;",
        "COPY s.t (a, b) FROM stdin;\n1\t\\\\.\n\\\\.\n\\N\t\\! x\nCOMMIT;\n \\.\n\\.",
        "COPY s.t  FROM stdin;\n\\.",
        "COPY \"s\".\"t\" (\"a;\"\"\", \"from\") FROM stdin;\nx\r\n\\.",
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

/// Before version 9.6.8 the search_path had the schema. What the server has itself is not meant.
#[test]
fn names_need_no_schema_in_old_dumps() {
    let path = "SET search_path = s, pg_catalog;\n";
    for statement in [
        "CREATE TABLE t (a integer);",
        "CREATE INDEX i ON t USING btree (a);",
        "CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE PROCEDURE f();",
        "CREATE OPERATOR + (PROCEDURE = f);",
        "ALTER TABLE ONLY t ALTER COLUMN a SET DEFAULT nextval('t_id_seq'::regclass);",
        "ALTER SEQUENCE q OWNED BY t.a;",
        "COMMENT ON COLUMN t.a IS 'x';",
        "COMMENT ON OPERATOR + (integer, integer) IS 'x';",
        "SELECT pg_catalog.setval('q', 1, true);",
        "COPY t FROM stdin;\n\\.",
    ] {
        loads(&format!("{path}{statement}\n"));
    }
    for statement in [
        "INSERT INTO pg_authid VALUES (1);",
        "COPY pg_class (a) FROM stdin;\n\\.",
        "SELECT pg_catalog.setval('pg_x', 1, true);",
        "CREATE INDEX i ON pg_class (oid);",
    ] {
        refuses(&format!("{path}{statement}\n"), 2, "has no schema");
    }
    refuses(
        &format!("{path}COMMENT ON COLUMN other.t.a IS 'x';\n"),
        2,
        OTHER,
    );
    let empty = "SELECT pg_catalog.set_config('search_path', '', false);\n";
    refuses(
        &format!("{path}{empty}CREATE TABLE t (a int);\n"),
        3,
        "has no schema",
    );
    refuses(
        &format!("{path}SET search_path = pg_catalog;\nCREATE TABLE t (a int);\n"),
        3,
        "has no schema",
    );
    refuses("COPY t FROM stdin;\n\\.\n", 1, "has no schema");
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
            "SELECT",
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
        (
            "COMMENT ON TABLE s.t IS 1E'\\'; COMMIT; --';\n",
            1,
            "a number",
        ),
        (
            "CREATE FUNCTION s.begin() RETURNS int LANGUAGE sql AS 'select 1'; COMMIT; END;\n",
            1,
            "COMMIT",
        ),
        ("COMMENT ON TABLE s.t IS 'a\0b';\n", 1, "zero byte"),
        ("COPY s.t FROM stdin;\na\0\n\\.\nCOMMIT;\n", 2, "zero byte"),
        ("'x';\n", 1, "not what pg_dump writes"),
    ] {
        refuses(middle, line, words);
    }
}
