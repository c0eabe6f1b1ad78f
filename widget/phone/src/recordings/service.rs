//! Makes the recordings that the snapshot asks for, and does what the person does with the ones that there are.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId, CallSnapshot, RecordingState};
use bitcall_wire::host_protocol::definition::code;
use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AudioContext, Blob, HtmlAnchorElement, HtmlAudioElement, Url};

use super::recorder::{BEEP_INTERVAL_MS, Recorder, beep};
use super::session::{self, RecordingSession};
use super::storage::{self, RecordingStorage};
use super::webm::WebmReader;
use super::{
    LOW_LEFT_BYTES, MIN_LEFT_BYTES, Playback, Recording, RecordingAction, RecordingContext, RecordingService,
    RecordingSources, quota_text, recording_name, zip,
};
use crate::browser::{BrowserTimer, EventListener, sleep};
use crate::media::sound_file::SoundFile;
use crate::page;
use crate::screens::caller;

/// How many pieces of sound come between two looks at the room that is left.
const ROOM_CHECK_PIECES: u32 = 8;
/// A download has begun before this; then the browser may forget the file's address.
const DOWNLOAD_TIMEOUT_MS: i32 = 60_000;

const NO_ROOM: &str = "This device has no room for recordings. Download and delete some in the settings.";
const UNSUPPORTED: &str = "This browser cannot record calls.";
const BROKEN: &str = "The recording could not be written. What was recorded so far is kept.";
const GONE: &str = "This recording is no longer on this device.";
const TOO_LARGE: &str = "The recordings have more than 4 GB. Download them one by one.";

pub fn start(context: RecordingContext) -> Rc<dyn RecordingService> {
    let service = Rc::new_cyclic(|this| Service {
        this: Weak::clone(this),
        announcement: context.settings.announcement.clone().map(SoundFile::new),
        around: context,
        runs: RefCell::default(),
        followed: RefCell::default(),
        player: RefCell::default(),
        has_warned: Cell::new(false),
        loads: Cell::new(0),
    });
    service.act(RecordingAction::Load);
    service
}

struct Service {
    this: Weak<Service>,
    around: RecordingContext,
    announcement: Option<Rc<SoundFile>>,
    runs: RefCell<Vec<Rc<Run>>>,
    /// The recordings of this page's calls, on or paused, in the last snapshot.
    followed: RefCell<Vec<String>>,
    player: RefCell<Option<Player>>,
    /// The person knows that the room is getting short.
    has_warned: Cell<bool>,
    /// How often the list was read: what an earlier reading has found is not shown after a later one.
    loads: Cell<u32>,
}

/// A recorder at work, from a start or a pause to the next one.
struct Run {
    call: CallId,
    id: String,
    recorder: RefCell<Option<Rc<Recorder>>>,
    is_stopped: Cell<bool>,
    /// The recording goes on later.
    is_paused: Cell<bool>,
    /// It is not tried again.
    has_failed: Cell<bool>,
}

impl Run {
    fn stop(&self) {
        self.is_stopped.set(true);
        if let Some(recorder) = &*self.recorder.borrow() {
            recorder.stop();
        }
    }
}

enum Failure {
    Unsupported,
    NoRoom,
    Broken,
}

impl From<JsValue> for Failure {
    fn from(error: JsValue) -> Self {
        match crate::media::error_name(&error).as_str() {
            "QuotaExceededError" => Failure::NoRoom,
            _ => Failure::Broken,
        }
    }
}

impl RecordingService for Service {
    fn follow(&self, snapshot: &AgentSnapshot, page: &str) {
        let mine = || snapshot.calls.iter().filter(|call| call.page.as_deref() == Some(page));
        let is_on = |run: &Run| {
            mine().any(|call| call.id == run.call && call.recording == RecordingState::On { id: run.id.clone() })
        };
        for run in self.runs.borrow().iter().filter(|run| !run.is_stopped.get() && !is_on(run)) {
            let paused = RecordingState::Paused { id: run.id.clone() };
            run.is_paused.set(mine().any(|call| call.id == run.call && call.recording == paused));
            run.stop();
        }
        for call in mine() {
            if let RecordingState::On { id } = &call.recording
                && !self
                    .runs
                    .borrow()
                    .iter()
                    .any(|run| run.id == *id && (run.has_failed.get() || !run.is_stopped.get()))
            {
                self.begin(call, id);
            }
        }
        let followed = mine().filter_map(|call| call.recording.id().map(str::to_owned)).collect();
        for id in self.followed.replace(followed) {
            // Another page may have taken its call over.
            let goes_on = snapshot.calls.iter().any(|call| call.recording.id() == Some(&id));
            if !goes_on {
                self.finish(id);
            }
        }
    }

