-- A site as the demonstration and the tests back it up: tables like those of a Zotonic site, with
-- content of all the kinds that a dump must bring back unharmed. The same at every run.
--
--     psql -v schema=sample_site -f demo/sample-site.sql

\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
SET TIME ZONE 'UTC';
BEGIN;
CREATE SCHEMA :"schema";
COMMENT ON SCHEMA :"schema" IS 'A sample site; it''s "only" for trying out';
SET LOCAL search_path TO :"schema";

-- Bytes that look random and are the same at every run.
CREATE FUNCTION noise(seed text, blocks int) RETURNS bytea
    LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT
    AS $$ SELECT string_agg(sha256(convert_to(seed || '/' || block, 'UTF8')), '' ORDER BY block)
          FROM generate_series(1, blocks) AS block $$;
COMMENT ON FUNCTION noise IS E'back\\slash, quote '' and\nnew line';

CREATE TABLE rsc (
    id serial PRIMARY KEY,
    name varchar(80) UNIQUE,
    uri varchar(2048),
    category_id int REFERENCES rsc ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    creator_id int REFERENCES rsc ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    is_published boolean NOT NULL DEFAULT false,
    is_protected boolean NOT NULL DEFAULT false,
    version int NOT NULL DEFAULT 1 CHECK (version > 0),
    slug varchar(80) NOT NULL DEFAULT '',
    props bytea,
    props_json jsonb,
    tags text[] NOT NULL DEFAULT '{}',
    price numeric(12, 4),
    latitude double precision,
    publication_start timestamptz,
    publication_end timestamptz NOT NULL DEFAULT '9999-06-01 00:00:00+00',
    created timestamptz NOT NULL DEFAULT now(),
    modified timestamptz NOT NULL DEFAULT now(),
    pivot_date date,
    pivot_tsv tsvector
);
CREATE INDEX rsc_category ON rsc (category_id, modified DESC);
CREATE INDEX rsc_published ON rsc (publication_start) WHERE is_published;
CREATE INDEX rsc_slug_lower ON rsc (lower(slug) text_pattern_ops);
CREATE INDEX rsc_text ON rsc USING gin (pivot_tsv);

CREATE TABLE rsc_gone (
    id int PRIMARY KEY,
    new_id int,
    is_personal_data boolean NOT NULL DEFAULT false,
    modifier_id int,
    modified timestamptz NOT NULL
);

CREATE TABLE edge (
    id serial PRIMARY KEY,
    subject_id int NOT NULL REFERENCES rsc ON DELETE CASCADE,
    predicate_id int NOT NULL REFERENCES rsc ON DELETE CASCADE,
    object_id int NOT NULL REFERENCES rsc ON DELETE CASCADE,
    seq int NOT NULL DEFAULT 1000000,
    created timestamptz NOT NULL,
    UNIQUE (subject_id, predicate_id, object_id)
);
CREATE INDEX edge_object ON edge (object_id, predicate_id);

-- demo/make-sample-site makes a file for every row of this table.
CREATE TABLE medium (
    id int PRIMARY KEY REFERENCES rsc ON DELETE CASCADE,
    filename text UNIQUE NOT NULL,
    original_filename text,
    mime varchar(128) NOT NULL,
    size bigint NOT NULL,
    props bytea,
    created timestamptz NOT NULL
);

CREATE TABLE identity (
    id serial PRIMARY KEY,
    rsc_id int NOT NULL REFERENCES rsc ON DELETE CASCADE,
    type varchar(32) NOT NULL,
    key varchar(200) NOT NULL,
    is_unique boolean,
    is_verified boolean NOT NULL DEFAULT false,
    propb bytea,
    visited timestamptz,
    UNIQUE (type, key, is_unique)
);

CREATE TABLE config (
    id serial PRIMARY KEY,
    module varchar(80) NOT NULL,
    key varchar(80) NOT NULL,
    value text,
    props bytea,
    UNIQUE (module, key)
);

CREATE TABLE backup_revision (
    id bigserial PRIMARY KEY,
    type char(1) NOT NULL,
    rsc_id int NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    version int,
    user_id int,
    user_name varchar(80),
    filename varchar(400),
    note varchar(200),
    data_type varchar(10) NOT NULL DEFAULT 'erlang',
    data bytea NOT NULL
);
CREATE INDEX backup_revision_id_created ON backup_revision (rsc_id, created);
CREATE INDEX backup_revision_created_deleted_key ON backup_revision (created, type) WHERE type = 'D';

