//! What an HTTP/2 client may send besides requests. A frame such as `WINDOW_UPDATE` costs its sender thirteen bytes and the
//! server a turn of its state machine, and h2 limits only those that open and reset streams (RFC 9113 section 10.5).

use std::time::{Duration, Instant};

const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
/// Types of frames (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// Frames besides requests that a client may send at once.
const MAX_BURST: u32 = 1_000;
/// That a client may send again for each request: updates of the window while it reads a large answer.
const PER_REQUEST: u32 = 20;
/// After which it may send one more.
const REFILL_INTERVAL: Duration = Duration::from_millis(10);
/// DATA frames with less are counted like frames without any.
const MIN_DATA_BYTES: usize = 64;

/// Follows the frames of one connection as they arrive.
pub struct FrameBudget {
    /// Of the preface or a frame's payload, still to come.
    skip: usize,
    header: [u8; FRAME_HEADER_BYTES],
    /// Bytes of `header` that have arrived.
    filled: usize,
    /// Frames that may still come.
    left: u32,
    /// Up to when the refill is counted.
    refilled: Instant,
}

/// The client sends too many frames that ask for nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many HTTP/2 frames besides requests")]
pub struct Flood;

impl FrameBudget {
    pub fn new(now: Instant) -> Self {
        Self { skip: PREFACE_BYTES, header: [0; FRAME_HEADER_BYTES], filled: 0, left: MAX_BURST, refilled: now }
    }

    pub fn received(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        let refill = now.saturating_duration_since(self.refilled).as_millis() / REFILL_INTERVAL.as_millis();
        if refill > 0 {
            self.allow(u32::try_from(refill).unwrap_or(MAX_BURST));
            self.refilled = now;
        }
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let (next, rest) = bytes.split_at(bytes.len().min(FRAME_HEADER_BYTES - self.filled));
            self.header[self.filled..self.filled + next.len()].copy_from_slice(next);
            self.filled += next.len();
            bytes = rest;
            if self.filled == FRAME_HEADER_BYTES {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    /// Counts the frame whose header is complete.
    fn frame(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, ..] = self.header;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            HEADERS => self.allow(PER_REQUEST),
            DATA if self.skip >= MIN_DATA_BYTES => {}
            _ => self.left = self.left.checked_sub(1).ok_or(Flood)?,
        }
        Ok(())
    }

    fn allow(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(MAX_BURST);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const WINDOW_UPDATE: [u8; 13] = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const REQUEST: [u8; 10] = [0, 0, 1, HEADERS, 5, 0, 0, 0, 1, 0x82];

    fn begun() -> (FrameBudget, Instant) {
        let now = Instant::now();
        let mut budget = FrameBudget::new(now);
        budget.received(&[b'P'; PREFACE_BYTES], now).unwrap();
        (budget, now)
    }

    #[test]
    fn a_flood_ends_however_its_bytes_are_cut() {
        for size in [1, 7, 13, 64, 4096] {
            let (mut budget, now) = begun();
            let flood = WINDOW_UPDATE.repeat(MAX_BURST as usize + 1);
            let (last, before) = (flood.len() - 13, &flood[..flood.len() - 13]);
            assert!(before.chunks(size).all(|chunk| budget.received(chunk, now).is_ok()), "{size}");
            assert_eq!(budget.received(&flood[last..], now), Err(Flood), "{size}");
        }
    }

    #[test]
    fn requests_and_time_allow_more() {
        let (mut budget, now) = begun();
        budget.received(&WINDOW_UPDATE.repeat(MAX_BURST as usize), now).unwrap();
        for _ in 0..1_000 {
            budget.received(&REQUEST, now).unwrap();
            budget.received(&WINDOW_UPDATE.repeat(PER_REQUEST as usize), now).unwrap();
        }
        budget.received(&WINDOW_UPDATE.repeat(50), now + 50 * REFILL_INTERVAL).unwrap();
        assert_eq!(budget.received(&WINDOW_UPDATE, now + 50 * REFILL_INTERVAL), Err(Flood));
    }
}
