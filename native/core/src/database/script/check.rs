//! Whether a dump is whole, and what a restore would load.

use super::{Refused, Schema, Script};
use crate::archive::{Contents, Incomplete};
use crate::error::Error;
use std::io::{self, Read};

/// Reads a dump in the plain format of `pg_dump` to its end, and checks that it has one (`pg_dump`
/// writes a last comment when all is written) and that a restore would load it.
///
/// # Errors
/// `Structure` when it is not a whole dump, or holds what a restore refuses; `Read`.
pub fn check_dump(dump: impl Read) -> Result<Contents, Incomplete> {
    check(dump, Schema::default())
}

/// The same, for a dump that is to be loaded into this schema.
///
/// # Errors
/// As [`check_dump`]; `Read` with a `Usage` inside when it is of another schema.
pub fn check_script(dump: impl Read, schema: &str) -> Result<Contents, Incomplete> {
    check(dump, Schema::of_site(schema))
}

/// Checks that a dump is whole, and gives what a restore would refuse of it. Such a dump can still be loaded by
/// hand.
///
/// # Errors
/// `Structure` when it is not a whole dump; `Read`.
pub(crate) fn watch_dump(dump: impl Read) -> Result<Option<String>, Incomplete> {
    let mut script = Script::watched(Schema::default());
    read(dump, &mut script)?;
    Ok(script.refusal().map(Refused::to_string))
}

/// What `psql` would get of a dump that comes in these pieces, for the fuzz targets.
///
/// # Errors
/// Why the dump is not loaded.
#[doc(hidden)]
pub fn loaded_of<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    schema: &str,
) -> Result<Vec<u8>, String> {
    let mut script = Script::to_load(Schema::of_site(schema));
    let mut loaded = Vec::new();
    for piece in pieces {
        script
            .pass(piece, &mut |part| {
                loaded.extend_from_slice(part);
                Ok(())
            })
            .map_err(|error: Refused| error.to_string())?;
    }
    script.finish()?;
    Ok(loaded)
}

fn check(dump: impl Read, schema: Schema) -> Result<Contents, Incomplete> {
    read(dump, &mut Script::to_load(schema))
}

fn read(mut dump: impl Read, script: &mut Script) -> Result<Contents, Incomplete> {
    let mut block = vec![0; 64 << 10];
    loop {
        match dump.read(&mut block) {
            Ok(0) => break,
            Ok(count) => {
                script
                    .pass(&block[..count], &mut |_| Ok(()))
                    .map_err(|refused: Refused| match refused {
                        Refused::OtherSchema { .. } => Incomplete::from(Error::from(refused)),
                        _ => Incomplete::Structure(refused.to_string()),
                    })?
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    script.finish().map_err(Incomplete::Structure)
}
