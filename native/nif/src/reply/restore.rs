//! What a restore came to.

use super::{Reply, atom, map, plain};
use rustler::{Encoder, Env, Term};
use zbackup_core::catalog::LastRestore;
use zbackup_core::database::TableRows;
use zbackup_core::restore::{self, Restored, Settled};

impl Reply for restore::Report {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            backup,
            restored,
            tables,
            skipped,
            warnings,
        } = self;
        map(
            env,
            &[
                ("backup", backup.reply(env)),
                ("restored", restored.reply(env)),
                ("tables", tables.reply(env)),
                ("skipped", skipped.reply(env)),
                ("warnings", warnings.encode(env)),
            ],
        )
    }
}

impl Reply for Restored {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            piece,
            entries,
            bytes,
        } = self;
        map(
            env,
            &[
                ("piece", atom(env, piece.name())),
                ("entries", entries.encode(env)),
                ("bytes", bytes.encode(env)),
            ],
        )
    }
}

impl Reply for TableRows {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { name, rows } = self;
        map(
            env,
            &[("name", name.encode(env)), ("rows", rows.encode(env))],
        )
    }
}

impl Reply for Settled {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            backup,
            completed,
            skipped,
        } = self;
        map(
            env,
            &[
                ("backup", backup.encode(env)),
                ("completed", completed.encode(env)),
                ("skipped", skipped.reply(env)),
            ],
        )
    }
}

impl Reply for LastRestore {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            name,
            timestamp,
            at,
            database,
        } = self;
        map(
            env,
            &[
                ("name", name.encode(env)),
                ("timestamp", timestamp.encode(env)),
                ("at", at.encode(env)),
                ("database", plain(env, database.as_ref())),
            ],
        )
    }
}
