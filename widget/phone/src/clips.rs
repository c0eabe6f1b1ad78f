//! Audio clips that a person plays into calls: which files are taken, and their list. Needs no browser; [`import`]
//! does.
//!
//! The list is in the browser's storage, one for each account of a tenant, and the files are in [`FILES`].

pub mod import;

use bitcall_wire::text::readable;
use serde::{Deserialize, Serialize};

use crate::indexed_db::IndexedDb;

pub const FILES: IndexedDb = IndexedDb { name: "bitcall-clips" };

pub const MAX_CLIPS: usize = 20;
pub const MAX_BYTES: u64 = 5 * 1024 * 1024;
pub const MAX_MILLISECONDS: u32 = 180_000;
pub const MAX_NAME_CHARS: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clip {
    pub id: String,
    pub name: String,
    /// 0 where it is not known before the file is loaded.
    pub milliseconds: u32,
}

/// Checks what is known of a file before it is read.
pub fn check_file(name: &str, bytes: u64, clips: usize) -> Result<(), String> {
    if clips >= MAX_CLIPS {
        return Err(format!("There are {MAX_CLIPS} clips, which is the most. Delete one, then add “{name}”."));
    }
    if bytes > MAX_BYTES {
        let (tenths, most) = (bytes.saturating_mul(10).div_ceil(1 << 20), MAX_BYTES >> 20);
        return Err(format!("“{name}” has {}.{} MB. A clip may have {most} MB.", tenths / 10, tenths % 10));
    }
    Ok(())
}

/// Checks by its first bytes that the file is an MP3, OGG, WAV or M4A file.
pub fn check_kind(name: &str, file: &[u8]) -> Result<(), String> {
    let at = |offset: usize, mark: &[u8]| file.get(offset..offset + mark.len()) == Some(mark);
    // A frame of MP3 begins with eleven bits that are set (ISO/IEC 11172-3 §2.4.2.3).
    let frame = matches!(file, [0xff, second, ..] if second & 0xe0 == 0xe0);
    let known = at(0, b"ID3") || frame || at(0, b"OggS") || (at(0, b"RIFF") && at(8, b"WAVE")) || at(4, b"ftyp");
    if known { Ok(()) } else { Err(format!("“{name}” is no MP3, OGG, WAV or M4A file.")) }
}

/// Checks the length of what the browser has decoded.
pub fn check_length(name: &str, milliseconds: u32) -> Result<(), String> {
    if milliseconds == 0 {
        return Err(format!("“{name}” has no sound in it."));
    }
    if milliseconds > MAX_MILLISECONDS {
        let (seconds, most) = (milliseconds / 1_000, MAX_MILLISECONDS / 60_000);
        return Err(format!("“{name}” lasts {}:{:02}. A clip may last {most} minutes.", seconds / 60, seconds % 60));
    }
    Ok(())
}

/// The name of a clip from what was typed, or from the name of its file. `None` when nothing is left of it.
pub fn clip_name(text: &str) -> Option<String> {
    let name: String = readable(text).trim().chars().take(MAX_NAME_CHARS).collect();
    let name = name.trim_end().to_owned();
    (!name.is_empty()).then_some(name)
}

/// The name of a file without its extension.
pub fn name_of_file(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    clip_name(stem).unwrap_or_else(|| "Clip".to_owned())
}

pub fn rename(clips: &mut [Clip], id: &str, name: &str) {
    if let (Some(clip), Some(name)) = (clips.iter_mut().find(|clip| clip.id == id), clip_name(name)) {
        clip.name = name;
    }
}

/// Exchanges the clip with the one before it.
pub fn move_up(clips: &mut [Clip], id: &str) {
    if let Some(place) = clips.iter().position(|clip| clip.id == id).filter(|place| *place > 0) {
        clips.swap(place - 1, place);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_refusal_names_the_file_and_what_is_wrong_with_it() {
        assert_eq!(check_file("a.mp3", MAX_BYTES, MAX_CLIPS - 1), Ok(()));
        let many = check_file("a.mp3", 1, MAX_CLIPS).unwrap_err();
        assert_eq!(many, "There are 20 clips, which is the most. Delete one, then add “a.mp3”.");
        let large = check_file("a.mp3", MAX_BYTES + 1, 0).unwrap_err();
        assert_eq!(large, "“a.mp3” has 5.1 MB. A clip may have 5 MB.");
        assert_eq!(check_kind("a.mp3", b"<!doctype html>").unwrap_err(), "“a.mp3” is no MP3, OGG, WAV or M4A file.");
        assert_eq!(check_length("a.mp3", 0).unwrap_err(), "“a.mp3” has no sound in it.");
        assert_eq!(check_length("a.mp3", MAX_MILLISECONDS), Ok(()));
        assert_eq!(check_length("a.mp3", 185_000).unwrap_err(), "“a.mp3” lasts 3:05. A clip may last 3 minutes.");
    }

    #[test]
    fn the_kind_of_a_file_is_read_from_its_content() {
        for file in [&b"ID3\x04"[..], b"\xff\xfb\x90", b"OggS\0", b"RIFF\x24\0\0\0WAVEfmt ", b"\0\0\0 ftypM4A "] {
            assert_eq!(check_kind("a", file), Ok(()), "{file:?}");
        }
        for file in [&b""[..], b"\xff", b"RIFF\x24\0\0\0AVI ", b"%PDF-1.7"] {
            assert!(check_kind("a", file).is_err(), "{file:?}");
        }
    }

    #[test]
    fn a_clip_is_named_after_its_file() {
        assert_eq!(name_of_file("Opening hours.2026.mp3"), "Opening hours.2026");
        assert_eq!(name_of_file(".mp3"), "Clip");
        assert_eq!(name_of_file(&"x".repeat(99)).chars().count(), MAX_NAME_CHARS);
    }

    #[test]
    fn clips_are_renamed_and_moved_up() {
        let clip = |id: &str| Clip { id: id.to_owned(), name: id.to_owned(), milliseconds: 1 };
        let mut clips = vec![clip("a"), clip("b")];
        move_up(&mut clips, "a");
        move_up(&mut clips, "b");
        rename(&mut clips, "a", "  New name ");
        rename(&mut clips, "b", " ");
        let seen: Vec<_> = clips.iter().map(|clip| (clip.id.as_str(), clip.name.as_str())).collect();
        assert_eq!(seen, [("b", "b"), ("a", "New name")]);
    }
}
