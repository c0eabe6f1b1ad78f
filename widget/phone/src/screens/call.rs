//! The call screen: name, duration, state and controls of the displayed call. Other calls are listed above
//! it.

use bitcall_wire::agent_protocol::{
    CallId, CallSnapshot, CallState, HoldState, RecordingCommand, RecordingState, TransferState,
};
use sycamore::prelude::*;

use super::elements::*;
use super::keypad::keypad;
use super::secondary;
use crate::icons::{Icon, icon};
use crate::number::format_number;
use crate::recordings::{RecordingAction, start as start_recording};
use crate::selector::{Selector, selector};
use crate::time;
use crate::ui::{
    ConferenceAction, MeterBars, Ui, UserAction, can_merge, consultation, find_call, is_party, other_calls, together,
};

const AUTO_ANSWERED: &str = "Answered automatically";

/// Element id of the call screen, to set the focus.
pub const CALL_ELEMENT_ID: &str = "call";

pub fn call(ui: Ui, id: &CallId) -> View {
    let call = ui.call(id);
    let keys = selector(move || ui.keypad_open.get());
    let elsewhere = selector(move || {
        let page = call.with(|call| call.as_ref().and_then(|call| call.page.clone()));
        page.is_some_and(|page| ui.page.with(|mine| *mine != page))
    });
    let party_id = id.clone();
    let in_conference = selector(move || ui.snapshot.with(|snapshot| is_party(snapshot, &party_id)));
    let controls_id = id.clone();
    let digits_id = id.clone();
    let (question_id, clips_id) = (id.clone(), id.clone());
    let clips = selector(move || ui.clips_open.get());
    let consulted_id = id.clone();
    let referred_id = id.clone();
    let asks = selector(move || {
        ui.snapshot.with(|snapshot| {
            let is_referred = |id: &CallId| find_call(snapshot, id).is_some_and(|call| call.referral.is_some());
            together(snapshot, &referred_id).iter().any(is_referred) || consultation(snapshot, &consulted_id).is_some()
        })
    });
    section()
        .class("call")
        .id(CALL_ELEMENT_ID)
        .attr("tabindex", "-1")
        .attr("aria-label", "Call")
        .bool_attr("data-keys", move || keys.get())
        .bool_attr("data-clips", move || clips.get())
        .children((
            others(ui, id),
            dynamic(move || {
                if !in_conference.get() {
                    return person(call);
                }
                secondary::draw(ui, move |part| (part.conference)(ui))
            }),
            state(ui, call, elsewhere, in_conference),
            recording(ui, call, id),
            dynamic(move || {
                if !keys.get() || elsewhere.get() {
                    return View::new();
                }
                let id = digits_id.clone();
                View::from((
                    output()
                        .class("sent-digits")
                        .attr("dir", "ltr")
                        .attr("aria-label", "Digits sent")
                        .children(dynamic(move || ui.digits.get_clone())),
                    keypad(false, move |digit| ui.dispatch(UserAction::Digits(id.clone(), digit.to_string()))),
                ))
            }),
            dynamic(move || {
                if !asks.get() || elsewhere.get() {
                    return View::new();
                }
                let id = question_id.clone();
                secondary::draw(ui, move |part| (part.question)(ui, call, &id))
            }),
            dynamic(move || {
                if !clips.get() || elsewhere.get() {
                    return View::new();
                }
                let id = clips_id.clone();
                secondary::draw(ui, move |part| (part.clips)(ui, &id))
            }),
            dynamic(move || {
                if elsewhere.get() {
                    return take_over(ui, call, &controls_id);
                }
                controls(ui, call, &controls_id, in_conference)
            }),
            hang_up(ui, id),
        ))
        .into()
}

/// One row for each other call, or for the conference that waits. A tap switches to it.
fn others(ui: Ui, shown: &CallId) -> View {
    let shown = shown.clone();
    let of = shown.clone();
    let list = selector(move || ui.snapshot.with(|snapshot| other_calls(snapshot, &of)));
    div()
        .class("others")
        .children(dynamic(move || list.get_clone().into_iter().map(|id| other(ui, &id, &shown)).collect::<Vec<View>>()))
        .into()
}

