//! Recordings, in the settings: the list with its player.

use sycamore::prelude::*;
use sycamore::web::events;

use super::elements::*;
use crate::icons::{Icon, icon};
use crate::page;
use crate::recordings::{Gap, MAX_NAME_CHARS, Recording, RecordingAction, quota_text};
use crate::selector::{Selector, selector};
use crate::time::format_timer;
use crate::ui::{Ui, UserAction};

pub fn recording_settings(ui: Ui) -> View {
    let list = selector(move || ui.recordings.get_clone());
    let some = selector(move || list.with(|list| !list.is_empty()));
    div()
        .class("recordings")
        .children((
            auto_record(ui),
            dynamic(move || {
                let list = list.get_clone();
                if list.is_empty() {
                    return p().class("note").children("No recordings yet. They stay on this device.").into();
                }
                View::from(list.into_iter().map(|recording| entry(ui, recording)).collect::<Vec<View>>())
            }),
            p().class("note error")
                .attr("role", "alert")
                .children(dynamic(move || ui.recording_error.get_clone().unwrap_or_default())),
            p().class("note").children(dynamic(move || room(ui))),
            dynamic(move || if some.get() { download_all(ui) } else { View::new() }),
        ))
        .into()
}

fn auto_record(ui: Ui) -> View {
    let always = ui.always_records();
    let ticked = selector(move || always || ui.auto_record.get());
    label()
        .class("tick")
        .children((
            input()
                .r#type("checkbox")
                .bool_attr("checked", move || ticked.get())
                .prop("checked", move || ticked.get())
                .bool_attr("disabled", always)
                .on(events::change, move |event: web_sys::Event| {
                    if let Some(wanted) = page::is_ticked(&event) {
                        ui.dispatch(UserAction::Recording(RecordingAction::SetAuto(wanted)));
                    }
                }),
            span().children("Record every call"),
        ))
        .into()
}

fn entry(ui: Ui, recording: Recording) -> View {
    let id = recording.id.clone();
    let playback = selector(move || ui.playback.with(|it| it.clone().filter(|it| it.id == id)));
    let is_playing = selector(move || playback.with(|it| it.as_ref().is_some_and(|it| it.is_playing)));
    let is_open = selector(move || playback.with(Option::is_some));
    let (name, rename, length) = (recording.name.clone(), recording.id.clone(), recording.milliseconds);
    let play = recording.id.clone();
    let action = |drawing: Icon, verb: &str, action: RecordingAction| -> View {
        button()
            .class("icon-button")
            .r#type("button")
            .attr("aria-label", format!("{verb} {}", recording.name))
            .on_press(move || ui.dispatch(UserAction::Recording(action.clone())))
            .children(icon(drawing))
            .into()
    };
    let actions = (
        action(Icon::Download, "Download", RecordingAction::Download(recording.id.clone())),
        action(Icon::Trash, "Delete", RecordingAction::Delete(recording.id.clone())),
    );
    div()
        .class("recording")
        .children((
            button()
                .class("icon-button")
                .r#type("button")
                .attr("aria-label", move || format!("{} {name}", if is_playing.get() { "Pause" } else { "Play" }))
                .on_press(move || ui.dispatch(UserAction::Recording(RecordingAction::Play(play.clone()))))
                .children(dynamic(move || icon(if is_playing.get() { Icon::Pause } else { Icon::Play }))),
            div().class("recording-text").children((
                input()
                    .class("clip-name")
                    .attr("aria-label", format!("Name of the recording {}", recording.name))
                    .attr("dir", "auto")
                    .attr("maxlength", MAX_NAME_CHARS.to_string())
                    .attr("value", recording.name.clone())
                    .on(events::change, move |event: web_sys::Event| {
                        if let Some(name) = page::typed_value(&event) {
                            ui.dispatch(UserAction::Recording(RecordingAction::Rename(rename.clone(), name)));
                        }
                    }),
                small().children(summary(ui, &recording)),
                gaps(&recording.gaps),
                dynamic(move || if is_open.get() { scrubber(ui, playback, length) } else { View::new() }),
            )),
            actions,
        ))
        .into()
}

fn summary(ui: Ui, recording: &Recording) -> String {
    let (zone, now) = (ui.zone.get_untracked(), ui.now.get_untracked());
    let day = zone.day_name(zone.day(recording.started_at), now);
    format!("{day}, {} · {}", zone.clock(recording.started_at), format_timer(recording.milliseconds.div_ceil(1_000)))
}

fn gaps(gaps: &[Gap]) -> View {
    gaps.iter().map(|gap| small().children(gap.text()).into()).collect::<Vec<View>>().into()
}

fn scrubber(ui: Ui, playback: Selector<Option<crate::recordings::Playback>>, length: u64) -> View {
    let at = selector(move || playback.with(|it| it.as_ref().map_or(0, |it| it.milliseconds)));
    div()
        .class("scrubber")
        .children((
            input()
                .r#type("range")
                .attr("aria-label", "Position")
                .attr("aria-valuetext", move || format_timer(at.get() / 1_000))
                .attr("min", "0")
                .attr("max", length.to_string())
                .attr("step", "100")
                .prop("value", move || at.get().to_string())
                .on(events::input, move |event: web_sys::Event| {
                    if let Some(at) = page::typed_value(&event).and_then(|at| at.parse().ok()) {
                        ui.dispatch(UserAction::Recording(RecordingAction::Seek(at)));
                    }
                }),
            span().class("clip-time").children(dynamic(move || format_timer(at.get() / 1_000))),
        ))
        .into()
}

fn room(ui: Ui) -> String {
    let used: u64 = ui.recordings.with(|list| list.iter().map(|recording| recording.bytes).sum());
    let room = ui.recording_quota.get_clone().map(quota_text).unwrap_or_default();
    if used == 0 { room } else { format!("Recordings use {} MB. {room}", used.div_ceil(1 << 20)) }
}

fn download_all(ui: Ui) -> View {
    button()
        .class("quiet-button recording-all")
        .r#type("button")
        .bool_attr("disabled", move || ui.recording_busy.get())
        .on_press(move || ui.dispatch(UserAction::Recording(RecordingAction::DownloadAll)))
        .children((
            icon(Icon::Download),
            span().children(dynamic(move || if ui.recording_busy.get() { "Preparing…" } else { "Download all" })),
        ))
        .into()
}
