//! Why a load failed, in words: the line of the dump, or the step, and what is in the way.

use super::{BLOCKED, Doing, Load, UNDECIDED};
use crate::database::session::identifier;
use crate::error::Error;

/// What `psql` says of a line of its input.
struct Message {
    line: u64,
    words: String,
}

impl Message {
    /// The last one: there `psql` stopped.
    fn last(said: &str) -> Option<Self> {
        const START: &str = "psql:<stdin>:";
        let at = match said.rfind(&format!("\n{START}")) {
            Some(at) => at + 1,
            None => said.starts_with(START).then_some(0)?,
        };
        let (line, words) = said[at + START.len()..].split_once(": ")?;
        Some(Self {
            line: line.parse().ok()?,
            words: words.trim().to_owned(),
        })
    }
}

impl Load<'_> {
    /// Why `psql` has ended.
    pub(super) fn explain(&mut self) -> Error {
        let ended = match self.session.end() {
            Ok(ended) => ended,
            Err(error) => return error,
        };
        let program = self.session.program();
        if self.doing == Doing::Commit {
            return Error::Undecided(format!("{UNDECIDED}\npsql said: {}", ended.said));
        }
        let Some(message) = Message::last(&ended.said) else {
            return program.failure(&ended);
        };
        if message.words.starts_with("FATAL:") || ended.status == "2" {
            return program.failure(&ended);
        }
        let reason = match self.doing {
            Doing::Dump(before) => self.place(message.line.saturating_sub(before), &message.words),
            Doing::Step(step) if message.words.contains(BLOCKED) => {
                let blockers = message.words.split(BLOCKED).nth(1).unwrap_or_default();
                let blockers = blockers.lines().next().unwrap_or_default();
                format!(
                    "cannot {step}, since the old tables are in use by {blockers}: stop the site, or end these \
                     sessions, and restore again"
                )
            }
            Doing::Step(step) => format!("cannot {step}"),
            Doing::Commit => String::new(),
        };
        let denied = ["permission denied", "must be superuser"];
        let reason = match (&self.maker, self.doing) {
            (Some(maker), Doing::Dump(_))
                if denied.iter().any(|word| message.words.contains(word)) =>
            {
                let maker = identifier(maker);
                format!(
                    "{reason}\n(it is loaded as {maker}, whom the site's tables belong to; for what only a \
                     superuser may make, ALTER ROLE {maker} SUPERUSER for the time of the restore)"
                )
            }
            _ => reason,
        };
        program.error(&reason, &message.words)
    }

    /// Where in the dump an error is, from the line at which `psql` noticed it.
    fn place(&self, line: u64, words: &str) -> String {
        let Some(passed) = self.script.passed(line) else {
            return format!("an error before line {line} of the dump");
        };
        let Some(table) = &passed.table else {
            return format!(
                "line {} of the dump is refused by the server: {}",
                passed.line, passed.start
            );
        };
        let row = words
            .lines()
            .find_map(|line| line.strip_prefix("CONTEXT:  COPY "))
            .and_then(|context| context.split(", line ").nth(1))
            .and_then(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_digit());
                rest[..end.unwrap_or(rest.len())].parse::<u64>().ok()
            });
        match row {
            Some(row) => format!(
                "line {} of the dump, row {row} of the table \"{table}\", is refused by the server",
                passed.data + row.saturating_sub(1)
            ),
            None => format!(
                "the data of the table \"{table}\", from line {} of the dump, are refused by the server",
                passed.data
            ),
        }
    }
}