    fn sound_changed(&self, call: &str) {
        let recorder = self.run_of(call).and_then(|run| run.recorder.borrow().clone());
        if let (Some(recorder), Some(sources)) = (recorder, self.sources(call)) {
            recorder.set_sources(&sources);
        }
    }

    fn act(&self, action: RecordingAction) {
        let Some(this) = self.this.upgrade() else { return };
        self.around.ui.recording_error.set(None);
        match action {
            // Done before it comes here.
            RecordingAction::Call(..) | RecordingAction::SetAuto(_) => {}
            RecordingAction::Load => spawn_local(async move { this.load().await }),
            RecordingAction::Rename(id, name) => spawn_local(async move {
                if let (Some(store), Some(name)) = (this.store().await, recording_name(&name)) {
                    let _ = session::rename(&store, &id, name).await;
                }
                this.load().await;
            }),
            RecordingAction::Delete(id) => spawn_local(async move {
                this.close_player(&id);
                if let Some(store) = this.store().await {
                    let _ = store.delete(&id).await;
                }
                this.load().await;
            }),
            RecordingAction::Download(id) => spawn_local(async move {
                let result = this.download(&id).await;
                this.tell(result.ok_or(GONE));
            }),
            RecordingAction::DownloadAll => spawn_local(async move {
                this.around.ui.recording_busy.set(true);
                let result = this.download_all().await;
                this.around.ui.recording_busy.set(false);
                this.tell(result);
            }),
            RecordingAction::Play(id) => spawn_local(async move {
                let result = this.play(&id).await;
                this.tell(result.ok_or(GONE));
            }),
            RecordingAction::Seek(milliseconds) => {
                if let Some(player) = &*self.player.borrow() {
                    #[expect(clippy::cast_precision_loss, reason = "hours")]
                    player.element.set_current_time(milliseconds as f64 / 1_000.0);
                }
            }
        }
    }
}

/// Recording.
impl Service {
    fn begin(&self, call: &CallSnapshot, id: &str) {
        let Some(this) = self.this.upgrade() else { return };
        let run = Rc::new(Run {
            call: call.id.clone(),
            id: id.to_owned(),
            recorder: RefCell::default(),
            is_stopped: Cell::new(false),
            is_paused: Cell::new(false),
            has_failed: Cell::new(false),
        });
        self.runs.borrow_mut().push(Rc::clone(&run));
        let fresh = Recording {
            id: id.to_owned(),
            name: recording_name(&caller(call)).unwrap_or_else(|| "Call".to_owned()),
            number: call.number.clone(),
            direction: call.direction,
            started_at: page::unix_now_ms(),
            milliseconds: 0,
            bytes: 0,
            gaps: Vec::new(),
            is_over: false,
        };
        spawn_local(async move {
            let result = this.record(&run, fresh).await;
            run.is_stopped.set(true);
            run.has_failed.set(result.is_err());
            this.runs.borrow_mut().retain(|other| other.has_failed.get() || !Rc::ptr_eq(other, &run));
            if let Err(failure) = result {
                let (code, text) = match failure {
                    Failure::Unsupported => (code::RECORDING_FAILED, UNSUPPORTED),
                    Failure::NoRoom => (code::STORAGE_FULL, NO_ROOM),
                    Failure::Broken => (code::RECORDING_FAILED, BROKEN),
                };
                (this.around.fail)(&run.call, code, text);
            }
        });
    }

    /// Records until the run is stopped.
    async fn record(&self, run: &Rc<Run>, fresh: Recording) -> Result<(), Failure> {
        if !Recorder::is_supported() {
            return Err(Failure::Unsupported);
        }
        let store = self.store().await.ok_or(Failure::Broken)?;
        self.check_room().await?;
        // The browser may ask the person first.
        spawn_local(storage::keep());
        let context = self.around.media.running_context().await.ok_or(Failure::Unsupported)?;
        let mut session = RecordingSession::open(&store, fresh).await?;
        if run.is_stopped.get() {
            return Ok(());
        }
        let is_first = session.recording.milliseconds == 0;
        let recorder = Rc::new(Recorder::start(&context, self.around.settings.stereo)?);
        *run.recorder.borrow_mut() = Some(Rc::clone(&recorder));
        if !is_first {
            session.recording.go_on(page::unix_now_ms());
            session.save().await?;
        }
        self.sound_changed(&run.call);
        self.announce(&context, &run.call, is_first);
        let _beeps = self.beeps(&context, &run.call);
        let written = self.write(&mut session, &recorder).await;
        recorder.stop();
        run.recorder.take();
        if run.is_paused.get() {
            session.recording.pause();
        }
        session.save().await?;
        // Otherwise the recorder has ended by itself.
        written.and(if run.is_stopped.get() { Ok(()) } else { Err(Failure::Broken) })
    }

