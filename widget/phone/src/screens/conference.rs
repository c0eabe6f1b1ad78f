//! The parties of the conference, in the call screen.

use bitcall_wire::agent_protocol::{CallId, CallSnapshot, HoldState};
use sycamore::prelude::*;

use super::call::title;
use super::elements::*;
use crate::icons::{Icon, icon};
use crate::selector::selector;
use crate::time;
use crate::ui::{ConferenceAction, Ui, UserAction};

pub fn conference(ui: Ui) -> View {
    let parties = selector(move || {
        ui.snapshot.with(|snapshot| snapshot.conference.iter().map(|party| party.call.clone()).collect::<Vec<_>>())
    });
    div()
        .class("conference")
        .children((
            h1().children("Conference"),
            ul().class("parties").children(dynamic(move || {
                parties.get_clone().into_iter().map(|id| party(ui, id)).collect::<Vec<View>>()
            })),
        ))
        .into()
}

fn party(ui: Ui, id: CallId) -> View {
    let call = ui.call(&id);
    let name = selector(move || call.with(|call| call.as_ref().map(title).unwrap_or_default()));
    let muted_id = id.clone();
    let muted = selector(move || {
        ui.snapshot.with(|snapshot| snapshot.conference.iter().any(|party| party.muted && party.call == muted_id))
    });
    let here = selector(move || {
        let page = call.with(|call| call.as_ref().and_then(|call| call.page.clone()));
        page.is_some_and(|page| ui.page.with(|mine| *mine == page))
    });
    let state =
        move || call.with(|call| call.as_ref().map(|call| state(call, muted.get(), ui.now.get())).unwrap_or_default());
    li().class("party")
        .children((
            span().class("party-name").children(bdi().children(dynamic(move || name.get_clone()))),
            span().class("party-state").children(dynamic(state)),
            dynamic(move || if here.get() { actions(ui, &id, name.get_clone(), muted.get()) } else { View::new() }),
        ))
        .into()
}

fn actions(ui: Ui, id: &CallId, name: String, muted: bool) -> View {
    let action = |drawing: Icon, label: String, action: ConferenceAction| {
        button()
            .class("icon-button")
            .r#type("button")
            .attr("title", label.clone())
            .attr("aria-label", label)
            .on_press(move || ui.dispatch(UserAction::Conference(action.clone())))
            .children(icon(drawing))
    };
    div()
        .class("party-actions")
        .children((
            action(
                if muted { Icon::MicOff } else { Icon::Mic },
                format!("Mute {name}"),
                ConferenceAction::Mute(id.clone(), !muted),
            )
            .attr("aria-pressed", if muted { "true" } else { "false" }),
            action(Icon::Pause, format!("Hold {name}"), ConferenceAction::Split(id.clone(), true)),
            action(Icon::Split, format!("Talk to {name} alone"), ConferenceAction::Split(id.clone(), false)),
            action(Icon::PhoneOff, format!("Drop {name}"), ConferenceAction::Drop(id.clone())),
        ))
        .into()
}

fn state(call: &CallSnapshot, muted: bool, now: u64) -> String {
    let words = match call.hold {
        _ if call.detached => "Reconnecting…",
        HoldState::Resuming => "Joining…",
        HoldState::Holding | HoldState::Held | HoldState::HeldHere => "On hold",
        HoldState::None if call.remote_held => "Has you on hold",
        HoldState::None if muted => "Muted",
        HoldState::None => "",
    };
    let timer = time::format_timer(now.saturating_sub(call.answered_at.unwrap_or(now)) / 1000);
    if words.is_empty() { timer } else { format!("{words} · {timer}") }
}
