"""What the benchmarks work on, made of what every machine has. The same on the same machine."""

import random
import subprocess
from pathlib import Path

# Text as people and programs write it: sources, headers, documentation.
TEXT_FROM = ("/usr/lib/python3", "/usr/lib/erlang/lib", "/usr/include", "/usr/share/perl")
TEXT_ENDS = (".py", ".erl", ".h", ".hrl", ".txt", ".pm", ".pl", ".html")


def some_text(size):
    """`size` bytes of it; over again from the start where the machine has less, with a counter in each round."""
    files = sorted(
        path
        for folder in TEXT_FROM
        for path in Path(folder).rglob("*")
        if path.suffix in TEXT_ENDS and path.is_file() and not path.is_symlink()
    )
    text, around = bytearray(), 0
    while len(text) < size:
        around += 1
        for path in files:
            data = path.read_bytes()
            # Further rounds are text that was not there before, as far as a window of 32 KiB can see.
            text += data if around == 1 else data.swapcase() + b"%d" % around
            if len(text) >= size:
                break
        if not text:
            raise SystemExit("bench: this machine has no text in " + ", ".join(TEXT_FROM))
    return memoryview(bytes(text[:size]))


def media_mix(folder, size):
    """Four fifths noise (photos, films), one fifth text; many small files and a few large ones."""
    chance = random.Random("media")
    text = some_text(size // 5)
    for kind, total in (("noise", size - size // 5), ("text", size // 5)):
        at = number = 0
        while at < total:
            # Half of the bytes in files of 8 MiB and more, the rest from 2 KiB to 512 KiB.
            large = number % 40 == 0
            length = chance.randrange(8 << 20, 16 << 20) if large else int(2048 * 256 ** chance.random())
            length = min(length, total - at)
            data = chance.randbytes(length) if kind == "noise" else text[at : at + length]
            path = folder / "2026" / f"{number % 12 + 1:02}" / f"{kind}-{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            at += length
            number += 1


def many_small(folder, count, length=4096):
    """`count` files of 4 KB, every fifth of them text."""
    chance = random.Random("small")
    text = some_text((count // 5 + 1) * length)
    for number in range(count):
        path = folder / f"{number % 250:03}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        at = number // 5 * length
        path.write_bytes(text[at : at + length] if number % 5 == 0 else chance.randbytes(length))


DATABASE = r"""
\set ON_ERROR_STOP on
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench; SET search_path TO bench;
CREATE TABLE rsc (id serial PRIMARY KEY, name varchar(80) UNIQUE, category_id int, version int NOT NULL DEFAULT 1,
    props bytea, props_json jsonb, created timestamptz NOT NULL, modified timestamptz NOT NULL);
CREATE TABLE edge (id serial PRIMARY KEY, subject_id int NOT NULL REFERENCES rsc ON DELETE CASCADE,
    predicate_id int NOT NULL, object_id int NOT NULL REFERENCES rsc ON DELETE CASCADE, seq int NOT NULL,
    created timestamptz NOT NULL, UNIQUE (subject_id, predicate_id, object_id));
CREATE INDEX ON edge (object_id, predicate_id);
CREATE TABLE identity (id serial PRIMARY KEY, rsc_id int NOT NULL REFERENCES rsc, type varchar(32), key varchar(200));
CREATE TABLE log (id bigserial PRIMARY KEY, rsc_id int, severity int, message text, created timestamptz);
CREATE FUNCTION prose(seed int, count int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(left(md5(word::text), 2 + word % 8), ' ') FROM generate_series(1, count) g,
        LATERAL (SELECT 1 + abs(hashint4(seed * 1000 + g)) % 2000 AS word) w $$;
INSERT INTO rsc (name, category_id, props, props_json, created, modified)
    SELECT 'page_' || n, 1 + n % 40, decode(repeat(md5(n::text), 8), 'hex'),
        jsonb_build_object('title', prose(n, 6), 'body', '<p>' || prose(n, 150) || '</p>', 'is_published', true),
        now() - n * interval '1 minute', now() - n * interval '1 second'
    FROM generate_series(1, :rows) n;
INSERT INTO edge (subject_id, predicate_id, object_id, seq, created)
    SELECT n, p, 1 + (n::bigint * (p + 7)) % :rows, p, now() FROM generate_series(1, :rows) n, generate_series(1, 4) p
    ON CONFLICT DO NOTHING;
INSERT INTO identity (rsc_id, type, key) SELECT n, 'email', md5(n::text) || '@example.test' FROM generate_series(1, :rows, 3) n;
INSERT INTO log (rsc_id, severity, message, created) SELECT n, n % 4, prose(n, 12), now() FROM generate_series(1, :rows) n;
ANALYZE;
"""


def database(rows):
    """A schema `bench` like that of a Zotonic site. A row of `rsc`, with what belongs to it, is about 1.9 kB of dump."""
    subprocess.run(
        ["psql", "-Xq", "-v", f"rows={rows}"], input=DATABASE, text=True, check=True, stdout=subprocess.DEVNULL
    )
