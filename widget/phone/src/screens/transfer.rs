//! To whom the displayed call is transferred: typed, from the keypad, or from the list of recent calls.

use bitcall_wire::agent_protocol::CallId;
use sycamore::prelude::*;
use sycamore::web::events;

use super::call::title;
use super::dialer::number_field;
use super::elements::*;
use super::keypad::keypad;
use crate::icons::{Icon, icon};
use crate::selector::selector;
use crate::ui::{Ui, UserAction, has_free_line};

pub fn transfer(ui: Ui, id: &CallId) -> View {
    let call = ui.call(id);
    let who = selector(move || call.with(|call| call.as_ref().map(title).unwrap_or_default()));
    let may_ask = selector(move || {
        let limit = ui.config.with(|config| config.as_ref().map_or(0, |config| config.capabilities.max_sessions));
        ui.snapshot.with(|snapshot| has_free_line(snapshot, limit))
    });
    form()
        .class("dialer transfer")
        .attr("novalidate", "")
        .attr("aria-label", "Transfer")
        .on(events::submit, move |event: web_sys::SubmitEvent| {
            event.prevent_default();
            ui.dispatch(UserAction::Call);
        })
        .children((
            div().class("transfer-title").children((
                p().children(("Transfer ", b().children(bdi().children(dynamic(move || who.get_clone()))), " to")),
                button()
                    .class("icon-button")
                    .r#type("button")
                    .attr("aria-label", "Back to the call")
                    .on_press(move || ui.dispatch(UserAction::ToggleTransfer))
                    .children(icon(Icon::Close)),
            )),
            number_field(ui),
            keypad(true, move |digit| ui.dispatch(UserAction::Type(digit))),
            div().class("transfer-ways").children((
                button()
                    .class("wide plain")
                    .r#type("button")
                    .bool_attr("disabled", move || !may_ask.get())
                    .on_press(move || ui.dispatch(UserAction::AskFirst))
                    .children("Ask first"),
                button().class("wide positive").r#type("submit").children("Transfer"),
            )),
        ))
        .into()
}
