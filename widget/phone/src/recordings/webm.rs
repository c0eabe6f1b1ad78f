//! Reads the Opus packets out of the `WebM` (Matroska, RFC 9559) that a `MediaRecorder` writes, piece by piece as it
//! comes.

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const CODEC_PRIVATE: u32 = 0x63a2;
const CLUSTER: u32 = 0x1f43_b675;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;

/// No element of a recorder's is as large.
const MAX_ELEMENT_BYTES: usize = 1 << 22;
/// The bits of a block's flags that say how several packets are laced into it.
const LACING: u8 = 0x06;

#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// The identification header of Opus (RFC 7845 §5.1), which is the `CodecPrivate` of its track.
    Head(Vec<u8>),
    Packet(Vec<u8>),
}

/// What the recorder writes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

#[derive(Debug, Default)]
pub struct WebmReader {
    /// Begins with an element that is not there completely.
    rest: Vec<u8>,
}

impl WebmReader {
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Item>, Unreadable> {
        self.rest.extend_from_slice(bytes);
        let mut items = Vec::new();
        let mut done = 0;
        while let Some(element) = Element::read(self.rest.get(done..).unwrap_or_default())? {
            if is_container(element.id) {
                done += element.head;
                continue;
            }
            let size = element.size.filter(|size| *size <= MAX_ELEMENT_BYTES).ok_or(Unreadable)?;
            let Some(content) = self.rest.get(done + element.head..done + element.head + size) else { break };
            match element.id {
                CODEC_PRIVATE => items.push(Item::Head(content.to_vec())),
                SIMPLE_BLOCK | BLOCK => items.push(Item::Packet(packet(content)?.to_vec())),
                _ => {}
            }
            done += element.head + size;
        }
        self.rest.drain(..done);
        Ok(items)
    }
}

/// Its content is elements. A recorder does not know the size of most of these when it begins them.
fn is_container(id: u32) -> bool {
    matches!(id, SEGMENT | TRACKS | TRACK_ENTRY | CLUSTER | BLOCK_GROUP)
}

/// The one packet of a block: after the track's number, two bytes of time and the flags.
fn packet(block: &[u8]) -> Result<&[u8], Unreadable> {
    let (_, track) = number(block).ok_or(Unreadable)?;
    match block.get(track..) {
        Some([_, _, flags, packet @ ..]) if flags & LACING == 0 => Ok(packet),
        _ => Err(Unreadable),
    }
}

struct Element {
    id: u32,
    /// Bytes of id and size.
    head: usize,
    /// `None`: not known.
    size: Option<usize>,
}

impl Element {
    /// `None` where more bytes are needed.
    fn read(bytes: &[u8]) -> Result<Option<Element>, Unreadable> {
        let Some(first) = bytes.first() else { return Ok(None) };
        // An id keeps its length marker (RFC 8794 §5).
        let length = first.leading_zeros() as usize + 1;
        if length > 4 {
            return Err(Unreadable);
        }
        let Some(id) = bytes.get(..length) else { return Ok(None) };
        let id = id.iter().fold(0_u32, |id, byte| id << 8 | u32::from(*byte));
        match bytes.get(length..) {
            Some([0, ..]) => Err(Unreadable),
            Some(rest) => Ok(number(rest).map(|(size, bytes)| Element { id, head: length + bytes, size })),
            None => Ok(None),
        }
    }
}

/// A variable-size integer (RFC 8794 §4) and its bytes; all ones are a size that is not known.
fn number(bytes: &[u8]) -> Option<(Option<usize>, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let value = bytes.get(..length)?.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let ones = 1_u64.checked_shl(u32::try_from(7 * length).ok()?)? - 1;
    let value = value & ones;
    Some((usize::try_from(value).ok().filter(|_| value != ones), length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// As Chromium writes it: Segment and Cluster of unknown size.
    fn recorded() -> Vec<u8> {
        let mut file = vec![0x1a, 0x45, 0xdf, 0xa3, 0x84, 0x42, 0x86, 0x81, 0x01];
        file.extend([0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        file.extend([0x16, 0x54, 0xae, 0x6b, 0x8b, 0xae, 0x89, 0x63, 0xa2, 0x86]);
        file.extend(b"OpusHe");
        file.extend([0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        file.extend([0xe7, 0x81, 0x00]);
        file.extend([0xa3, 0x86, 0x81, 0x00, 0x00, 0x80, 0xf8, 0x01]);
        file.extend([0xa0, 0x88, 0xa1, 0x86, 0x81, 0x00, 0x3c, 0x00, 0xf8, 0x02]);
        file
    }

    fn items() -> Vec<Item> {
        vec![Item::Head(b"OpusHe".to_vec()), Item::Packet(vec![0xf8, 1]), Item::Packet(vec![0xf8, 2])]
    }

    #[test]
    fn packets_are_read_wherever_the_pieces_are_cut() {
        let file = recorded();
        for size in 1..=file.len() {
            let mut reader = WebmReader::default();
            let read: Vec<Item> = file.chunks(size).flat_map(|piece| reader.read(piece).unwrap()).collect();
            assert_eq!(read, items(), "in pieces of {size} bytes");
        }
    }

    #[test]
    fn what_is_no_webm_is_refused_and_never_a_panic() {
        for bytes in
            [&[0_u8, 1, 2][..], &[0xa3, 0x00], &[0xa3, 0x81, 0x81], &[0xa3, 0x84, 0x81, 0, 0, 0x06], &[0xa3, 0xff]]
        {
            assert_eq!(WebmReader::default().read(bytes), Err(Unreadable), "{bytes:?}");
        }
        let file = recorded();
        for place in 0..file.len() {
            for bits in [0x01, 0x10, 0x80, 0xff] {
                let mut broken = file.clone();
                broken[place] ^= bits;
                let _ = WebmReader::default().read(&broken);
            }
        }
    }
}
