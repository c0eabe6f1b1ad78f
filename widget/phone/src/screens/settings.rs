//! Settings: account, caller IDs, audio devices, clips, recordings, theme.

use bitcall_wire::config::ThemeStart;
use sycamore::prelude::*;
use sycamore::web::events;

use super::caller_ids::caller_id_settings;
use super::clips::clip_settings;
use super::elements::*;
use super::recordings::recording_settings;
use crate::icons::{Icon, icon};
use crate::selector::{Selector, selector};
use crate::ui::{DeviceOption, StatusKind, Ui, UserAction};

pub fn settings(ui: Ui) -> View {
    let locked = ui.config.with(|config| config.as_ref().is_some_and(|config| config.behavior.theme.lock));
    let clips = if ui.may_play_clips() { group("Audio clips", clip_settings(ui)) } else { View::new() };
    let appearance = if locked { View::new() } else { appearance(ui) };
    let caller_ids = group("Caller ID", caller_id_settings(ui));
    let recordings = if ui.may_record() { group("Recordings", recording_settings(ui)) } else { View::new() };
    div().class("settings").children((account(ui), caller_ids, sound(ui), clips, recordings, appearance)).into()
}

fn account(ui: Ui) -> View {
    let who = selector(move || {
        ui.signed_in_as
            .with(|who| who.as_ref().map(|who| (who.username.clone(), who.domain.clone())).unwrap_or_default())
    });
    let status = ui.status();
    group(
        "Account",
        div()
            .class("account-card")
            .children((
                avatar(None),
                div().class("account-text").children((
                    b().children(dynamic(move || who.get_clone().0)),
                    small().children(dynamic(move || who.get_clone().1)),
                    small().class("account-status").children(dynamic(move || {
                        status.with(|status| match status.tone {
                            StatusKind::Good | StatusKind::Busy => "Registered".to_owned(),
                            _ => status.text.clone(),
                        })
                    })),
                )),
                button()
                    .class("quiet-button")
                    .r#type("button")
                    .on_press(move || ui.dispatch(UserAction::SignOut))
                    .children((icon(Icon::SignOut), span().children("Sign out"))),
            ))
            .into(),
    )
}

fn sound(ui: Ui) -> View {
    let microphones =
        selector(move || ui.devices.with(|devices| (devices.microphones.clone(), devices.microphone.clone())));
    let speakers = selector(move || ui.devices.with(|devices| (devices.speakers.clone(), devices.speaker.clone())));
    let can_choose = selector(move || speakers.with(|(list, _)| !list.is_empty()));
    group(
        "Sound",
        View::from((device(ui, "Microphone", Icon::Mic, microphones, UserAction::ChooseMicrophone), move || {
            if can_choose.get() {
                device(ui, "Speaker", Icon::Speaker, speakers, UserAction::ChooseSpeaker)
            } else {
                p().class("note").children("This browser plays calls on the system's speaker.").into()
            }
        })),
    )
}

fn device(
    ui: Ui,
    name: &'static str,
    drawing: Icon,
    choices: Selector<(Vec<DeviceOption>, String)>,
    choose: fn(String) -> UserAction,
) -> View {
    let id = name.to_ascii_lowercase();
    div()
        .class("field")
        .children((
            label().attr("for", id.clone()).children(name),
            div().class("field-box select-box").children((
                icon(drawing),
                select()
                    .id(id)
                    .on(events::change, move |event: web_sys::Event| {
                        if let Some(chosen) = crate::page::selected_value(&event) {
                            ui.dispatch(choose(chosen));
                        }
                    })
                    .children(dynamic(move || {
                        let (list, chosen) = choices.get_clone();
                        let default = DeviceOption { id: String::new(), name: "System default".to_owned() };
                        std::iter::once(default)
                            .chain(list)
                            .map(|choice| {
                                let selected = choice.id == chosen;
                                option()
                                    .attr("value", choice.id)
                                    .bool_attr("selected", selected)
                                    .children(choice.name)
                                    .into()
                            })
                            .collect::<Vec<View>>()
                    })),
                icon(Icon::ChevronDown),
            )),
        ))
        .into()
}

fn appearance(ui: Ui) -> View {
    let choice = |theme: ThemeStart, name: &'static str, drawing: Icon| -> View {
        let chosen = selector(move || ui.theme.get() == theme);
        label()
            .class("segment")
            .children((
                input()
                    .r#type("radio")
                    .attr("name", "theme")
                    .bool_attr("checked", move || chosen.get())
                    .prop("checked", move || chosen.get())
                    .on(events::change, move |_| ui.dispatch(UserAction::SetTheme(theme))),
                span().class("segment-face").children((icon(drawing), span().children(name))),
            ))
            .into()
    };
    group(
        "Appearance",
        div()
            .class("segments")
            .attr("role", "radiogroup")
            .attr("aria-label", "Theme")
            .children((
                choice(ThemeStart::System, "System", Icon::Monitor),
                choice(ThemeStart::Light, "Light", Icon::Sun),
                choice(ThemeStart::Dark, "Dark", Icon::Moon),
            ))
            .into(),
    )
}

fn group(name: &'static str, content: View) -> View {
    section().class("group").children((h2().children(name), content)).into()
}
