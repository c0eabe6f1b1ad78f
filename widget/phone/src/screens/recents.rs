//! The list of recent calls by day. A tap calls again, or puts a wrong number into the field.

use bitcall_wire::agent_protocol::{CallDirection, LINES_BUSY};
use sycamore::prelude::*;
use sycamore::web::bind;

use super::elements::*;
use crate::icons::{Icon, icon};
use crate::number::format_number;
use crate::recents::{RecentCall, RecentsDay, by_day};
use crate::selector::selector;
use crate::time::{self, LocalClock};
use crate::ui::{Ui, UserAction};

pub fn recents(ui: Ui) -> View {
    let some = selector(move || ui.recents.with(|list| !list.is_empty()));
    // Depends on the day only, so that clock updates do not render the list again.
    let today = selector(move || ui.zone.get().day(ui.now.get()));
    let days = selector(move || {
        today.track();
        let (zone, now) = (ui.zone.get(), ui.now.get_untracked());
        ui.search.with(|query| ui.recents.with(|list| by_day(list, query, zone, now)))
    });
    (
        dynamic(move || if some.get() { search(ui) } else { View::new() }),
        div().class("recents-list").children(dynamic(move || {
            let days = days.get_clone();
            if days.is_empty() {
                return empty(some.get());
            }
            let zone = ui.zone.get_untracked();
            View::from(days.into_iter().map(|group| day(ui, group, zone)).collect::<Vec<View>>())
        })),
    )
        .into()
}

fn search(ui: Ui) -> View {
    div()
        .class("search")
        .children(
            input()
                .r#type("search")
                .attr("aria-label", "Search recents")
                .attr("placeholder", "Search name or number")
                .attr("autocomplete", "off")
                .bind(bind::value, ui.search),
        )
        .into()
}

fn empty(filtered: bool) -> View {
    let (heading, text) = if filtered {
        ("No match", "No call with that name or number.")
    } else {
        ("No calls yet", "Calls you make and take appear here.")
    };
    div().class("empty").children((icon(Icon::Clock), h2().children(heading), p().children(text))).into()
}

fn day(ui: Ui, day: RecentsDay, zone: LocalClock) -> View {
    section()
        .class("day")
        .children((
            h2().class("day-name").children(day.name),
            ul().children(day.calls.into_iter().map(|call| entry(ui, call, zone)).collect::<Vec<View>>()),
        ))
        .into()
}

fn entry(ui: Ui, call: RecentCall, zone: LocalClock) -> View {
    let missed = call.missed;
    let shown = format_number(&call.number);
    let title = call.name.clone().unwrap_or_else(|| shown.clone());
    let kind = match (call.direction, missed) {
        (_, true) if call.cause == LINES_BUSY => "Missed · all lines were busy".to_owned(),
        (_, true) => "Missed".to_owned(),
        (CallDirection::Inbound, _) if !call.answered => call.cause.clone(),
        (CallDirection::Inbound, _) => format!("Incoming · {}", time::format_duration(call.seconds)),
        (CallDirection::Outbound, _) if call.answered => {
            format!("Outgoing · {}", time::format_duration(call.seconds))
        }
        (CallDirection::Outbound, _) => call.cause.clone(),
    };
    let kind = match &call.diverted_from {
        Some(called) => format!("{kind} · for {}", format_number(called)),
        None => kind,
    };
    let drawing = match call.direction {
        _ if missed => Icon::Missed,
        CallDirection::Inbound => Icon::ArrowIn,
        CallDirection::Outbound => Icon::ArrowOut,
    };
    let action = call.next_action();
    let verb = match action {
        Some(UserAction::EditNumber(_)) => "Edit ",
        Some(_) => "Call ",
        None => "",
    };
    let said = format!("{title}, {kind}, {}", zone.clock(call.at));
    let name = move || format!("{}{said}", if ui.transfer_open.get() { "Transfer to " } else { verb });
    li().children(
        button()
            .class(if missed { "recent missed" } else { "recent" })
            .r#type("button")
            .attr("aria-label", name)
            .bool_attr("disabled", action.is_none())
            .on_press(move || {
                if let Some(action) = &action {
                    ui.dispatch(action.clone());
                }
            })
            .children((
                span().class("recent-kind").children(icon(drawing)),
                span().class("recent-text").children((b().attr("dir", "auto").children(title), small().children(kind))),
                span().class("recent-time").children(zone.clock(call.at)),
            )),
    )
    .into()
}
