//! What copies in a store came to.

use super::{Reply, atom, map, option, plain};
use rustler::{Encoder, Env, Term};
use zbackup_core::catalog::BackupName;
use zbackup_core::offsite::relay::{Load, Plan};
use zbackup_core::offsite::{Newest, Problem, Pulled, PulledBackup, Pushed, PushedBackup};

impl Reply for Plan {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            loads,
            already,
            problems,
            aside,
            room,
        } = self;
        let already: Vec<&str> = already.iter().map(BackupName::as_str).collect();
        map(
            env,
            &[
                ("loads", loads.reply(env)),
                ("already", already.encode(env)),
                ("problems", problems.reply(env)),
                ("aside", plain(env, aside.as_deref())),
                ("room", plain(env, *room)),
            ],
        )
    }
}

impl Reply for Load {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            name,
            timestamp,
            files,
        } = self;
        map(
            env,
            &[
                ("name", name.as_str().encode(env)),
                ("timestamp", timestamp.encode(env)),
                ("files", files.reply(env)),
            ],
        )
    }
}

impl Reply for Pushed {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            store,
            uploaded,
            already,
            removed,
            problems,
            warnings,
        } = self;
        map(
            env,
            &[
                ("store", store.encode(env)),
                ("uploaded", uploaded.reply(env)),
                ("already", texts(env, already)),
                ("removed", removed.encode(env)),
                ("problems", problems.reply(env)),
                ("warnings", warnings.encode(env)),
            ],
        )
    }
}

impl Reply for PushedBackup {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            name,
            timestamp,
            bytes,
        } = self;
        map(
            env,
            &[
                ("name", name.as_str().encode(env)),
                ("timestamp", timestamp.encode(env)),
                ("bytes", bytes.encode(env)),
            ],
        )
    }
}

impl Reply for Pulled {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            store,
            pulled,
            already,
            problems,
            warnings,
            newest,
        } = self;
        map(
            env,
            &[
                ("store", store.encode(env)),
                ("pulled", pulled.reply(env)),
                ("already", texts(env, already)),
                ("problems", problems.reply(env)),
                ("warnings", warnings.encode(env)),
                ("newest", option(env, newest.as_ref())),
            ],
        )
    }
}

impl Reply for PulledBackup {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            name,
            timestamp,
            bytes,
            is_proven,
            notes,
        } = self;
        map(
            env,
            &[
                ("name", name.as_str().encode(env)),
                ("timestamp", timestamp.encode(env)),
                ("bytes", bytes.encode(env)),
                ("is_proven", is_proven.encode(env)),
                ("notes", notes.encode(env)),
            ],
        )
    }
}

impl Reply for Newest {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            name,
            timestamp,
            is_proven,
            is_new,
        } = self;
        map(
            env,
            &[
                ("name", name.as_str().encode(env)),
                ("timestamp", timestamp.encode(env)),
                ("is_proven", is_proven.encode(env)),
                ("is_new", is_new.encode(env)),
            ],
        )
    }
}

impl Reply for Problem {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { name, kind, reason } = self;
        map(
            env,
            &[
                ("name", name.encode(env)),
                ("kind", atom(env, kind.name())),
                ("reason", reason.encode(env)),
            ],
        )
    }
}

fn texts<'a>(env: Env<'a>, names: &[BackupName]) -> Term<'a> {
    let names: Vec<&str> = names.iter().map(BackupName::as_str).collect();
    names.encode(env)
}
