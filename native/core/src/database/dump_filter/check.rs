//! Checks of a dump that need no database.

use super::{DumpFilter, Event, Refused, Schema};
use crate::archive::{Contents, Incomplete};
use crate::database::encoding::DumpReader;
use crate::error::Error;
use std::io::{self, Read};

/// Checks that a dump in the plain format of `pg_dump` has its end (`pg_dump` writes a last comment when all is
/// written) and that a restore would load it.
///
/// # Errors
/// `Structure` when it is not a whole dump, or holds what a restore refuses; `Read`.
pub fn check_dump(dump: impl Read) -> Result<Contents, Incomplete> {
    check(dump, Schema::default())
}

/// Like [`check_dump`], for a dump that is to be loaded into this schema.
///
/// # Errors
/// As [`check_dump`]; `Read` with a `Usage` inside when it is of another schema.
pub fn check_script(dump: impl Read, schema: &str) -> Result<Contents, Incomplete> {
    check(dump, Schema::of_site(schema))
}

/// Checks that a dump is whole, and returns what a restore would refuse of it. Such a dump can still be loaded by
/// hand.
///
/// # Errors
/// `Structure` when it is not a whole dump; `Read`.
pub(crate) fn watch_dump(dump: impl Read) -> Result<Option<String>, Incomplete> {
    let mut filter = DumpFilter::watched(Schema::default());
    read(dump, &mut filter)?;
    Ok(filter.refusal().map(Refused::to_string))
}

/// Returns what a restore would load of a dump that comes in these pieces, for the fuzz targets.
///
/// # Errors
/// Why the dump is not loaded.
#[doc(hidden)]
pub fn loaded_of<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    schema: &str,
) -> Result<Vec<u8>, String> {
    let mut filter = DumpFilter::to_load(Schema::of_site(schema));
    let mut loaded = Vec::new();
    let mut add = |event: Event<'_>| {
        match event {
            Event::Statement { text, line, kind } => {
                loaded.extend_from_slice(format!("-- line {line}: {kind:?}\n").as_bytes());
                loaded.extend_from_slice(text);
                loaded.extend_from_slice(b"\n;\n");
            }
            Event::Rows(rows) => loaded.extend_from_slice(rows),
            Event::RowsEnd => loaded.extend_from_slice(b"\\.\n"),
        }
        Ok(())
    };
    for piece in pieces {
        filter
            .pass(piece, &mut add)
            .map_err(|error: Refused| error.to_string())?;
    }
    filter.finish()?;
    Ok(loaded)
}

fn check(dump: impl Read, schema: Schema) -> Result<Contents, Incomplete> {
    read(dump, &mut DumpFilter::to_load(schema))
}

fn read(dump: impl Read, filter: &mut DumpFilter) -> Result<Contents, Incomplete> {
    let mut dump = DumpReader::new(dump);
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData if error.get_ref().is_some_and(|inner| !inner.is::<Error>()) => {
            Incomplete::Structure(error.to_string())
        }
        _ => Incomplete::from(error),
    };
    while let Some(block) = dump.next_block().map_err(unreadable)? {
        filter
            .pass(&block, &mut |_| Ok(()))
            .map_err(|refused: Refused| match refused {
                Refused::OtherSchema { .. } => Incomplete::from(Error::from(refused)),
                _ => Incomplete::Structure(refused.to_string()),
            })?;
    }
    filter.finish().map_err(Incomplete::Structure)
}