    async fn write(&self, session: &mut RecordingSession, recorder: &Recorder) -> Result<(), Failure> {
        let mut reader = WebmReader::default();
        let mut pieces = 0;
        while let Some(piece) = recorder.next().await {
            let items = reader.read(&storage::bytes(&piece).await?).map_err(|_| Failure::Broken)?;
            session.write(items).await?;
            pieces += 1;
            if pieces % ROOM_CHECK_PIECES == 0 {
                self.check_room().await?;
            }
        }
        Ok(())
    }

    /// Also tells the person when it is getting short.
    async fn check_room(&self) -> Result<(), Failure> {
        let Some(room) = storage::room().await else { return Ok(()) };
        if room.left() < MIN_LEFT_BYTES {
            return Err(Failure::NoRoom);
        }
        let is_low = room.left() < LOW_LEFT_BYTES;
        if !self.has_warned.replace(is_low) && is_low {
            self.around.ui.call_notice.set(Some(quota_text(room)));
        }
        Ok(())
    }

    /// Both sides hear that a recording begins or goes on.
    fn announce(&self, context: &AudioContext, call: &str, is_first: bool) {
        let announcement = self.announcement.clone().filter(|_| is_first);
        if announcement.is_none() && !self.around.settings.beep {
            return;
        }
        let (media, context, call) = (self.around.media.clone(), context.clone(), call.to_owned());
        spawn_local(async move {
            let sound = match &announcement {
                Some(file) => file.sound().await,
                None => None,
            };
            if let Some(sound) = sound {
                media.play_clip(&call, &sound).await;
            } else if let Ok(beep) = beep(&context) {
                media.play_beep(&context, &call, &beep);
            }
        });
    }

    fn beeps(&self, context: &AudioContext, call: &str) -> Option<BrowserTimer> {
        let sound = beep(context).ok().filter(|_| self.around.settings.beep)?;
        let (media, context, call) = (self.around.media.clone(), context.clone(), call.to_owned());
        Some(BrowserTimer::every(BEEP_INTERVAL_MS, move || media.play_beep(&context, &call, &sound)))
    }

    fn finish(&self, id: String) {
        let Some(this) = self.this.upgrade() else { return };
        spawn_local(async move {
            if let Some(store) = this.store().await
                && let Some(recording) = session::known(&store, &id).await
                && let Ok(session) = RecordingSession::open(&store, recording).await
            {
                let _ = session.finish(page::unix_now_ms()).await;
            }
            this.load().await;
        });
    }

    fn run_of(&self, call: &str) -> Option<Rc<Run>> {
        self.runs.borrow().iter().find(|run| run.call == call && !run.is_stopped.get()).cloned()
    }

    fn sources(&self, call: &str) -> Option<RecordingSources> {
        self.around.media.recording_sources(call)
    }

    async fn store(&self) -> Option<RecordingStorage> {
        Some(RecordingStorage::open(&(self.around.namespace)()?).await)
    }
}

/// Recordings that there are.
impl Service {
    /// Shows the list. What a page has left behind is finished.
    async fn load(&self) {
        let ui = self.around.ui;
        let this_load = self.loads.get().wrapping_add(1);
        self.loads.set(this_load);
        let Some(store) = self.store().await else { return };
        let mut list = Vec::new();
        for id in store.recordings().await.unwrap_or_default() {
            let Some(mut recording) = session::known(&store, &id).await else { continue };
            // While a call is recorded, a page holds it; while it is paused, nobody does.
            let is_paused = ui
                .snapshot
                .with_untracked(|snapshot| snapshot.calls.iter().any(|call| call.recording.id() == Some(id.as_str())));
            if !recording.is_over
                && !is_paused
                && let Some(session) = RecordingSession::try_open(&store, &id).await
            {
                recording = session.recording.clone();
                recording.is_over = true;
                // Without room it is shown all the same.
                let _ = session.finish(page::unix_now_ms()).await;
                match session::known(&store, &id).await {
                    Some(finished) if finished.is_over => recording = finished,
                    Some(_) => {}
                    None => continue,
                }
            }
            if recording.is_over {
                list.push(recording);
            }
        }
        list.sort_by_key(|recording| std::cmp::Reverse(recording.started_at));
        let room = storage::room().await;
        if self.loads.get() == this_load {
            ui.recordings.set(list);
            ui.recording_quota.set(room);
        }
    }

    async fn file(&self, id: &str) -> Option<(Recording, Blob)> {
        let store = self.store().await?;
        let recording = session::known(&store, id).await?;
        let comments = recording.comments(self.around.ui.zone.get_untracked());
        let file = session::file(&store, &recording, &comments).await.ok()?;
        Some((recording, file))
    }

