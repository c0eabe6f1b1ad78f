//! A ZIP archive (APPNOTE 6.3) whose files are stored as they are: sound is compressed already. Only what lies around the
//! files is made here, so that the files need not be in memory. A crate for it wants the bytes and a place to write to.

/// Sizes have 32 bits.
pub const MAX_BYTES: u64 = 0xffff_ffff;

const VERSION: u16 = 20;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// The first of January 1980: the name of the file has the time.
const DATE: u16 = 1 << 5 | 1;

#[derive(Debug, Default)]
pub struct Zip {
    directory: Vec<u8>,
    files: u16,
    bytes: u64,
}

impl Zip {
    /// What precedes the file.
    pub fn add(&mut self, name: &str, bytes: u64, checksum: u32) -> Vec<u8> {
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut entry = Vec::new();
        for field in [VERSION, FLAGS, 0, 0, DATE] {
            entry.extend(field.to_le_bytes());
        }
        for field in [checksum, size, size] {
            entry.extend(field.to_le_bytes());
        }
        entry.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        entry.extend([0; 2]);
        let place = u32::try_from(self.bytes).unwrap_or(u32::MAX);
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend_from_slice(&entry);
        self.directory.extend([0; 10]);
        self.directory.extend(place.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        let mut header = b"PK\x03\x04".to_vec();
        header.extend(entry);
        header.extend_from_slice(name.as_bytes());
        self.files += 1;
        self.bytes += header.len() as u64 + bytes;
        header
    }

    /// What follows the last file.
    pub fn end(mut self) -> Vec<u8> {
        let size = u32::try_from(self.directory.len()).unwrap_or(u32::MAX);
        self.directory.extend(b"PK\x05\x06\0\0\0\0");
        self.directory.extend(self.files.to_le_bytes());
        self.directory.extend(self.files.to_le_bytes());
        self.directory.extend(size.to_le_bytes());
        self.directory.extend(u32::try_from(self.bytes).unwrap_or(u32::MAX).to_le_bytes());
        self.directory.extend([0; 2]);
        self.directory
    }
}

/// CRC-32 (ITU-T V.42), of a file in pieces; it begins with 0.
pub fn checksum(before: u32, piece: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        let byte = u32::try_from(byte).unwrap_or(0);
        (0..8).fold(byte, |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    let add = |sum: u32, byte: &u8| {
        let [low, ..] = (sum ^ u32::from(*byte)).to_le_bytes();
        table.get(usize::from(low)).map_or(0, |entry| entry ^ sum >> 8)
    };
    !piece.iter().fold(!before, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_file_in_pieces_is_that_of_the_file() {
        assert_eq!(checksum(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(checksum(0, b"1234"), b"56789"), 0xcbf4_3926);
    }

    #[test]
    fn the_directory_names_every_file_and_its_place() {
        let mut zip = Zip::default();
        let first = zip.add("a.ogg", 3, 1);
        let second = zip.add("Ü.ogg", 2, 2);
        let place = u32::try_from(first.len() + 3).unwrap_or(0).to_le_bytes();
        let start = u32::try_from(first.len() + 3 + second.len() + 2).unwrap_or(0).to_le_bytes();
        let end = zip.end();
        assert!(end.windows(10).any(|bytes| bytes[..4] == place && bytes[4..].starts_with("Ü.ogg".as_bytes())));
        assert!(end.windows(4).any(|bytes| bytes == start), "where the directory begins");
    }
}
