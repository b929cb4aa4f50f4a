//! What became of revisions, and what differs between two.

use super::{Reply, atom, map, plain};
use rustler::{Encoder, Env, Term};
use zbackup_core::diff::{Change, Piece};
use zbackup_core::revisions::{Pruned, PrunedRule};

impl Reply for Pruned {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self { dry_run, rules } = self;
        map(
            env,
            &[
                ("dry_run", dry_run.encode(env)),
                ("rules", rules.reply(env)),
            ],
        )
    }
}

impl Reply for PrunedRule {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let Self {
            rule,
            before,
            deleted,
            problem,
        } = self;
        map(
            env,
            &[
                ("rule", atom(env, rule.name())),
                ("before", before.encode(env)),
                ("deleted", deleted.encode(env)),
                ("problem", plain(env, problem.as_deref())),
            ],
        )
    }
}

impl Reply for Piece {
    fn reply<'a>(&self, env: Env<'a>) -> Term<'a> {
        let change = match self.change {
            Change::Equal => "equal",
            Change::Delete => "delete",
            Change::Insert => "insert",
        };
        (atom(env, change), self.text.as_str()).encode(env)
    }
}