fn other(ui: Ui, id: &CallId, shown: &CallId) -> View {
    let call = ui.call(id);
    let name_id = id.clone();
    let name = selector(move || {
        ui.snapshot.with(|snapshot| {
            let calls = together(snapshot, &name_id);
            calls.iter().filter_map(|id| find_call(snapshot, id).map(title)).collect::<Vec<_>>().join(", ")
        })
    });
    let merge = (id.clone(), shown.clone());
    let merges = selector(move || {
        ui.snapshot.with(|snapshot| ui.page.with(|page| can_merge(snapshot, page, &merge.0, &merge.1)))
    });
    let text = move || {
        call.with(|call| {
            let Some(call) = call else {
                return String::new();
            };
            let word = if call.hold == HoldState::None { state_words(call) } else { "On hold" };
            match call.answered_at {
                Some(at) => format!("{word} · {}", time::format_timer(elapsed(at, ui.now.get()))),
                None => word.to_owned(),
            }
        })
    };
    let (id, merge) = (id.clone(), ConferenceAction::Merge(id.clone(), shown.clone()));
    let switch = button()
        .class("other")
        .r#type("button")
        .attr("aria-label", move || format!("Switch to {}", name.get_clone()))
        .on_press(move || ui.dispatch(UserAction::SwapTo(id.clone())))
        .children((
            icon(Icon::Pause),
            span().class("other-name").children(dynamic(move || name.get_clone())),
            span().class("other-state").children(dynamic(text)),
            icon(Icon::Swap),
        ));
    let merge = move || {
        let action = merge.clone();
        button()
            .class("merge")
            .r#type("button")
            .attr("aria-label", move || format!("Merge with {}", name.get_clone()))
            .on_press(move || ui.dispatch(UserAction::Conference(action.clone())))
            .children((icon(Icon::Merge), span().children("Merge")))
    };
    div()
        .class("other-row")
        .children((switch, dynamic(move || if merges.get() { merge().into() } else { View::new() })))
        .into()
}

fn person(call: Selector<Option<CallSnapshot>>) -> View {
    let who = selector(move || {
        call.with(|call| {
            call.as_ref().map(|call| (title(call), subtitle(call), call.display_name.clone())).unwrap_or_default()
        })
    });
    dynamic(move || {
        let (title, subtitle, name) = who.get_clone();
        let second: View = match subtitle {
            Some(number) => p().class("person-number").children(bdi().children(number)).into(),
            None => View::new(),
        };
        div().class("person").children((
            avatar(name.as_deref()),
            h1().class(if title.chars().count() > 26 { "person-name long" } else { "person-name" })
                .children(bdi().children(title)),
            second,
        ))
    })
}

fn state(
    ui: Ui,
    call: Selector<Option<CallSnapshot>>,
    elsewhere: Selector<bool>,
    in_conference: Selector<bool>,
) -> View {
    let text = selector(move || {
        call.with(|call| match call {
            Some(_) if elsewhere.get() => "In another window".to_owned(),
            Some(call) => match state_text(call) {
                text if matches!(text.as_str(), "" | AUTO_ANSWERED)
                    && ui.muted.with(|muted| muted.contains(&call.id)) =>
                {
                    "Your microphone is muted".to_owned()
                }
                text => text,
            },
            None => String::new(),
        })
    });
    // Each party of a conference has its own.
    let answered = selector(move || {
        call.with(|call| call.as_ref().and_then(|call| call.answered_at).filter(|_| !in_conference.get()))
    });
    let note = selector(move || ui.call_notice.get_clone().unwrap_or_default());
    let talks = selector(move || {
        !elsewhere.get()
            && !in_conference.get()
            && call.with(|call| {
                call.as_ref().is_some_and(|call| call.state == CallState::Active && call.hold == HoldState::None)
            })
    });
    div()
        .class("call-state")
        .children((
            p().class("state-text").children(dynamic(move || text.get_clone())),
            div().class("clock").children((
                dynamic(move || match answered.get() {
                    Some(at) => span()
                        .class("timer")
                        .attr("role", "timer")
                        .children(dynamic(move || time::format_timer(elapsed(at, ui.now.get()))))
                        .into(),
                    None => View::new(),
                }),
                dynamic(move || if talks.get() { meter(ui) } else { View::new() }),
            )),
            p().class("call-note").attr("role", "alert").children(dynamic(move || note.get_clone())),
        ))
        .into()
}

