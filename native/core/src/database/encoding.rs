//! A dump in UTF-8, whatever it was written in.
//!
//! A character becomes the one that PostgreSQL itself makes of it. The tables of `encoding_rs` are those of the web
//! (<https://encoding.spec.whatwg.org>): where they differ from PostgreSQL's, in all of their one-, two- and three-byte
//! sequences, they are corrected here, or the encoding is refused. What they do not know is refused too, and not replaced.

use bytes::{Bytes, BytesMut};
use encoding_rs::{CoderResult, Decoder, DecoderResult, Encoding};
use memchr::memmem;
use std::io::{self, ErrorKind, Read};

/// Length of a block, in bytes.
const BLOCK_LEN: usize = 256 << 10;
/// `pg_dump` names the encoding in the first lines of a dump, within so many bytes.
const HEAD_LEN: usize = 8 << 10;

/// The encodings that a dump can be converted from, by their letters and digits, and the web's names of them.
const ENCODINGS: [(&str, &str); 40] = [
    ("LATIN1", "windows-1252"),
    ("ISO88591", "windows-1252"),
    ("LATIN2", "iso-8859-2"),
    ("LATIN3", "iso-8859-3"),
    ("LATIN4", "iso-8859-4"),
    ("LATIN5", "windows-1254"),
    ("LATIN6", "iso-8859-10"),
    ("LATIN7", "iso-8859-13"),
    ("LATIN8", "iso-8859-14"),
    ("LATIN9", "iso-8859-15"),
    ("LATIN10", "iso-8859-16"),
    ("ISO88595", "iso-8859-5"),
    ("ISO88596", "iso-8859-6"),
    ("ISO88597", "iso-8859-7"),
    ("ISO88598", "iso-8859-8"),
    ("WIN1250", "windows-1250"),
    ("WIN1251", "windows-1251"),
    ("WIN", "windows-1251"),
    ("WIN1252", "windows-1252"),
    ("WIN1253", "windows-1253"),
    ("WIN1254", "windows-1254"),
    ("WIN1255", "windows-1255"),
    ("WIN1256", "windows-1256"),
    ("WIN1257", "windows-1257"),
    ("WIN1258", "windows-1258"),
    ("WIN866", "ibm866"),
    ("ALT", "ibm866"),
    ("WIN874", "windows-874"),
    ("KOI8", "koi8-r"),
    ("KOI8R", "koi8-r"),
    ("KOI8U", "koi8-u"),
    ("EUCJP", "euc-jp"),
    ("EUCKR", "euc-kr"),
    ("UHC", "euc-kr"),
    ("EUCCN", "gbk"),
    ("GBK", "gbk"),
    ("SJIS", "shift_jis"),
    ("SHIFTJIS", "shift_jis"),
    ("MSKANJI", "shift_jis"),
    ("WIN932", "shift_jis"),
];

/// A dump, in UTF-8 blocks.
pub(super) struct DumpReader<R> {
    dump: R,
    encoding: Option<String>,
    convert: Option<Converter>,
    /// Whether the head was looked at.
    is_open: bool,
    bytes: u64,
}

struct Converter {
    decoder: Decoder,
    /// Characters of the web that PostgreSQL has others for.
    corrections: &'static [(char, char)],
    /// The bytes 0x80 to 0x9f are control characters.
    has_controls: bool,
}

impl<R: Read> DumpReader<R> {
    pub(super) fn new(dump: R) -> Self {
        Self {
            dump,
            encoding: None,
            convert: None,
            is_open: false,
            bytes: 0,
        }
    }

    /// Returns the name in the dump's `SET client_encoding`.
    pub(super) fn encoding(&self) -> Option<&str> {
        self.encoding.as_deref()
    }

