//! Recordings of calls: what is known of one, and what the rest of the phone needs of whoever makes them.
//!
//! The agent's snapshot says which calls are to be recorded ([`RecordingState`](bitcall_wire::agent_protocol::RecordingState)),
//! and the page that owns a call does it. So a recording goes on over a hold, a swap and a reload, and whoever asks for it,
//! the person, the host page or a setting, asks for the same.
//!
//! The sound of both sides is encoded by the browser's `MediaRecorder`, whose `WebM` ([`webm`]) has neither a duration nor an
//! index, and ends with the page. Its packets are written as [`ogg`], of which every beginning is a file of its own.
//!
//! All but this module belongs to the part of the phone that is loaded later: only [`service`] is entered from outside.

mod ogg;
mod recorder;
pub mod service;
mod session;
mod storage;
mod webm;
mod zip;

use bitcall_wire::agent_protocol::{AgentSnapshot, CallDirection, RecordingCommand};
use bitcall_wire::config;
use bitcall_wire::text::readable;
use serde::{Deserialize, Serialize};
use web_sys::{AudioNode, MediaStreamTrack};

pub use storage::StorageQuota;

use crate::browser::random_id;
use crate::media::Media;
use crate::time::{LocalClock, format_timer};
use crate::ui::Ui;

pub const MAX_NAME_CHARS: usize = 80;
/// They fit into one page of the file.
const MAX_CHAPTERS: usize = 400;
/// Below this much room no recording begins or goes on. What the rest of the phone stores fits into it.
pub const MIN_LEFT_BYTES: u64 = 4 << 20;
/// Below this much room the person is told.
pub const LOW_LEFT_BYTES: u64 = 32 << 20;

/// What is known of a recording; stored beside its sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    pub id: String,
    /// At first that of the other side.
    pub name: String,
    pub number: String,
    pub direction: CallDirection,
    /// Milliseconds since the Unix epoch.
    pub started_at: u64,
    pub milliseconds: u64,
    pub bytes: u64,
    pub gaps: Vec<Gap>,
    /// Nothing more is added.
    pub is_over: bool,
}

/// A time that is not in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The place in the recording, in milliseconds.
    pub at: u64,
    /// Milliseconds; 0 while it lasts.
    pub lasted: u64,
    /// The person paused the recording; else the page was loaded anew.
    pub paused: bool,
}

impl Recording {
    /// Nothing is written from here on, until [`Self::go_on`].
    pub fn pause(&mut self) {
        self.gaps.push(Gap { at: self.milliseconds, lasted: 0, paused: true });
    }

    /// Notes how long nothing was written.
    pub fn go_on(&mut self, now: u64) {
        let known: u64 = self.milliseconds + self.gaps.iter().map(|gap| gap.lasted).sum::<u64>();
        let lasted = now.saturating_sub(self.started_at).saturating_sub(known);
        match self.gaps.last_mut() {
            Some(gap) if gap.lasted == 0 => gap.lasted = lasted,
            _ => self.gaps.push(Gap { at: self.milliseconds, lasted, paused: false }),
        }
    }

    /// As a file's name, with the time so that it is sorted and unique.
    pub fn file_name(&self, zone: LocalClock) -> String {
        let name: String = self.name.chars().map(|c| if is_safe_in_file_names(c) { c } else { '_' }).collect();
        format!("{} {}.ogg", zone.stamp(self.started_at).replace(':', "-"), name.trim_matches(['.', ' ']))
    }

    /// What the file says of itself: `NAME=value` (Xiph's chapters for the gaps).
    pub fn comments(&self, zone: LocalClock) -> Vec<String> {
        let mut comments = vec![format!("TITLE={}", self.name), format!("DATE={}", zone.stamp(self.started_at))];
        for (place, gap) in self.gaps.iter().take(MAX_CHAPTERS).enumerate() {
            let (s, ms) = (gap.at / 1_000, gap.at % 1_000);
            let at = format!("{:02}:{:02}:{:02}.{ms:03}", s / 3_600, s / 60 % 60, s % 60);
            comments.push(format!("CHAPTER{:03}={at}", place + 1));
            comments.push(format!("CHAPTER{:03}NAME={}", place + 1, gap.text()));
        }
        comments
    }
}

impl Gap {
    pub fn text(&self) -> String {
        let what = if self.paused { "Paused" } else { "Interrupted" };
        let at = format_timer(self.at / 1_000);
        match self.lasted.div_ceil(1_000) {
            0 => format!("{what} at {at}"),
            seconds => format!("{what} at {at} for {}", format_timer(seconds)),
        }
    }
}

/// The name from what was typed. `None` when nothing is left of it.
pub fn recording_name(text: &str) -> Option<String> {
    let name: String = readable(text).trim().chars().take(MAX_NAME_CHARS).collect();
    let name = name.trim_end().to_owned();
    (!name.is_empty()).then_some(name)
}