    async fn download(&self, id: &str) -> Option<()> {
        let (recording, file) = self.file(id).await?;
        save(&file, &recording.file_name(self.around.ui.zone.get_untracked()))
    }

    async fn download_all(&self) -> Result<(), &'static str> {
        let ui = self.around.ui;
        let list = ui.recordings.get_clone_untracked();
        let all: u64 = list.iter().map(|recording| recording.bytes).sum();
        if all > zip::MAX_BYTES - (1 << 20) {
            return Err(TOO_LARGE);
        }
        let zone = ui.zone.get_untracked();
        let (mut archive, parts) = (zip::Zip::default(), Array::new());
        for recording in &list {
            let Some((_, file)) = self.file(&recording.id).await else { continue };
            let sum = checksum(&file).await.map_err(|_| GONE)?;
            let header = archive.add(&recording.file_name(zone), session::bytes_of(&file), sum);
            parts.push(&js_sys::Uint8Array::from(header.as_slice()));
            parts.push(&file);
        }
        parts.push(&js_sys::Uint8Array::from(archive.end().as_slice()));
        let archive = session::blob(&parts, "application/zip").map_err(|_| GONE)?;
        let now = zone.stamp(page::unix_now_ms()).replace(':', "-");
        save(&archive, &format!("Recordings {now}.zip")).ok_or(GONE)
    }

    fn tell(&self, result: Result<(), &'static str>) {
        if let Err(text) = result {
            self.around.ui.recording_error.set(Some(text.to_owned()));
        }
    }
}

/// One after the other in small pieces, so that the page goes on living.
async fn checksum(file: &Blob) -> Result<u32, JsValue> {
    const PIECE: i32 = 1 << 20;
    let (mut sum, mut place) = (0, 0_i32);
    loop {
        let piece = file.slice_with_i32_and_i32(place, place.saturating_add(PIECE))?;
        let bytes = storage::bytes(&piece).await?;
        if bytes.is_empty() {
            return Ok(sum);
        }
        sum = zip::checksum(sum, &bytes);
        place = place.saturating_add(PIECE);
    }
}

/// Hands the file to the person as a download.
fn save(file: &Blob, name: &str) -> Option<()> {
    let address = Url::create_object_url_with_blob(file).ok()?;
    let link: HtmlAnchorElement = page::document()?.create_element("a").ok()?.unchecked_into();
    link.set_href(&address);
    link.set_download(name);
    link.click();
    spawn_local(async move {
        sleep(DOWNLOAD_TIMEOUT_MS).await;
        let _ = Url::revoke_object_url(&address);
    });
    Some(())
}

/// Playing.
struct Player {
    id: String,
    element: HtmlAudioElement,
    address: String,
    _listeners: [EventListener; 4],
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.element.pause();
        let _ = Url::revoke_object_url(&self.address);
    }
}

impl Service {
    async fn play(&self, id: &str) -> Option<()> {
        let same = self.player.borrow().as_ref().filter(|player| player.id == id).map(|player| player.element.clone());
        let element = match same {
            Some(element) => element,
            None => self.open_player(id).await?,
        };
        if element.paused() {
            // Refused only where another press has stopped it meanwhile.
            let _ = JsFuture::from(element.play().ok()?).await;
        } else {
            let _ = element.pause();
        }
        Some(())
    }

    async fn open_player(&self, id: &str) -> Option<HtmlAudioElement> {
        let (_, file) = self.file(id).await?;
        let address = Url::create_object_url_with_blob(&file).ok()?;
        let element = HtmlAudioElement::new_with_src(&address).ok()?;
        let listeners = ["timeupdate", "play", "pause", "seeked"].map(|name| {
            let (ui, id) = (self.around.ui, id.to_owned());
            EventListener::new(&element, name, move |event| {
                let Some(element) = event.target().and_then(|target| target.dyn_into::<HtmlAudioElement>().ok()) else {
                    return;
                };
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours")]
                let milliseconds = (element.current_time() * 1_000.0) as u64;
                let is_playing = !element.paused();
                ui.playback.set(Some(Playback { id: id.clone(), milliseconds, is_playing }));
            })
        });
        let player = Player { id: id.to_owned(), element: element.clone(), address, _listeners: listeners };
        *self.player.borrow_mut() = Some(player);
        let id = id.to_owned();
        self.around.ui.playback.set(Some(Playback { id, milliseconds: 0, is_playing: false }));
        Some(element)
    }

    fn close_player(&self, id: &str) {
        if self.player.borrow().as_ref().is_some_and(|player| player.id == id) {
            self.player.take();
            self.around.ui.playback.set(None);
        }
    }
}