/// That the call is recorded, and the button that leaves out what is said now.
fn recording(ui: Ui, call: Selector<Option<CallSnapshot>>, id: &CallId) -> View {
    let id = id.clone();
    let state = selector(move || call.with(|call| call.as_ref().map(|call| call.recording.clone())));
    dynamic(move || {
        let (text, verb, command) = match state.get_clone() {
            Some(RecordingState::On { .. }) => ("Recording", "Pause", RecordingCommand::Pause),
            Some(RecordingState::Paused { .. }) => ("Recording paused", "Resume", RecordingCommand::Resume),
            _ => return View::new(),
        };
        let action = UserAction::Recording(RecordingAction::Call(id.clone(), command));
        div()
            .class(if verb == "Pause" { "recorded" } else { "recorded paused" })
            .children((
                i(),
                span().children(text),
                button()
                    .class("quiet-button")
                    .r#type("button")
                    .attr("aria-label", format!("{verb} recording"))
                    .on_press(move || ui.dispatch(action.clone()))
                    .children(verb),
            ))
            .into()
    })
}

/// Level meter: sent and received audio.
fn meter(ui: Ui) -> View {
    let side =
        |name: &'static str, drawing: Icon, level: fn(MeterBars) -> u8| {
            let level = selector(move || ui.levels.with(|levels| level(*levels)));
            span()
                .class("meter-side")
                .attr("data-level", move || level.get().to_string())
                .attr("title", name)
                .children((icon(drawing), i(), i(), i(), i(), i()))
        };
    div()
        .class("meter")
        .attr("role", "img")
        .attr("aria-label", "Sound level: you, and the other side")
        .children((
            side("You", Icon::Mic, |levels| levels.microphone),
            side("Other side", Icon::Speaker, |levels| levels.remote),
        ))
        .into()
}

fn controls(ui: Ui, call: Selector<Option<CallSnapshot>>, id: &CallId, in_conference: Selector<bool>) -> View {
    let muted_id = id.clone();
    let muted = selector(move || ui.muted.with(|muted| muted.contains(&muted_id)));
    let held = selector(move || {
        call.with(|call| {
            call.as_ref()
                .is_some_and(|call| matches!(call.hold, HoldState::Holding | HoldState::Held | HoldState::HeldHere))
        })
    });
    let busy = selector(move || {
        call.with(|call| {
            call.as_ref().is_some_and(|call| matches!(call.hold, HoldState::Holding | HoldState::Resuming))
        })
    });
    let answered =
        selector(move || call.with(|call| call.as_ref().is_some_and(|call| call.state == CallState::Active)));
    let keys_usable = selector(move || {
        call.with(|call| {
            call.as_ref().is_some_and(|call| matches!(call.state, CallState::Active | CallState::EarlyMedia))
        })
    });
    let keys = selector(move || ui.keypad_open.get());
    let (mute_id, hold_id, transfer_id) = (id.clone(), id.clone(), id.clone());
    // Not beside the question whether to transfer the call to the one who was asked.
    let transfers = selector(move || {
        !in_conference.get()
            && ui.config.with(|config| config.as_ref().is_some_and(|config| config.capabilities.transfer_blind))
            && ui.snapshot.with(|snapshot| consultation(snapshot, &transfer_id).is_none())
    });
    let transferable = selector(move || {
        call.with(|call| call.as_ref().is_some_and(|call| call.state == CallState::Active && call.transfer.is_none()))
    });
    let clips = selector(move || ui.clips_open.get());
    let has_clips = ui.may_play_clips();
    let record_id = id.clone();
    let recorded = selector(move || call.with(|call| call.as_ref().is_some_and(|call| call.recording.id().is_some())));
    div()
        .class("controls")
        .attr("role", "group")
        .attr("aria-label", "Call controls")
        .children((
            toggle("Mute", (Icon::Mic, Icon::MicOff), muted, selector(|| true), move || {
                ui.dispatch(UserAction::Mute(mute_id.clone(), !muted.get_untracked()));
            }),
            toggle(
                "Hold",
                (Icon::Pause, Icon::Play),
                held,
                selector(move || answered.get() && !busy.get()),
                move || {
                    ui.dispatch(UserAction::Hold(hold_id.clone(), !held.get_untracked()));
                },
            ),
            dynamic(move || {
                if in_conference.get() {
                    return View::new();
                }
                toggle("Keypad", (Icon::Keypad, Icon::Keypad), keys, keys_usable, move || {
                    ui.dispatch(UserAction::ToggleKeypad);
                })
            }),
            if ui.may_record() {
                toggle("Record", (Icon::Record, Icon::Record), recorded, answered, move || {
                    let command = if recorded.get_untracked() { RecordingCommand::Stop } else { start_recording() };
                    ui.dispatch(UserAction::Recording(RecordingAction::Call(record_id.clone(), command)));
                })
            } else {
                View::new()
            },
            dynamic(move || {
                if !transfers.get() {
                    return View::new();
                }
                toggle("Transfer", (Icon::Transfer, Icon::Transfer), selector(|| false), transferable, move || {
                    ui.dispatch(UserAction::ToggleTransfer);
                })
            }),
            if has_clips {
                toggle("Clips", (Icon::Music, Icon::Music), clips, answered, move || {
                    ui.dispatch(UserAction::ToggleClips);
                })
            } else {
                View::new()
            },
        ))
        .into()
}

