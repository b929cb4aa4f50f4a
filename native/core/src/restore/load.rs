//! A dump of a backup into the database.

use crate::archive::Incomplete;
use crate::database::{self, Loaded, Purpose, TransactionId, Trust};
use crate::error::Result;
use crate::part_reader::PartReader;
use crate::progress::Monitor;
use crate::site::Database;
use crate::stream::Encryption;
use std::cell::RefCell;
use std::io::{self, Read};

/// Loads the dump that `reader` reads, which is proven again before it is final.
pub(crate) fn load(
    database: &Database,
    reader: PartReader,
    purpose: Purpose,
    began: impl FnOnce(TransactionId) -> Result<()>,
    monitor: &Monitor,
) -> Result<Loaded> {
    /// The reader, while it is needed for reading and for the proof after that.
    struct Dump<'a>(&'a RefCell<Option<PartReader>>);

    impl Read for Dump<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.borrow_mut().as_mut() {
                Some(reader) => reader
                    .read(buffer)
                    .map_err(|error| Incomplete::Read(error).of(reader.path()).into()),
                None => Ok(0),
            }
        }
    }

    let trust = trust(reader.encryption());
    let reader = RefCell::new(Some(reader));
    let prove = || reader.take().map_or(Ok(()), PartReader::finish);
    database::load(
        database,
        Dump(&reader),
        trust,
        purpose,
        began,
        prove,
        monitor,
    )
}

/// What the encryption of a dump proves.
pub(super) fn trust(encryption: Encryption) -> Trust {
    match encryption {
        Encryption::Z2 => Trust::Authenticated,
        Encryption::Z1 | Encryption::None => Trust::Unproven,
    }
}
