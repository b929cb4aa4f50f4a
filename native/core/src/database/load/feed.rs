//! The statements and rows of a dump, one after another, to the server.

use super::existing_schema::ExistingSchema;
use super::failure::{Doing, Place};
use super::guard::Guard;
use super::{Load, raw_text};
use crate::database::connection::{Connection, CopyRows, Stopped, fault, identifier};
use crate::database::dump_filter::{Event, Kind};
use crate::database::encoding::DumpReader;
use crate::error::Error;
use bytes::Bytes;
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

/// The search_path that the statements of a dump are executed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchPath {
    /// As the dump has it: all names in it have their schema.
    Empty,
    /// The site's schema, which functions of the site may rely on.
    Site,
}

/// Where the events of a filter go.
struct Feed<'f, 'a> {
    connection: &'f mut Connection<'a>,
    doing: &'f mut Doing,
    schema: &'f str,
    path: SearchPath,
    guard: Guard,
    rows: Option<CopyRows>,
    /// How the server is to read strings.
    is_strings_standard: bool,
    encoding: String,
}

impl Load<'_> {
    pub(super) fn feed(
        &mut self,
        dump: &mut impl Read,
        path: SearchPath,
        existing: &ExistingSchema,
    ) -> Result<(), Stopped> {
        let mut feed = Feed {
            connection: &mut self.connection,
            doing: &mut self.doing,
            schema: self.schema,
            path,
            guard: Guard::new(existing),
            rows: None,
            is_strings_standard: true,
            encoding: "UTF8".into(),
        };
        let unreadable =
            |error| Stopped::from(Error::io("cannot read", Path::new("the dump"))(error));
        let mut dump = DumpReader::new(dump);
        while let Some(block) = dump.next_block().map_err(unreadable)? {
            if let Some(encoding) = dump.encoding() {
                encoding.clone_into(&mut feed.encoding);
            }
            self.filter
                .pass(&block, &mut |event| feed.take(event, &block))?;
            // What is done is counted where the file is read.
            self.monitor.check()?;
        }
        self.filter.finish().map_err(fault)?;
        Ok(())
    }
}

impl Feed<'_, '_> {
    fn take(&mut self, event: Event<'_>, block: &Bytes) -> Result<(), Stopped> {
        match event {
            Event::Statement { text, line, kind } => {
                *self.doing = Doing::Dump(Place::new(line, text, &kind));
                self.execute(text, kind)?;
                // A function of the dump could have changed how the server reads the next statement.
                if self.connection.is_strings_standard() != self.is_strings_standard {
                    self.set_strings()?;
                }
                Ok(())
            }
            Event::Rows(part) => {
                let Some(rows) = &mut self.rows else {
                    return Err(Error::Internal("rows without a COPY".into()).into());
                };
                let is_of_block = block.as_ptr_range().contains(&part.as_ptr());
                let part = match is_of_block {
                    true => block.slice_ref(part),
                    false => Bytes::copy_from_slice(part),
                };
                self.connection.send_rows(rows, part)
            }
            Event::RowsEnd => match self.rows.take() {
                Some(rows) => self.connection.finish_rows(rows),
                None => Ok(()),
            },
        }
    }

    fn execute(&mut self, text: &[u8], kind: Kind) -> Result<(), Stopped> {
        let is_escaped = !self.is_strings_standard;
        let statement = match str::from_utf8(text) {
            Ok(statement) => Some(Cow::Borrowed(statement)),
            Err(_) => raw_text::ascii(text, is_escaped).map(Cow::Owned),
        };
        let Some(statement) = statement else {
            return Err(fault(format!(
                "{} is not loaded: it has a name with bytes that are no UTF-8, and the dump does not say what they are \
                 ({}): load it by hand",
                self.doing.place(),
                self.encoding
            )));
        };
        let statement = &*statement;
        match kind {
            Kind::SearchPath => {
                let path = match self.path {
                    SearchPath::Empty => "''".into(),
                    SearchPath::Site => identifier(self.schema),
                };
                self.connection.run(&format!("SET search_path = {path}"))
            }
            Kind::StringsSetting(is_standard) => {
                self.is_strings_standard = is_standard;
                self.set_strings()
            }
            Kind::Encoding(name) => self.set_encoding(&name),
            Kind::Copy { .. } => {
                self.rows = Some(self.connection.copy_in(statement)?);
                Ok(())
            }
            Kind::MayRunCode => {
                self.guard.before(statement)?;
                self.run(statement)
            }
            Kind::Other => self.run(statement),
        }
    }

    fn run(&mut self, statement: &str) -> Result<(), Stopped> {
        self.connection.run(statement)?;
        self.guard.after(statement, self.connection, self.schema)
    }

    fn set_strings(&mut self) -> Result<(), Stopped> {
        let setting = if self.is_strings_standard {
            "on"
        } else {
            "off"
        };
        self.connection
            .run(&format!("SET standard_conforming_strings = {setting}"))
    }

    /// Text is converted before it comes here. In SQL_ASCII nobody knows what it is: the server gets it as it is.
    fn set_encoding(&mut self, name: &str) -> Result<(), Stopped> {
        if name != self.encoding {
            return Err(fault(format!(
                "the dump says that it is in {name}, and further up that it is in {}",
                self.encoding
            )));
        }
        match name.eq_ignore_ascii_case("SQL_ASCII") {
            true => self.connection.run("SET client_encoding = 'SQL_ASCII'"),
            false => Ok(()),
        }
    }
}