    /// Returns the next block, `None` at the end. A dump in UTF-8 or SQL_ASCII passes as it is.
    ///
    /// # Errors
    /// Those of the dump; `InvalidData` for an encoding that cannot be converted, and for bytes that are not of it.
    pub(super) fn next_block(&mut self) -> io::Result<Option<Bytes>> {
        let mut block = BytesMut::zeroed(BLOCK_LEN);
        let wanted = if self.is_open { 1 } else { HEAD_LEN };
        let mut count = 0;
        while count < wanted {
            match self.dump.read(&mut block[count..]) {
                Ok(0) => break,
                Ok(read) => count += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        block.truncate(count);
        if !self.is_open {
            self.is_open = true;
            self.encoding = named(&block[..count.min(HEAD_LEN)]);
            self.convert = self.encoding.as_deref().map_or(Ok(None), Converter::new)?;
        }
        let is_end = count == 0;
        let Some(convert) = &mut self.convert else {
            return Ok((!is_end).then(|| block.freeze()));
        };
        let text = convert.text(&block, is_end).map_err(|at| {
            let encoding = self.encoding.as_deref().unwrap_or_default();
            let at = self.bytes + at as u64;
            invalid(format!(
                "byte {at} of the dump is not of its encoding, {encoding}"
            ))
        })?;
        self.bytes += count as u64;
        Ok((!is_end || !text.is_empty()).then(|| text.into()))
    }
}

impl Converter {
    /// Returns the converter from an encoding, where one is needed.
    fn new(name: &str) -> io::Result<Option<Self>> {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.to_ascii_uppercase();
        if ["UTF8", "UNICODE", "SQLASCII"].contains(&plain.as_str()) {
            return Ok(None);
        }
        let known = ENCODINGS.iter().find(|(known, _)| *known == plain);
        let encoding = known.and_then(|(_, label)| Encoding::for_label(label.as_bytes()));
        let Some(encoding) = encoding else {
            return Err(invalid(format!(
                "the encoding of the dump, {name:?}, cannot be converted as PostgreSQL would: load it by hand"
            )));
        };
        Ok(Some(Self {
            decoder: encoding.new_decoder_without_bom_handling(),
            corrections: match plain.as_str() {
                "EUCJP" => &[('¦', '￤')],
                "EUCCN" => &[('·', '・'), ('—', '―')],
                "KOI8U" => &[('ў', '╝'), ('Ў', '╬')],
                _ => &[],
            },
            has_controls: ["LATIN1", "ISO88591", "LATIN5"].contains(&plain.as_str()),
        }))
    }

    /// Converts bytes, of which the last may be the start of a character. Else the place of what is none is returned.
    fn text(&mut self, bytes: &[u8], is_end: bool) -> Result<String, usize> {
        if self.has_controls {
            return Ok(self.text_with_controls(bytes));
        }
        let mut text = String::with_capacity(bytes.len() * 3 + 16);
        let mut at = 0;
        loop {
            let (result, read) =
                self.decoder
                    .decode_to_string_without_replacement(&bytes[at..], &mut text, is_end);
            at += read;
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => text.reserve(bytes.len() + 16),
                DecoderResult::Malformed(..) => return Err(at),
            }
        }
        for (web, ours) in self.corrections {
            if text.contains(*web) {
                text = text.replace(*web, ours.encode_utf8(&mut [0; 4]));
            }
        }
        Ok(text)
    }

    /// One byte is one character here.
    fn text_with_controls(&mut self, bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len() * 2 + 16);
        for part in bytes.chunk_by(|a, b| is_control(*a) == is_control(*b)) {
            if part.first().copied().is_some_and(is_control) {
                text.extend(part.iter().map(|&byte| char::from(byte)));
                continue;
            }
            text.reserve(part.len() * 3 + 16);
            let (result, ..) = self.decoder.decode_to_string(part, &mut text, false);
            debug_assert_eq!(result, CoderResult::InputEmpty);
        }
        text
    }
}

fn is_control(byte: u8) -> bool {
    (0x80..0xa0).contains(&byte)
}

/// Returns the encoding that a statement on a line of its own sets.
fn named(head: &[u8]) -> Option<String> {
    const SET: &[u8] = b"\nSET client_encoding = '";
    let start = memmem::find(head, SET)? + SET.len();
    let length = memmem::find(&head[start..], b"';")?;
    let name = str::from_utf8(&head[start..start + length]).ok()?;
    Some(name.to_owned())
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A dump that comes a few bytes at a time.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn read(encoding: &str, text: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let padding = "-- more than a head\n".repeat(HEAD_LEN / 20 + 1);
        let head = format!("--\nSET client_encoding = '{encoding}';\n{padding}");
        let dump = [head.as_bytes(), text].concat();
        let mut reader = DumpReader::new(Dripping(&dump, step));
        let mut read = Vec::new();
        while let Some(block) = reader.next_block()? {
            read.extend_from_slice(&block);
        }
        assert_eq!(reader.encoding(), Some(encoding));
        Ok(read.split_off(head.len()))
    }

    /// The texts on the right are what `convert_from` of PostgreSQL makes of the bytes.
    #[test]
    fn characters_are_those_of_postgresql() {
        for (encoding, bytes, text) in [
            ("LATIN1", &b"\xe9\x80\x9f|"[..], "é\u{80}\u{9f}|"),
            ("LATIN5", b"\xfe\x81\xdd", "ş\u{81}İ"),
            ("latin-9", b"\xa4", "€"),
            ("ISO_8859_5", b"\xb0\xff", "Аџ"),
            ("WIN1252", b"\x80\xe9", "€é"),
            ("KOI8U", b"\xae\xbe\xc1", "╝╬а"),
            ("EUC_JP", b"\xa4\xa2\x8f\xa2\xc3\xa1\xc1", "あ￤～"),
            ("SJIS", b"\x83\x5c\\\x8a\xbf", "ソ\\漢"),
            ("EUC_KR", b"\xb0\xa1", "가"),
            ("EUC_CN", b"\xa1\xa4\xa1\xaa\xb0\xa1", "・―啊"),
            ("GBK", b"\x81\x40", "丂"),
        ] {
            for step in [1, 2, 3, 1000, 1 << 20] {
                let converted = read(encoding, bytes, step).unwrap();
                let converted = String::from_utf8(converted).unwrap();
                assert_eq!(converted, text, "{encoding}, {step}");
            }
        }
    }

    #[test]
    fn bytes_pass_where_there_is_nothing_to_convert() {
        for encoding in ["UTF8", "SQL_ASCII", "unicode"] {
            for step in [1, 1000] {
                assert_eq!(read(encoding, b"\xff\x80\0", step).unwrap(), b"\xff\x80\0");
            }
        }
        let mut plain = DumpReader::new(&b"\xff"[..]);
        assert_eq!(plain.next_block().unwrap().unwrap(), b"\xff"[..]);
        assert_eq!(
            (plain.next_block().unwrap(), plain.encoding()),
            (None, None)
        );
    }

    #[test]
    fn nothing_is_replaced() {
        for (encoding, bytes, words) in [
            ("EUC_JP", &b"\xa4"[..], "is not of its encoding, EUC_JP"),
            ("EUC_JP", b"\x8f\xf3\xf3|", "is not of its encoding"),
            ("SJIS", b"\xff|", "byte "),
            ("BIG5", b"", "cannot be converted"),
            ("MULE_INTERNAL", b"", "load it by hand"),
            ("x', 'y", b"", "cannot be converted"),
        ] {
            let error = read(encoding, bytes, 7).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
