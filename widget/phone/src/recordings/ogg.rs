//! Opus in Ogg (RFC 7845): the file of a recording. It is whole after every page, so that a crash takes only what was not
//! written yet; it is seekable without an index; and another recorder goes on where one has ended.
//!
//! The crate `ogg` begins every stream anew, and so cannot go on with one.

/// Samples per second of every position (RFC 7845 §4).
const RATE: u64 = 48_000;
const HEADER_BYTES: usize = 27;
const MAX_SEGMENTS: usize = 255;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Where a stream has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OggStream {
    serial: u32,
    pages: u32,
    /// Samples so far, with those to skip at the start.
    position: u64,
    /// Samples to skip at the start.
    skipped: u64,
}

impl OggStream {
    /// The pages of both headers, and the stream behind them. `head` is Opus' identification header.
    pub fn begin(serial: u32, head: &[u8]) -> (OggStream, Vec<u8>) {
        let mut stream = OggStream { serial, pages: 0, position: 0, skipped: pre_skip(head) };
        let mut pages = stream.page(&[head], FIRST);
        pages.extend(stream.page(&[&comment_header(&[])], 0));
        (stream, pages)
    }

    /// The stream after the last whole page of `part`, and where that ends. `first` is the first part of the file.
    pub fn resume(first: &[u8], part: &[u8]) -> Option<(OggStream, usize)> {
        let head = Page::at(first, 0)?;
        let (mut last, mut end) = (None, 0);
        while let Some(page) = Page::at(part, end) {
            end = page.end;
            last = Some(page);
        }
        let last = last?;
        let skipped = pre_skip(first.get(head.content..head.end)?);
        Some((OggStream { serial: last.serial, pages: last.number + 1, position: last.position, skipped }, end))
    }

    pub fn milliseconds(&self) -> u64 {
        self.position.saturating_sub(self.skipped) * 1_000 / RATE
    }

    /// The pages of these packets.
    pub fn write(&mut self, packets: &[Vec<u8>]) -> Vec<u8> {
        let mut pages = Vec::new();
        let mut rest = packets;
        while !rest.is_empty() {
            let mut segments = 0;
            let fits = rest.iter().take_while(|packet| {
                segments += packet.len() / 255 + 1;
                segments <= MAX_SEGMENTS
            });
            // A packet of Opus is smaller than a page.
            let (now, later) = rest.split_at(fits.count().max(1));
            let packets: Vec<&[u8]> = now.iter().map(Vec::as_slice).collect();
            self.position += packets.iter().map(|packet| samples(packet)).sum::<u64>();
            pages.extend(self.page(&packets, 0));
            rest = later;
        }
        pages
    }

    /// The page that says that nothing follows.
    pub fn end(&mut self) -> Vec<u8> {
        self.page(&[], LAST)
    }

    fn page(&mut self, packets: &[&[u8]], flags: u8) -> Vec<u8> {
        let mut lengths = Vec::new();
        for packet in packets {
            lengths.extend(std::iter::repeat_n(255_u8, packet.len() / 255));
            lengths.push((packet.len() % 255).try_into().unwrap_or(0));
        }
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(self.position.to_le_bytes());
        page.extend(self.serial.to_le_bytes());
        page.extend(self.pages.to_le_bytes());
        page.extend([0; 4]);
        page.push(lengths.len().try_into().unwrap_or(u8::MAX));
        page.extend(lengths);
        for packet in packets {
            page.extend_from_slice(packet);
        }
        let sum = checksum(&page).to_le_bytes();
        for (place, byte) in page.iter_mut().skip(22).zip(sum) {
            *place = byte;
        }
        self.pages += 1;
        page
    }
}

/// The beginning of a file with these comments (`NAME=value`) in place of those there are, and how many bytes of the
/// file it replaces.
pub fn commented(first: &[u8], comments: &[String]) -> Option<(Vec<u8>, usize)> {
    let head = Page::at(first, 0)?;
    let old = Page::at(first, head.end)?;
    let mut stream = OggStream { serial: head.serial, pages: old.number, position: 0, skipped: 0 };
    let mut beginning = first.get(..head.end)?.to_vec();
    beginning.extend(stream.page(&[&comment_header(comments)], 0));
    Some((beginning, old.end))
}

struct Page {
    position: u64,
    serial: u32,
    number: u32,
    content: usize,
    end: usize,
}

