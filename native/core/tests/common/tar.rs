//! Archives made byte by byte, also those that no program would write.

#![allow(dead_code)] // not every test uses all of it
#![allow(clippy::unwrap_used)]

const BLOCK: usize = 512;

/// The start of an archive. `mode` and `time` are of the entries after them.
pub(crate) struct Tar(pub(crate) Vec<u8>, u32, i64);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Vec::new(), 0o644, 1_000_000_000)
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.1 = mode;
        self
    }

    pub(crate) fn time(mut self, seconds: i64) -> Self {
        self.2 = seconds;
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.file_bytes(name.as_bytes(), data)
    }

    pub(crate) fn file_bytes(self, name: &[u8], data: &[u8]) -> Self {
        self.put(b'0', name, b"", data.len() as u64, data, b"ustar  \0", b"")
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        let mode = if self.1 == 0o644 { 0o755 } else { self.1 };
        let before = self.1;
        self.mode(mode).raw(b'5', name, "", 0, b"").mode(before)
    }

    /// Any entry without data.
    pub(crate) fn link(self, kind: u8, name: &str, target: &str) -> Self {
        self.raw(kind, name, target, 0, b"")
    }

    pub(crate) fn ustar(self, prefix: &str, name: &str, data: &[u8]) -> Self {
        let size = data.len() as u64;
        let magic = b"ustar\x0000";
        self.put(
            b'0',
            name.as_bytes(),
            b"",
            size,
            data,
            magic,
            prefix.as_bytes(),
        )
    }

    /// GNU's long name or target of the entry after it.
    pub(crate) fn long(self, kind: u8, name: &[u8]) -> Self {
        let data = [name, b"\0"].concat();
        self.raw(kind, "././@LongLink", "", data.len() as u64, &data)
    }

    /// Properties of the entry after them.
    pub(crate) fn pax(self, properties: &[(&str, &str)]) -> Self {
        let mut data = String::new();
        for (key, value) in properties {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            data += &format!("{length} {key}={value}\n");
        }
        self.raw(b'x', "PaxHeaders/x", "", data.len() as u64, data.as_bytes())
    }

    /// `size` is what it says, `data` what it has.
    pub(crate) fn raw(self, kind: u8, name: &str, target: &str, size: u64, data: &[u8]) -> Self {
        self.put(
            kind,
            name.as_bytes(),
            target.as_bytes(),
            size,
            data,
            b"ustar  \0",
            b"",
        )
    }

    #[allow(clippy::too_many_arguments)]
    fn put(
        mut self,
        kind: u8,
        name: &[u8],
        target: &[u8],
        size: u64,
        data: &[u8],
        magic: &[u8; 8],
        prefix: &[u8],
    ) -> Self {
        let mut header = [0; BLOCK];
        let mut field =
            |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        field(0, &name[..name.len().min(100)]);
        field(100, format!("{:07o}\0", self.1).as_bytes());
        field(108, b"0000000\x000000000\0");
        field(124, &number(size as i64));
        field(136, &number(self.2));
        field(156, &[kind]);
        field(157, &target[..target.len().min(100)]);
        field(257, magic);
        field(345, prefix);
        Self::checksum(&mut header);
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub(crate) fn checksum(header: &mut [u8]) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

/// Octal, or binary where that does not do.
fn number(value: i64) -> [u8; 12] {
    if (0..1 << 33).contains(&value) {
        return format!("{value:011o}\0").into_bytes().try_into().unwrap();
    }
    let mut field = [if value < 0 { 0xff } else { 0 }; 12];
    field[4..].copy_from_slice(&value.to_be_bytes());
    field[0] |= 0x80;
    field
}
