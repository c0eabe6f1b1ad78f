//! Caller IDs, in the settings: with which one calls are made.

use sycamore::prelude::*;
use sycamore::web::{bind, events};

use super::elements::*;
use crate::caller_ids::PRIVATE;
use crate::icons::{Icon, icon};
use crate::number::format_number;
use crate::selector::selector;
use crate::ui::{CallerIdAction, Ui, UserAction};

pub fn caller_id_settings(ui: Ui) -> View {
    let list = selector(move || ui.caller_ids.with(|ids| ids.list.clone()));
    div()
        .class("clips")
        .attr("role", "radiogroup")
        .attr("aria-label", "Caller ID")
        .children((
            choice(ui, String::new(), "The account's own".to_owned(), false),
            dynamic(move || {
                let list = list.get_clone();
                list.into_iter()
                    .map(|id| {
                        let shown = format_number(&id);
                        choice(ui, id, shown, true)
                    })
                    .collect::<Vec<View>>()
            }),
            choice(ui, PRIVATE.to_owned(), "Private".to_owned(), false),
            addition(ui),
            p().class("note error")
                .attr("role", "alert")
                .children(dynamic(move || ui.caller_ids.with(|ids| ids.error.clone().unwrap_or_default()))),
        ))
        .into()
}

fn choice(ui: Ui, id: String, shown: String, is_deletable: bool) -> View {
    let own = id.clone();
    let is_chosen = selector(move || ui.caller_ids.with(|ids| ids.chosen == own));
    let deletion = if is_deletable { deletion(ui, id.clone(), &shown) } else { View::new() };
    div()
        .class("clip")
        .children((
            div().class("recording-text").children(
                label().class("tick").children((
                    input()
                        .r#type("radio")
                        .attr("name", "caller-id")
                        .bool_attr("checked", move || is_chosen.get())
                        .prop("checked", move || is_chosen.get())
                        .on(events::change, move |_| {
                            ui.dispatch(UserAction::CallerId(CallerIdAction::Choose(id.clone())));
                        }),
                    span().class("clip-name").attr("dir", "auto").children(shown),
                )),
            ),
            deletion,
        ))
        .into()
}

fn deletion(ui: Ui, id: String, shown: &str) -> View {
    button()
        .class("icon-button")
        .r#type("button")
        .attr("aria-label", format!("Delete {shown}"))
        .on_press(move || ui.dispatch(UserAction::CallerId(CallerIdAction::Delete(id.clone()))))
        .children(icon(Icon::Trash))
        .into()
}

fn addition(ui: Ui) -> View {
    let typed = create_signal(String::new());
    super::elements::form()
        .class("field-box")
        .attr("novalidate", "")
        .on(events::submit, move |event: web_sys::SubmitEvent| {
            event.prevent_default();
            ui.dispatch(UserAction::CallerId(CallerIdAction::Add(typed.get_clone_untracked())));
            if ui.caller_ids.with_untracked(|ids| ids.error.is_none()) {
                typed.set(String::new());
            }
        })
        .children((
            input()
                .r#type("text")
                .attr("aria-label", "New caller ID")
                .attr("placeholder", "Number or SIP address")
                .attr("autocomplete", "off")
                .attr("autocapitalize", "off")
                .attr("spellcheck", "false")
                .attr("dir", "auto")
                .bind(bind::value, typed),
            button().class("text-button").r#type("submit").children("Add"),
        ))
        .into()
}