impl Page {
    /// The whole page that begins at `start`.
    fn at(file: &[u8], start: usize) -> Option<Page> {
        let header = file.get(start..start + HEADER_BYTES)?;
        let content = start + HEADER_BYTES + usize::from(*header.get(26)?);
        let lengths = file.get(start + HEADER_BYTES..content)?;
        let end = content + lengths.iter().map(|length| usize::from(*length)).sum::<usize>();
        (header.starts_with(b"OggS") && file.len() >= end).then_some(())?;
        Some(Page {
            position: u64::from_le_bytes(header.get(6..14)?.try_into().ok()?),
            serial: u32::from_le_bytes(header.get(14..18)?.try_into().ok()?),
            number: u32::from_le_bytes(header.get(18..22)?.try_into().ok()?),
            content,
            end,
        })
    }
}

fn pre_skip(head: &[u8]) -> u64 {
    head.get(10..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, |bytes| u16::from_le_bytes(bytes).into())
}

/// RFC 7845 §5.2.
fn comment_header(comments: &[String]) -> Vec<u8> {
    const VENDOR: &[u8; 7] = b"Bitcall";
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(0).to_le_bytes();
    let mut header = b"OpusTags".to_vec();
    header.extend(length(VENDOR.len()));
    header.extend(VENDOR);
    header.extend(length(comments.len()));
    for comment in comments {
        header.extend(length(comment.len()));
        header.extend_from_slice(comment.as_bytes());
    }
    header
}

/// The length of a packet of Opus by its first bytes (RFC 6716 §3.1).
fn samples(packet: &[u8]) -> u64 {
    let Some(first) = packet.first() else { return 0 };
    let frame = match first >> 3 {
        silk @ 0..=11 => [480, 960, 1_920, 2_880].get(usize::from(silk % 4)).copied().unwrap_or(0),
        hybrid @ 12..=15 => 480 << (hybrid % 2),
        celt => 120 << (celt % 4),
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u64::from(count & 63)),
    };
    frame * frames
}

/// The CRC of Ogg (RFC 3533 §6): polynomial 0x04c11db7, nothing reflected or inverted.
fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HEAD: &[u8] = b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0";

    /// 20 ms of CELT.
    fn packet(bytes: usize) -> Vec<u8> {
        let mut packet = vec![0xf8; bytes];
        packet[0] = 0xf8;
        packet
    }

    #[test]
    fn a_stream_goes_on_where_it_has_ended() {
        let (mut stream, mut file) = OggStream::begin(7, HEAD);
        file.extend(stream.write(&[packet(10), packet(300), packet(255)]));
        let (mut resumed, end) = OggStream::resume(&file, &file).unwrap();
        assert_eq!((resumed, end), (stream, file.len()));
        assert_eq!(resumed.milliseconds(), 60 - 312 / 48 - 1, "what is skipped at the start does not count");
        // A page that was cut off does not count.
        file.extend(stream.write(&[packet(10)]));
        assert_eq!(OggStream::resume(&file, &file[..file.len() - 1]), Some((resumed, end)));
        resumed.write(&[packet(10)]);
        assert_eq!(resumed, stream);
    }

    #[test]
    fn a_page_has_no_more_packets_than_it_can_name() {
        let (mut stream, mut file) = OggStream::begin(7, HEAD);
        let before = stream.pages;
        file.extend(stream.write(&vec![packet(600); 100]));
        assert_eq!(stream.pages - before, 2, "300 segments");
        assert_eq!(OggStream::resume(&file, &file).unwrap().0.milliseconds(), 1_993);
    }

    #[test]
    fn the_comments_are_replaced_and_nothing_else() {
        let (mut stream, mut file) = OggStream::begin(7, HEAD);
        let headers = file.len();
        file.extend(stream.write(&[packet(10)]));
        let (mut beginning, replaced) = commented(&file, &["TITLE=Anna".to_owned()]).unwrap();
        assert_eq!(replaced, headers);
        assert!(beginning.windows(10).any(|bytes| bytes == b"TITLE=Anna"));
        beginning.extend(&file[replaced..]);
        assert_eq!(OggStream::resume(&beginning, &beginning).unwrap().0, stream);
    }

    #[test]
    fn packets_last_as_long_as_their_first_byte_says() {
        for (packet, milliseconds) in
            [(&[0x18_u8][..], 60), (&[0x78], 20), (&[0xf8], 20), (&[0xe1], 5), (&[0xfb, 0x03], 60)]
        {
            assert_eq!(samples(packet), milliseconds * 48, "{packet:?}");
        }
        assert_eq!(samples(&[]), 0);
    }

    #[test]
    fn the_checksum_is_that_of_ogg() {
        assert_eq!(checksum(b"123456789"), 0x89a1_897f);
    }
}