/// Those that no file system refuses, and no archive misunderstands.
fn is_safe_in_file_names(c: char) -> bool {
    !c.is_control() && !"/\\:*?\"<>|".contains(c)
}

/// For how much sound there is room.
pub fn quota_text(room: StorageQuota) -> String {
    let minutes = room.left().saturating_sub(MIN_LEFT_BYTES) / (BYTES_PER_SECOND * 60);
    match minutes {
        0..=1 => "There is no room for more on this device.".to_owned(),
        2..=119 => format!("There is room for about {minutes} more minutes on this device."),
        120..=59_999 => format!("There is room for about {} more hours on this device.", minutes / 60),
        _ => "There is room for more than 1,000 hours on this device.".to_owned(),
    }
}

/// Of mono; stereo takes twice as much.
const BYTES_PER_SECOND: u64 = 4_000;

/// A recording that is paused goes on.
pub fn start() -> RecordingCommand {
    RecordingCommand::Start { id: random_id() }
}

/// What a person does with recordings, which go by their id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordingAction {
    /// With a call.
    Call(String, RecordingCommand),
    /// The list is about to be shown.
    Load,
    Rename(String, String),
    Delete(String),
    Download(String),
    DownloadAll,
    /// Or goes on playing, or stops for now.
    Play(String),
    /// To this place, in milliseconds.
    Seek(u64),
    /// Record every call.
    SetAuto(bool),
}

/// The recording that is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playback {
    pub id: String,
    pub milliseconds: u64,
    pub is_playing: bool,
}

/// Makes recordings and keeps them, once it is loaded.
pub trait RecordingService {
    fn follow(&self, snapshot: &AgentSnapshot, page: &str);
    /// A call sends or gets another track, or its voice was given or taken.
    fn sound_changed(&self, call: &str);
    fn act(&self, action: RecordingAction);
}

/// With the call, a code and words.
type OnFailure = Box<dyn Fn(&str, &'static str, &str)>;

/// What it works with.
pub struct RecordingContext {
    pub ui: Ui,
    pub media: Media,
    pub settings: config::RecordingSettings,
    /// What precedes everything that is stored for the person who is signed in.
    pub namespace: Box<dyn Fn() -> Option<String>>,
    /// The recording of a call has failed.
    pub fail: OnFailure,
}

/// The sound of a call.
pub struct RecordingSources {
    /// What the far end hears of this side.
    pub sent: Option<RecordedSound>,
    /// What arrives of the far end; in a conference, of every one that the person hears.
    pub received: Vec<RecordedSound>,
    /// The person hears the call. Otherwise it is not recorded either.
    pub has_voice: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RecordedSound {
    Track(MediaStreamTrack),
    /// Of the page's context.
    Node(AudioNode),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        Recording {
            id: "r1".to_owned(),
            name: "Anna: \"sales\"".to_owned(),
            number: "201".to_owned(),
            direction: CallDirection::Inbound,
            started_at: 1_795_348_800_000,
            milliseconds: 12_000,
            bytes: 48_000,
            gaps: Vec::new(),
            is_over: false,
        }
    }

    #[test]
    fn a_gap_says_where_it_is_how_long_it_was_and_why() {
        let mut recording = recording();
        recording.pause();
        assert_eq!(recording.gaps.iter().map(Gap::text).collect::<Vec<_>>(), ["Paused at 00:12"]);
        recording.go_on(recording.started_at + 20_000);
        recording.milliseconds = 15_000;
        recording.go_on(recording.started_at + 24_000);
        let gaps: Vec<_> = recording.gaps.iter().map(Gap::text).collect();
        assert_eq!(gaps, ["Paused at 00:12 for 00:08", "Interrupted at 00:15 for 00:01"]);
        let chapters = recording.comments(LocalClock::default()).split_off(2);
        assert_eq!(chapters[..2], ["CHAPTER001=00:00:12.000", "CHAPTER001NAME=Paused at 00:12 for 00:08"]);
        assert_eq!(chapters[2], "CHAPTER002=00:00:15.000");
    }

    #[test]
    fn a_file_is_named_after_time_and_person() {
        assert_eq!(recording().file_name(LocalClock::default()), "2026-11-22 12-00-00 Anna_ _sales_.ogg");
    }

    #[test]
    fn the_room_is_told_in_time() {
        let room = |left: u64| quota_text(StorageQuota { used: 10, all: 10 + left });
        assert_eq!(room(MIN_LEFT_BYTES + 1), "There is no room for more on this device.");
        assert_eq!(room(MIN_LEFT_BYTES + 4_000 * 90 * 60), "There is room for about 90 more minutes on this device.");
        assert_eq!(room(MIN_LEFT_BYTES + 4_000 * 150 * 60), "There is room for about 2 more hours on this device.");
        assert_eq!(room(1 << 40), "There is room for more than 1,000 hours on this device.");
    }
}
