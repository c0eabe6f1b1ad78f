//! The card below "Calling as": with which caller ID calls are made.

use sycamore::prelude::*;

use super::elements::*;
use crate::caller_ids::PRIVATE;
use crate::icons::{Icon, icon};
use crate::number::format_number;
use crate::selector::selector;
use crate::ui::{CallerIdAction, Tab, Ui, UserAction};

pub fn identity(ui: Ui) -> View {
    let account = ui
        .signed_in_as
        .with(|who| who.as_ref().map(|who| (who.username.clone(), who.domain.clone())).unwrap_or_default());
    let list = selector(move || ui.caller_ids.with(|ids| ids.list.clone()));
    div()
        .class("identity-card")
        .id("identity-card")
        .children((
            div().class("identity-list").attr("role", "group").attr("aria-label", "Caller ID").children((
                entry(ui, String::new(), account.0, account.1),
                dynamic(move || {
                    let list = list.get_clone();
                    list.into_iter()
                        .map(|id| {
                            let shown = format_number(&id);
                            entry(ui, id, shown, String::new())
                        })
                        .collect::<Vec<View>>()
                }),
                entry(ui, PRIVATE.to_owned(), "Private".to_owned(), "Your number is not shown".to_owned()),
            )),
            button()
                .class("text-button")
                .r#type("button")
                .on_press(move || ui.dispatch(UserAction::Show(Tab::Settings)))
                .children("Account and caller IDs"),
        ))
        .into()
}

fn entry(ui: Ui, id: String, shown: String, about: String) -> View {
    let own = id.clone();
    let is_chosen = selector(move || ui.caller_ids.with(|ids| ids.chosen == own));
    button()
        .class("identity-entry")
        .r#type("button")
        .attr("aria-label", shown.clone())
        .attr("aria-pressed", move || if is_chosen.get() { "true" } else { "false" })
        .on_press(move || {
            ui.dispatch(UserAction::CallerId(CallerIdAction::Choose(id.clone())));
            ui.identity_open.set(false);
        })
        .children((
            span().class("identity-check").children(icon(Icon::Check)),
            div().children((b().attr("dir", "auto").children(shown), small().children(about))),
        ))
        .into()
}