CREATE TABLE backup_edge_log (
    id bigserial PRIMARY KEY,
    subject_id int NOT NULL,
    predicate varchar(300) NOT NULL,
    object_id int NOT NULL,
    is_insert boolean NOT NULL,
    "timestamp" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX backup_edge_log_subject ON backup_edge_log (subject_id, "timestamp");
CREATE INDEX backup_edge_log_object ON backup_edge_log (object_id, "timestamp");

CREATE TABLE backup_medium_log (
    id bigserial PRIMARY KEY,
    rsc_id int NOT NULL,
    props bytea,
    medium_created timestamptz NOT NULL,
    medium_deleted timestamptz,
    UNIQUE (rsc_id, medium_created)
);

-- 20 000 resources. The first hundred are categories and predicates.
INSERT INTO rsc (name, uri, category_id, creator_id, is_published, is_protected, version, slug, props,
                 props_json, tags, price, latitude, publication_start, created, modified, pivot_date)
SELECT CASE WHEN n <= 100 THEN 'system_' || n WHEN n % 50 = 0 THEN 'page_' || n END,
       CASE WHEN n % 11 = 0 THEN 'https://example.test/id/' || n END,
       1 + n % 60,
       CASE WHEN n % 17 <> 0 THEN 1 + n * 7 % 20000 END,
       n % 9 <> 0,
       n <= 100,
       1 + n % 23,
       'page-about-' || n,
       CASE WHEN n % 13 <> 0 THEN '\x8374'::bytea || noise('rsc ' || n, 1 + n % 8) END,
       CASE WHEN n % 13 = 0 THEN jsonb_build_object('title', 'Page ' || n, 'depth', n / 7.0,
            'body', repeat('Some text that repeats itself. ', n % 40), 'nothing', NULL) END,
       ARRAY['tag ' || n % 12, CASE WHEN n % 5 = 0 THEN 'with "quotes", {braces} and \' END],
       n * 1.2345, n / 3.0,
       timestamptz '2009-02-13 23:31:30.123456+01' + n * interval '3 hours 7 minutes',
       timestamptz '2009-02-13 23:31:30+01' + n * interval '2 hours',
       timestamptz '2010-10-31 00:30:00+02' + n * interval '5 hours 11 seconds',
       date '1999-12-31' + n % 9000
FROM generate_series(1, 20000) AS n;
UPDATE rsc SET pivot_tsv = to_tsvector('simple', slug || ' ' || coalesce(props_json ->> 'body', ''))
WHERE id % 2 = 0;

-- Values that a dump written by hand would get wrong.
INSERT INTO rsc (name, slug, uri, props, props_json, tags, price, latitude, publication_start, pivot_date,
                 created, modified)
SELECT 'odd_' || row_number() OVER (), slug, uri,
       (SELECT string_agg(set_byte('\x00', 0, byte), '' ORDER BY byte) FROM generate_series(0, 255) AS byte),
       jsonb_build_object('slug', slug, U&'\00e9\4e2d', uri), ARRAY[slug, uri, '', 'NULL', NULL],
       'NaN', latitude, moment, day, '2026-01-01 00:00:00+00', '2026-01-02 00:00:00+00'
FROM (VALUES
    ('', NULL, 'Infinity'::float8, 'infinity'::timestamptz, 'infinity'::date),
    ('\.', E'\\N', '-Infinity', '-infinity', '-infinity'),
    (E'tab\tnew\nline\rreturn', E'\b\f\v\x01\x7f', 'NaN', '0044-03-15 12:00:00+00 BC', '4713-01-01 BC'),
    ('it''s "quoted" \back\slash', '--; DROP SCHEMA :"schema"; /* $$ */', '-0', '2026-03-29 01:59:59.999999+01', '2024-02-29'),
    (U&'na\00efve \65e5\672c\8a9e \+01F600', U&'e\0301 \202e \200b \feff \+10FFFD', 5e-324, '1900-01-01 00:00:00+00:19:32', '0001-01-01'),
    ('\restrict x', E'\\connect template1\n\\! false', 1.7976931348623157e308, '294276-12-31 23:59:59.999999+00', '5874897-12-31')
) AS odd (slug, uri, latitude, moment, day);

INSERT INTO rsc_gone (id, new_id, is_personal_data, modifier_id, modified)
SELECT 100000 + n, CASE WHEN n % 4 = 0 THEN n END, n % 3 = 0, 1 + n % 50,
       timestamptz '2020-01-01 00:00:00+00' + n * interval '7 hours'
FROM generate_series(1, 500) AS n;

INSERT INTO edge (subject_id, predicate_id, object_id, seq, created)
SELECT 1 + n % 20000, 61 + n % 31, 1 + n * 13 % 20000, n % 100,
       timestamptz '2012-05-05 05:05:05+00' + n * interval '1 hour'
FROM generate_series(1, 40000) AS n;

-- One kind of file per row: its name, its type, how many there are, their sizes.
INSERT INTO medium (id, filename, original_filename, mime, size, props, created)
SELECT 200 + row_number() OVER (ORDER BY ending, n),
       to_char(made, 'YYYY/MM/DD/') || 'file-' || n || '-' || substr(md5(ending || n), 1, 8) || '.' || ending,
       initcap(ending) || ' "no. ' || n || '" ' || U&'\00fc\00df\4e16\754c' || '.' || upper(ending),
       mime, smallest + abs(hashtext(ending || n)::bigint) % smallest,
       '\x8374'::bytea || noise('medium ' || ending || n, 3), made
FROM (VALUES
    ('jpg', 'image/jpeg', 150, 180000), ('png', 'image/png', 40, 120000),
    ('pdf', 'application/pdf', 25, 200000), ('mp4', 'video/mp4', 5, 3000000),
    ('zip', 'application/zip', 5, 700000), ('txt', 'text/plain', 60, 60000),
    ('svg', 'image/svg+xml', 40, 50000), ('json', 'application/json', 40, 80000),
    ('csv', 'text/csv', 30, 100000)
) AS kind (ending, mime, count, smallest),
     generate_series(1, count) AS n,
     LATERAL (SELECT timestamptz '2024-01-01 10:00:00+00' + (n * 5 + length(mime)) % 90 * interval '7 days 1 hour' AS made) AS time;

INSERT INTO identity (rsc_id, type, key, is_unique, is_verified, propb, visited)
SELECT 1000 + n / 2, CASE WHEN n % 2 = 0 THEN 'username_pw' ELSE 'email' END,
       CASE WHEN n % 2 = 0 THEN 'user' || n ELSE 'person.' || n || '@example.test' END,
       CASE WHEN n % 2 = 0 THEN true END, n % 3 = 0,
       CASE WHEN n % 2 = 0 THEN noise('identity ' || n, 2) END,
       CASE WHEN n % 5 <> 0 THEN timestamptz '2025-07-01 12:00:00-07' + n * interval '10 minutes' END
FROM generate_series(1, 6000) AS n;

INSERT INTO config (module, key, value, props)
SELECT 'mod_' || n % 6, 'key_' || n, CASE WHEN n % 7 <> 0 THEN 'value ' || n || E'\nsecond line' END, NULL
FROM generate_series(1, 40) AS n;

INSERT INTO backup_revision (type, rsc_id, created, version, user_id, user_name, filename, note, data)
SELECT CASE WHEN n % 20 = 0 THEN 'D' ELSE 'P' END, 1 + n * 3 % 20000,
       timestamptz '2025-03-30 00:00:00+00' + n * interval '90 minutes', 1 + n % 9, 1 + n % 50,
       U&'J\00fcrgen O''Neill ' || n % 50, NULL, CASE WHEN n % 30 = 0 THEN 'restored by hand' END,
       '\x8374'::bytea || noise('revision ' || n, 10)
FROM generate_series(1, 4000) AS n;

INSERT INTO backup_edge_log (subject_id, predicate, object_id, is_insert, "timestamp")
SELECT 1 + n % 20000, (ARRAY['author', 'depiction', 'relation'])[1 + n % 3], 1 + n * 13 % 20000, n % 4 <> 0,
       timestamptz '2025-01-01 00:00:00+00' + n * interval '8 minutes'
FROM generate_series(1, 8000) AS n;

INSERT INTO backup_medium_log (rsc_id, props, medium_created)
SELECT id, props, created FROM medium;

CREATE FUNCTION backup_medium_deleted() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT
    AS $$
BEGIN
    UPDATE backup_medium_log SET medium_deleted = now()
    WHERE rsc_id = OLD.id AND medium_created = OLD.created AND medium_deleted IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER backup_medium_log_delete_trigger AFTER DELETE ON medium
    FOR EACH ROW EXECUTE FUNCTION backup_medium_deleted();

CREATE VIEW published AS
    SELECT id, slug, modified FROM rsc
    WHERE is_published AND publication_start < timestamptz '2030-01-01 00:00:00+00';

-- A name that must be quoted, a key that the identity of a column gives out, and a partition.
CREATE TABLE "Odd ""table"" été" (
    "select" int GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 5),
    "Name; --" text DEFAULT E'it''s \\ default',
    doubled int GENERATED ALWAYS AS ("select" * 2) STORED
) PARTITION BY RANGE ("select");
CREATE TABLE odd_partition PARTITION OF "Odd ""table"" été" DEFAULT;
INSERT INTO "Odd ""table"" été" ("Name; --")
SELECT CASE WHEN n % 2 = 0 THEN 'Name ' || n END FROM generate_series(1, 10) AS n;
-- Twice the same row, and no key to tell them apart.
CREATE TABLE no_key (value text);
INSERT INTO no_key VALUES ('twice'), ('twice'), (NULL);
COMMIT;
