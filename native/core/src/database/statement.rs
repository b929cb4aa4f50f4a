//! What a statement of a dump is, by its first words: what `pg_dump` writes for one schema is loaded,
//! who owns it and who may see it is left out, anything else is refused.

mod known;

use super::token::{Token, is_copy_in, starts, words};
use known::Named::{InSchema, OnTable};
use known::{SETTINGS, TIMEOUTS, is_safe, kind};

/// What to do with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// That depends on what follows.
    More,
    Load,
    LeaveOut,
}

use Verdict::{LeaveOut, Load, More};

/// The schema that a dump should be of; or that it turns out to be of.
#[derive(Debug, Default)]
pub(super) struct Schema {
    name: Option<String>,
    is_the_sites: bool,
    is_seen: bool,
    /// It is of this one from its start.
    other: Option<String>,
    /// Security labels that were left out.
    labels: u64,
}

impl Schema {
    pub(super) fn of_site(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            is_the_sites: true,
            is_seen: false,
            other: None,
            labels: 0,
        }
    }

    /// How many security labels the dump has, none of which is loaded: a server may not have who understands
    /// them, or understand them in another way.
    pub(super) fn labels(&self) -> u64 {
        self.labels
    }

    /// Nothing in the dump says that it is of the site: loading it would only empty that.
    pub(super) fn is_missing(&self) -> bool {
        self.is_the_sites && !self.is_seen
    }

    /// The schema of a dump that is of another site.
    pub(super) fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }

    fn see(&mut self, seen: &str) -> Result<(), String> {
        let is_first = !self.is_seen;
        self.is_seen = true;
        match &self.name {
            None => {
                self.name = Some(seen.to_owned());
                Ok(())
            }
            Some(name) if name == seen => Ok(()),
            Some(name) if self.is_the_sites => {
                self.other = is_first.then(|| seen.to_owned());
                Err(format!(
                    "the dump is of the schema \"{seen}\", the site's is \"{name}\""
                ))
            }
            Some(name) => Err(format!(
                "the dump is of the schema \"{name}\", and here of \"{seen}\""
            )),
        }
    }

    /// What to do with the statement that starts with these tokens, or `is_complete`. In brackets only
    /// those of a `SELECT` count.
    pub(super) fn judge(&mut self, tokens: &[Token], is_complete: bool) -> Result<Verdict, String> {
        let first = match tokens.first() {
            Some(Token::Word(first)) => first.as_str(),
            _ => "",
        };
        let verdict = match first {
            "grant" | "revoke" => LeaveOut,
            "set" if is_complete => self.set(tokens)?,
            "select" => self.select(tokens, is_complete)?,
            "create" => self.create(tokens, is_complete)?,
            "alter" => self.alter(tokens, is_complete)?,
            "comment" => self.comment(tokens, is_complete)?,
            "copy" if is_complete => self.copy(tokens)?,
            "insert" if tokens.get(1).is_some_and(|token| token.is("into")) => {
                self.named(tokens, 2, is_complete)?
            }
            "refresh" if starts(&tokens[1..], &["materialized", "view"]) => {
                self.named(tokens, 3, is_complete)?
            }
            "security" if starts(&tokens[1..], &["label"]) => {
                self.labels += 1;
                LeaveOut
            }
            "reset" if starts(&tokens[1..], &["session", "authorization"]) => LeaveOut,
            "set" | "copy" => More,
            "begin" | "commit" | "rollback" | "end" | "abort" | "start" | "savepoint"
            | "release" | "prepare" => {
                return Err(format!(
                    "{} would end the transaction that a restore is",
                    first.to_uppercase()
                ));
            }
            // What there is of it is told.
            _ if !is_complete && tokens.len() < 3 => More,
            _ => return Err(unknown(tokens)),
        };
        if verdict == More && is_complete {
            return Err(unknown(tokens));
        }
        Ok(verdict)
    }

    fn set(&mut self, tokens: &[Token]) -> Result<Verdict, String> {
        if starts(&tokens[1..], &["session", "authorization"]) {
            return Ok(LeaveOut); // around a GRANT
        }
        let [_, Token::Word(setting), sign, value, rest @ ..] = tokens else {
            return Err(unknown_setting(tokens));
        };
        let is_assignment = sign.is_sign(b'=') || sign.is("to");
        if is_assignment && TIMEOUTS.contains(&setting.as_str()) {
            return Ok(LeaveOut);
        }
        if !is_assignment || !SETTINGS.contains(&setting.as_str()) {
            return Err(unknown_setting(tokens));
        }
        let text = match value {
            Token::Word(text) | Token::Name(text) | Token::Text(text) => text.as_str(),
            _ => "",
        };
        match setting.as_str() {
            "standard_conforming_strings" if text != "on" => Err(
                "its strings are of the old kind (standard_conforming_strings is off): dump with a \
                 server where it is on, or load it by hand"
                    .into(),
            ),
            "client_encoding" if !is_safe(text) => Err(format!(
                "the encoding \"{text}\" is not one of a server: load it by hand"
            )),
            // As old versions of pg_dump name the schema.
            "search_path" if !text.is_empty() && text != "pg_catalog" => {
                self.see(text)?;
                Ok(Load)
            }
            "search_path" => Ok(Load),
            _ if rest.is_empty() => Ok(Load),
            _ => Err(unknown_setting(tokens)),
        }
    }

    fn select(&mut self, tokens: &[Token], is_complete: bool) -> Result<Verdict, String> {
        let mut at = 1;
        if let [star, from, ..] = &tokens[1..]
            && star.is_sign(b'*')
            && from.is("from")
        {
            at = 3; // from version 18
        }
        let call = &tokens[at..];
        let [catalog, dot, Token::Word(function), ..] = call else {
            return if is_complete || call.len() > 2 {
                Err(unknown(tokens))
            } else {
                Ok(More)
            };
        };
        if !catalog.is("pg_catalog") || !dot.is_sign(b'.') {
            return Err(unknown(tokens));
        }
        match function.as_str() {
            "pg_restore_relation_stats" | "pg_restore_attribute_stats" if at == 3 => Ok(Load),
            "set_config" | "setval" if !is_complete => Ok(More),
            "set_config" => match &call[3..] {
                [
                    Token::Sign(b'('),
                    Token::Text(setting),
                    Token::Sign(b','),
                    Token::Text(path),
                    Token::Sign(b','),
                    last,
                    Token::Sign(b')'),
                ] if setting == "search_path" && path.is_empty() && last.is("false") => Ok(Load),
                _ => Err(unknown_setting(tokens)),
            },
            "setval" => match &call[3..] {
                [
                    Token::Sign(b'('),
                    Token::Text(sequence),
                    Token::Sign(b','),
                    rest @ ..,
                    Token::Sign(b')'),
                ] if !rest.iter().any(|token| token.is_sign(b'(')) => {
                    if let Some(schema) = schema_of(sequence) {
                        self.see(&schema)?;
                    }
                    Ok(Load)
                }
                _ => Err(unknown(tokens)),
            },
            _ => Err(unknown(tokens)),
        }
    }

    fn create(&mut self, tokens: &[Token], is_complete: bool) -> Result<Verdict, String> {
        let mut at = 1;
        if starts(&tokens[1..], &["or", "replace"]) {
            at = 3;
        }
        if tokens.get(at).is_some_and(|token| token.is("schema")) {
            if !is_complete {
                return Ok(More);
            }
            at += 1;
            if starts(&tokens[at..], &["if", "not", "exists"]) {
                at += 3;
            }
            let rest = tokens.get(at + 1..).unwrap_or_default();
            let is_plain = rest.is_empty() || (starts(rest, &["authorization"]) && rest.len() == 2);
            return match tokens.get(at).and_then(Token::name) {
                Some(name) if is_plain => {
                    self.see(name)?;
                    Ok(LeaveOut)
                }
                _ => Err(unknown(tokens)),
            };
        }
        match kind(tokens, at, is_complete)? {
            None => Ok(More),
            // The index of a dump is on a table that is named with its schema.
            Some((_, OnTable)) => Ok(Load),
            Some((after, InSchema)) if tokens[after - 1].is("index") => Ok(Load),
            Some((after, InSchema)) => self.named(tokens, after, is_complete),
        }
    }

    fn alter(&mut self, tokens: &[Token], is_complete: bool) -> Result<Verdict, String> {
        if starts(&tokens[1..], &["default", "privileges"]) {
            return Ok(LeaveOut);
        }
        if tokens.len() < 3 && !is_complete {
            return Ok(More);
        }
        let is_owner = matches!(tokens, [.., owner, to, name] if owner.is("owner") && to.is("to") && name.name().is_some());
        let is_schema = tokens.get(1).is_some_and(|token| token.is("schema"));
        if is_schema {
            return match is_complete {
                false => Ok(More),
                true if is_owner => Ok(LeaveOut),
                true => Err(unknown(tokens)),
            };
        }
        let Some((mut at, named)) = kind(tokens, 1, is_complete)? else {
            return Ok(More);
        };
        if !is_complete {
            // Its last words tell whether it is about the owner.
            return Ok(More);
        }
        if starts(&tokens[at..], &["if", "exists"]) {
            at += 2;
        }
        if tokens.get(at).is_some_and(|token| token.is("only")) {
            at += 1;
        }
        if is_owner {
            return Ok(LeaveOut);
        }
        match named {
            InSchema => self.named(tokens, at, true),
            OnTable => Ok(Load),
        }
    }

    fn comment(&mut self, tokens: &[Token], is_complete: bool) -> Result<Verdict, String> {
        match tokens {
            [_] if !is_complete => Ok(More),
            [_, on] if !is_complete && on.is("on") => Ok(More),
            [_, on, schema, name, ..] if on.is("on") && schema.is("schema") => {
                match name.name() {
                    Some(name) => self.see(name)?,
                    None => return Err(unknown(tokens)),
                }
                Ok(Load)
            }
            [_, on, schema] if !is_complete && on.is("on") && schema.is("schema") => Ok(More),
            [_, on, _, ..] if on.is("on") => match kind(tokens, 2, is_complete)? {
                None => Ok(More),
                Some((after, InSchema)) => self.named(tokens, after, is_complete),
                Some((_, OnTable)) => Ok(Load),
            },
            _ => Err(unknown(tokens)),
        }
    }

    fn copy(&mut self, tokens: &[Token]) -> Result<Verdict, String> {
        if !is_copy_in(tokens) {
            return Err("COPY reads or writes something else than the dump itself".into());
        }
        self.named(tokens, 1, true)
    }

    /// The name at a place has no other schema than that of the dump.
    fn named(&mut self, tokens: &[Token], at: usize, is_complete: bool) -> Result<Verdict, String> {
        match &tokens[at.min(tokens.len())..] {
            [name, dot, ..] if dot.is_sign(b'.') => match name.name() {
                Some(schema) => self.see(schema)?,
                None => return Err(unknown(tokens)),
            },
            [_, _, ..] => {}
            _ if is_complete => {}
            _ => return Ok(More),
        }
        Ok(Load)
    }
}

/// The schema in the text that names a sequence.
fn schema_of(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else {
        return text
            .split_once('.')
            .map(|(schema, _)| schema.to_ascii_lowercase());
    };
    let mut name = String::new();
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => match rest.next()? {
                '"' => name.push('"'),
                '.' => return Some(name),
                _ => return None,
            },
            c => name.push(c),
        }
    }
}

fn unknown(tokens: &[Token]) -> String {
    format!(
        "\"{}\" is not what pg_dump writes for a schema",
        words(tokens)
    )
}

fn unknown_setting(tokens: &[Token]) -> String {
    format!("\"{}\" is not a setting of pg_dump", words(tokens))
}

#[cfg(test)]
mod tests;