/// In place of the controls, while another page has the call.
fn take_over(ui: Ui, call: Selector<Option<CallSnapshot>>, id: &CallId) -> View {
    let id = id.clone();
    let usable = selector(move || {
        call.with(|call| call.as_ref().is_some_and(|call| call.state == CallState::Active && call.transfer.is_none()))
    });
    dynamic(move || {
        if !usable.get() {
            return View::new();
        }
        let id = id.clone();
        button()
            .class("wide plain")
            .r#type("button")
            .on_press(move || ui.dispatch(UserAction::TakeOver(id.clone())))
            .children("Take over here")
            .into()
    })
}

fn toggle(
    name: &'static str,
    drawings: (Icon, Icon),
    pressed: Selector<bool>,
    usable: Selector<bool>,
    press: impl Fn() + 'static,
) -> View {
    button()
        .class("control")
        .r#type("button")
        // Where there is little room, the name is not shown.
        .attr("aria-label", name)
        .attr("aria-pressed", move || if pressed.get() { "true" } else { "false" })
        .bool_attr("disabled", move || !usable.get())
        .on_press(press)
        .children((
            span()
                .class("control-disc")
                .children(dynamic(move || icon(if pressed.get() { drawings.1 } else { drawings.0 }))),
            span().class("control-name").children(name),
        ))
        .into()
}

fn hang_up(ui: Ui, id: &CallId) -> View {
    let id = id.clone();
    button()
        .class("hang-up")
        .r#type("button")
        .on_press(move || ui.dispatch(UserAction::HangUp(id.clone())))
        .children((icon(Icon::PhoneOff), span().children("Hang up")))
        .into()
}

/// The name, or the number without one.
pub fn title(call: &CallSnapshot) -> String {
    call.display_name.clone().filter(|name| !name.trim().is_empty()).unwrap_or_else(|| format_number(&call.number))
}

/// The number, if the title is a name.
pub fn subtitle(call: &CallSnapshot) -> Option<String> {
    let number = format_number(&call.number);
    (!number.is_empty() && number != title(call)).then_some(number)
}

/// For whom the caller has called.
pub fn diverted_from(call: &CallSnapshot) -> Option<String> {
    call.diverted_from.as_deref().map(|called| format!("for {}", format_number(called)))
}

fn state_text(call: &CallSnapshot) -> String {
    match &call.transfer {
        Some(transfer) if call.state == CallState::Active && !call.detached => {
            let target = format_number(&transfer.target);
            match transfer.state {
                TransferState::Requested | TransferState::Accepted => format!("Transferring to {target}…"),
                TransferState::Ringing => format!("Transferring: {target} rings…"),
            }
        }
        _ => state_words(call).to_owned(),
    }
}

fn state_words(call: &CallSnapshot) -> &'static str {
    match (&call.state, call.hold) {
        _ if call.detached => "Reconnecting…",
        (CallState::Dialing, _) => "Calling…",
        (CallState::Ringing | CallState::EarlyMedia, _) => "Ringing…",
        (CallState::Incoming, _) => "Incoming call",
        (CallState::Answering, _) => "Connecting…",
        (CallState::Ended { .. }, _) => "Call ended",
        (CallState::Active, HoldState::Holding | HoldState::Held) => "On hold",
        (CallState::Active, HoldState::HeldHere) => "On hold. The other side did not accept it, but cannot hear you",
        (CallState::Active, HoldState::Resuming) => "Resuming…",
        (CallState::Active, HoldState::None) if call.remote_held => "The other side has put you on hold",
        (CallState::Active, HoldState::None) if call.auto_answer => AUTO_ANSWERED,
        // The timer is enough.
        (CallState::Active, HoldState::None) => "",
    }
}

fn elapsed(since: u64, now: u64) -> u64 {
    now.saturating_sub(since) / 1000
}
