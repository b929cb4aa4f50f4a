//! Erlang maps as input of serde, and errors that name the field and never tell its value: it may be
//! a password.

use rustler::types::atom;
use rustler::{ListIterator, MapIterator, Term, TermType};
use serde::de::value::{MapAccessDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use std::fmt;

/// What is wrong with a request, and where.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// As `database.port`; nothing for the request as a whole.
    place: String,
    what: String,
}

impl Wrong {
    fn new(what: impl Into<String>) -> Self {
        Self {
            place: String::new(),
            what: what.into(),
        }
    }

    /// The same, of a thing that is in the field `name`.
    pub(crate) fn within(self, name: &str) -> Self {
        let place = match self.place.as_str() {
            "" => name.to_owned(),
            list if list.starts_with('[') => format!("{name}{list}"),
            inner => format!("{name}.{inner}"),
        };
        Self { place, ..self }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Wrong {}

impl Error for Wrong {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::new(what.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("it should be {}", plain(&expected.to_string())))
    }

    fn invalid_value(value: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(value, expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("it should be {}", plain(&expected.to_string())))
    }

    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!(
            "there is no field {}; the fields are {}",
            name.escape_debug(),
            expected.join(", ")
        ))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(format!("the field {name} is missing"))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::new(format!("the field {name} is there more than once"))
    }
}

/// What serde expects, in words of Erlang.
fn plain(expected: &str) -> &str {
    match expected {
        "a string" => "text (a binary or a string)",
        "path string" => "a path (a binary or a string)",
        "a boolean" => "true or false",
        "a date string" => "a date, {Year, Month, Day}",
        "a sequence" => "a list",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        other if other.starts_with("struct ") => "a map",
        other => other,
    }
}

/// How deep maps and lists can be in each other. No request has more than four; and what is far deeper, also in
/// a field that is ignored, would take more than there is of a stack, and with that the node.
const DEEPEST: u8 = 16;

/// A map with names as keys, and how deep it is in others. `undefined` is the same as absence.
#[derive(Clone)]
pub(crate) struct Fields<'a>(Vec<(String, Term<'a>)>, u8);

impl<'a> Fields<'a> {
    pub(crate) fn of(term: Term<'a>) -> Result<Self, Wrong> {
        Self::at(term, 0)
    }

    fn at(term: Term<'a>, depth: u8) -> Result<Self, Wrong> {
        let iterator = MapIterator::new(term).ok_or_else(|| Wrong::new("it should be a map"))?;
        let mut fields = Vec::new();
        for (key, value) in iterator {
            let name = match key.get_type() {
                TermType::Atom => key.atom_to_string().ok(),
                TermType::Binary => key.decode::<String>().ok(),
                _ => None,
            };
            let name = name.ok_or_else(|| Wrong::new("the names of fields should be atoms"))?;
            if atom::undefined() != value {
                fields.push((name, value));
            }
        }
        Ok(Self(fields, depth))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().any(|other| other == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The fields of these names, and the others.
    pub(crate) fn partition(self, names: &[&str]) -> (Self, Self) {
        let (named, others) = self
            .0
            .into_iter()
            .partition(|(name, _)| names.contains(&name.as_str()));
        (Self(named, self.1), Self(others, self.1))
    }

    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, Wrong> {
        T::deserialize(MapAccessDeserializer::new(self.access()))
    }

    fn access(self) -> Access<'a> {
        Access {
            fields: self.0.into_iter(),
            current: None,
            depth: self.1,
        }
    }
}

struct Access<'a> {
    fields: std::vec::IntoIter<(String, Term<'a>)>,
    current: Option<(String, Term<'a>)>,
    depth: u8,
}

impl<'de> MapAccess<'de> for Access<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        self.current = self.fields.next();
        let Some((name, _)) = &self.current else {
            return Ok(None);
        };
        let name: StringDeserializer<Wrong> = name.clone().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some((name, value)) = self.current.take() else {
            return Err(Wrong::new("a field has no value"));
        };
        Value::within(value, self.depth)
            .and_then(|value| seed.deserialize(value))
            .map_err(|wrong| wrong.within(&name))
    }
}

/// Any value in a request, and how deep it is in maps and lists.
pub(crate) struct Value<'a>(Term<'a>, u8);

impl<'a> Value<'a> {
    pub(crate) fn new(term: Term<'a>) -> Self {
        Self(term, 0)
    }

    /// One in a map or a list that is so deep.
    fn within(term: Term<'a>, depth: u8) -> Result<Self, Wrong> {
        match depth {
            DEEPEST.. => Err(Wrong::new("it is far too deep")),
            _ => Ok(Self(term, depth + 1)),
        }
    }

    fn text(&self) -> Result<String, Wrong> {
        let text: String = self
            .0
            .decode()
            .map_err(|_| Wrong::new("it should be text in UTF-8, and holds other bytes"))?;
        if text.is_empty() {
            return Err(Wrong::new("it is empty"));
        }
        if text.contains('\0') {
            return Err(Wrong::new("it holds a NUL character"));
        }
        Ok(text)
    }

    fn list(&self) -> Result<Vec<Term<'a>>, Wrong> {
        // The iterator panics on an improper list.
        let length = self.0.list_length();
        let iterator = self.0.decode::<ListIterator<'a>>();
        match (length, iterator) {
            (Ok(_), Ok(iterator)) => Ok(iterator.collect()),
            _ => Err(Wrong::new("it is not a proper list")),
        }
    }
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0.get_type() {
            TermType::Binary => visitor.visit_string(self.text()?),
            TermType::Map => visitor.visit_map(Fields::at(self.0, self.1)?.access()),
            TermType::Integer => match self.0.decode::<i64>() {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(Wrong::invalid_type(Unexpected::Other("number"), &visitor)),
            },
            TermType::Atom => match self.0.decode::<bool>() {
                Ok(truth) => visitor.visit_bool(truth),
                Err(_) => Err(Wrong::invalid_type(Unexpected::Other("atom"), &visitor)),
            },
            TermType::List => {
                let items = self.list()?.into_iter().enumerate();
                visitor.visit_seq(SeqDeserializer::new(
                    items.map(|(at, item)| Item(at, item, self.1)),
                ))
            }
            _ => Err(Wrong::invalid_type(Unexpected::Other("term"), &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if atom::undefined() == self.0 {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    /// Without this, a struct could be given as a list of its fields' values.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_map(Fields::at(self.0, self.1)?.access())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// An element of a list that is so deep.
struct Item<'a>(usize, Term<'a>, u8);

impl<'de, 'a> IntoDeserializer<'de, Wrong> for Item<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Item<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let Self(at, term, depth) = self;
        Value::within(term, depth)
            .and_then(|value| value.deserialize_any(visitor))
            .map_err(|wrong| wrong.within(&format!("[{at}]")))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit option
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
