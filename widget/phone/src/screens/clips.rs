//! Audio clips: their list in a call, and their settings.

use bitcall_wire::agent_protocol::CallId;
use sycamore::prelude::*;
use sycamore::web::events;

use super::elements::*;
use crate::clips::Clip;
use crate::icons::{Icon, icon};
use crate::page;
use crate::selector::selector;
use crate::time;
use crate::ui::{ClipAction, Ui, UserAction};

/// The clips to play into a call.
pub fn clips_in_call(ui: Ui, call: &CallId) -> View {
    let call = call.clone();
    div()
        .class("clips")
        .attr("role", "group")
        .attr("aria-label", "Clips to play")
        .children((
            dynamic(move || {
                let mut list = ui.shared_clips();
                list.extend(ui.clips.get_clone());
                if list.is_empty() {
                    return p().class("note").children("No clips yet. Add them in the settings.").into();
                }
                View::from(list.into_iter().map(|clip| playable(ui, &call, clip)).collect::<Vec<View>>())
            }),
            error(ui),
        ))
        .into()
}

fn playable(ui: Ui, call: &CallId, clip: Clip) -> View {
    let id = clip.id.clone();
    let since = selector(move || {
        ui.clip_playing.with(|playing| {
            playing.as_ref().filter(|playing| playing.id == id).map(|playing| (playing.since, playing.milliseconds))
        })
    });
    let (name, call, id) = (clip.name.clone(), call.clone(), clip.id);
    let length = clip.milliseconds;
    button()
        .class("clip")
        .r#type("button")
        .attr("aria-label", move || format!("{} {name}", if since.get().is_some() { "Stop" } else { "Play" }))
        .on_press(move || {
            let action = match since.get_untracked() {
                Some(_) => ClipAction::Stop,
                None => ClipAction::Play(call.clone(), id.clone()),
            };
            ui.dispatch(UserAction::Clip(action));
        })
        .children((
            dynamic(move || icon(if since.get().is_some() { Icon::Stop } else { Icon::Play })),
            span().class("clip-name").attr("dir", "auto").children(clip.name),
            span().class("clip-time").children(if length == 0 { String::new() } else { duration(length) }),
            dynamic(move || match since.get() {
                Some((since, length)) => progress()
                    .attr("max", length.to_string())
                    .attr("value", move || ui.now.get().saturating_sub(since).to_string())
                    .into(),
                None => View::new(),
            }),
        ))
        .into()
}

/// What the settings have about clips.
pub fn clip_settings(ui: Ui) -> View {
    div()
        .class("clips")
        .children((
            ui.shared_clips().into_iter().map(shared).collect::<Vec<View>>(),
            dynamic(move || {
                let list = ui.clips.get_clone();
                list.into_iter().enumerate().map(|(place, clip)| editable(ui, place, clip)).collect::<Vec<View>>()
            }),
            label().class("quiet-button clip-add").children((
                icon(Icon::Music),
                span().children(dynamic(move || if ui.clip_busy.get() { "Adding…" } else { "Add a clip" })),
                input()
                    .class("visually-hidden")
                    .r#type("file")
                    .attr("accept", ".mp3,.ogg,.oga,.wav,.m4a,audio/*")
                    .attr("aria-label", "Add a clip")
                    .bool_attr("disabled", move || ui.clip_busy.get())
                    .on(events::change, move |event: web_sys::Event| {
                        if let Some(file) = page::chosen_file(&event) {
                            ui.dispatch(UserAction::Clip(ClipAction::Add(file)));
                        }
                    }),
            )),
            error(ui),
        ))
        .into()
}

/// Only the tenant changes it.
fn shared(clip: Clip) -> View {
    div()
        .class("clip")
        .children((
            span().class("clip-name").attr("dir", "auto").children(clip.name),
            span().class("clip-time").children("For everybody"),
        ))
        .into()
}

fn editable(ui: Ui, place: usize, clip: Clip) -> View {
    let action = |drawing: Icon, verb: &str, usable: bool, action: ClipAction| -> View {
        button()
            .class("icon-button")
            .r#type("button")
            .attr("aria-label", format!("{verb} {}", clip.name))
            .bool_attr("disabled", !usable)
            .on_press(move || ui.dispatch(UserAction::Clip(action.clone())))
            .children(icon(drawing))
            .into()
    };
    let id = clip.id.clone();
    let actions = (
        action(Icon::ChevronUp, "Move up", place > 0, ClipAction::MoveUp(clip.id.clone())),
        action(Icon::Trash, "Delete", true, ClipAction::Delete(clip.id.clone())),
    );
    div()
        .class("clip")
        .children((
            input()
                .class("clip-name")
                .attr("aria-label", format!("Name of the clip {}", clip.name))
                .attr("dir", "auto")
                .attr("maxlength", crate::clips::MAX_NAME_CHARS.to_string())
                .attr("value", clip.name.clone())
                .on(events::change, move |event: web_sys::Event| {
                    if let Some(name) = page::typed_value(&event) {
                        ui.dispatch(UserAction::Clip(ClipAction::Rename(id.clone(), name)));
                    }
                }),
            span().class("clip-time").children(duration(clip.milliseconds)),
            actions,
        ))
        .into()
}

fn error(ui: Ui) -> View {
    p().class("note error")
        .attr("role", "alert")
        .children(dynamic(move || ui.clip_error.get_clone().unwrap_or_default()))
        .into()
}

fn duration(milliseconds: u32) -> String {
    time::format_timer(u64::from(milliseconds.div_ceil(1_000)))
}
