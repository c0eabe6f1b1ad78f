//! Audio clips: adds, names, orders and deletes them, and plays them into calls.

use std::rc::Rc;

use bitcall_wire::agent_protocol::CallId;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{AudioBuffer, File};

use super::App;
use crate::clips::{self, Clip, FILES, import};
use crate::media::decoding::{decode, fetch_sound};
use crate::page;
use crate::ui::{ClipAction, PlayingClip};

const GONE: &str = "This browser no longer has the clip. Delete it in the settings, and add it again.";
const NOT_FETCHED: &str = "The clip could not be loaded. Try again, or tell your administrator.";

impl App {
    pub(super) fn handle_clip_action(self: &Rc<Self>, action: ClipAction) {
        let ui = self.ui;
        ui.clip_error.set(None);
        match action {
            ClipAction::Load => self.load_clips(),
            ClipAction::Add(file) => self.add_clip(file),
            ClipAction::Rename(id, name) => self.change_clips(|list| clips::rename(list, &id, &name)),
            ClipAction::MoveUp(id) => self.change_clips(|list| clips::move_up(list, &id)),
            ClipAction::Delete(id) => self.delete_clip(&id),
            ClipAction::Play(call, id) => self.play_clip(call, id),
            ClipAction::Stop => {
                if let (Some(media), Some(playing)) = (self.media(), ui.clip_playing.get_clone_untracked()) {
                    media.stop_clip(&playing.call);
                }
            }
        }
    }

    fn load_clips(&self) {
        self.change_clips(|_| {});
    }

    fn add_clip(self: &Rc<Self>, file: File) {
        let Some(namespace) = self.clips_namespace() else { return };
        let (app, ui) = (Rc::clone(self), self.ui);
        self.load_clips();
        ui.clip_busy.set(true);
        spawn_local(async move {
            let count = ui.clips.with_untracked(Vec::len);
            match import::import(&file, &namespace, count).await {
                Ok(clip) => {
                    ui.announcement.set(format!("{} was added", clip.name));
                    app.change_clips(|list| list.push(clip));
                }
                Err(text) => ui.clip_error.set(Some(text)),
            }
            ui.clip_busy.set(false);
        });
    }

    fn delete_clip(&self, id: &str) {
        let Some(namespace) = self.clips_namespace() else { return };
        self.change_clips(|list| list.retain(|clip| clip.id != id));
        let key = import::key(&namespace, id);
        spawn_local(async move {
            // Without a place in the list it is never played again.
            let _ = FILES.delete(&key).await;
        });
    }

    fn play_clip(self: &Rc<Self>, call: CallId, id: String) {
        let (Some(namespace), Some(media)) = (self.clips_namespace(), self.media()) else { return };
        let ui = self.ui;
        let is_shared = ui.shared_clips().iter().any(|clip| clip.id == id);
        spawn_local(async move {
            let sound = if is_shared { fetch_sound(&id).await } else { own_sound(&namespace, &id).await };
            let Ok(sound) = sound else {
                return ui.clip_error.set(Some(if is_shared { NOT_FETCHED } else { GONE }.to_owned()));
            };
            if media.play_clip(&call, &sound).await {
                let milliseconds = import::milliseconds(&sound);
                ui.clip_playing.set(Some(PlayingClip { call, id, milliseconds, since: page::unix_now_ms() }));
            } else {
                ui.clip_error.set(Some("The clip needs a call that is not on hold.".to_owned()));
            }
        });
    }

    /// Changes the stored list of this person, which other tabs write to as well.
    fn change_clips(&self, change: impl FnOnce(&mut Vec<Clip>)) {
        let Some(name) = self.name_of("clips") else { return };
        self.with_tenant(|tenant| {
            let stored: Vec<Clip> = tenant.storage.get(&name).unwrap_or_default();
            let mut list = stored.clone();
            change(&mut list);
            if list != stored {
                tenant.storage.set(&name, &list);
            }
            self.ui.clips.set(list);
        });
    }

    fn clips_namespace(&self) -> Option<String> {
        self.namespace_of("clips")
    }
}

async fn own_sound(namespace: &str, id: &str) -> Result<AudioBuffer, JsValue> {
    let file = FILES.get(&import::key(namespace, id)).await?;
    decode(&file.ok_or(JsValue::NULL)?).await
}
