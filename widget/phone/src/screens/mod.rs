//! The screens: functions of [`Ui`] that return markup. Styles are in `css/`.
// Markup is easiest to read with every element in scope, as in HTML; and a view consumes its arguments.
#![allow(clippy::wildcard_imports, clippy::needless_pass_by_value, clippy::similar_names)]

mod banners;
mod call;
mod caller_ids;
pub(crate) mod clips;
pub(crate) mod conference;
mod dialer;
mod elements;
mod header;
pub(crate) mod identity;
mod incoming;
mod keypad;
pub(crate) mod messages;
pub(crate) mod question;
pub(crate) mod recents;
mod recordings;
mod secondary;
pub(crate) mod settings;
mod start;
pub(crate) mod transfer;

use sycamore::prelude::*;
use sycamore::web::events;

use self::elements::*;
use crate::icons::{Icon, icon};
use crate::selector::selector;
use crate::ui::{Screen, Tab, Ui, UserAction};

pub use call::{CALL_ELEMENT_ID, title as caller};
pub use incoming::INCOMING_ELEMENT_ID;

/// The tabs in their order, with label and icon.
const TABS: [(Tab, &str, Icon); 3] = [
    (Tab::Keypad, "Keypad", Icon::Keypad),
    (Tab::Recents, "Recents", Icon::Clock),
    (Tab::Settings, "Settings", Icon::Settings),
];

/// The content of `<body>`.
pub fn root(ui: Ui) -> View {
    let screen = selector(move || ui.screen.get_clone());
    div()
        .class("phone")
        .attr("data-tab", move || tab_id(ui.tab.get()))
        .children((
            header::header(ui),
            banners::banners(ui),
            dynamic(move || match screen.get_clone() {
                Screen::Loading => start::skeleton(),
                Screen::Refused(reason) => start::refused(&reason),
                Screen::NotEmbedded => start::not_embedded(),
                Screen::Form => start::form(ui),
                Screen::Connect(credentials) => start::connect(ui, &credentials),
                Screen::Phone => phone(ui),
            }),
            // Always in the document, because screen readers only announce changes of a live region that
            // exists.
            p().class("visually-hidden")
                .attr("role", "status")
                .attr("aria-live", "assertive")
                .children(dynamic(move || ui.announcement.get_clone())),
        ))
        .into()
}

fn phone(ui: Ui) -> View {
    let incoming = ui.incoming();
    let focused = ui.focused();
    let ringing = selector(move || incoming.with(Option::is_some));
    let settings = selector(move || ui.tab.get() == Tab::Settings);
    let body = div()
        .class("body")
        // Nothing behind the incoming call can be reached by keyboard while it rings.
        .bool_attr("inert", move || ringing.get())
        .children((
            section()
                .class("recents")
                .id("panel-recents")
                .attr("role", "tabpanel")
                .attr("aria-label", "Recents")
                .children(secondary::draw(ui, move |part| (part.recents)(ui))),
            main()
                .class("main")
                .id("panel-main")
                .attr("role", "tabpanel")
                .attr("aria-label", move || if settings.get() { "Settings" } else { "Keypad" })
                .children(dynamic(move || {
                    if settings.get() {
                        return secondary::draw(ui, move |part| (part.settings)(ui));
                    }
                    match focused.get_clone() {
                        Some(id) if ui.transfer_open.get() => secondary::draw(ui, move |part| (part.transfer)(ui, &id)),
                        Some(id) => call::call(ui, &id),
                        None => dialer::dialer(ui),
                    }
                })),
            tabs(ui),
        ));
    (
        body,
        dynamic(move || match incoming.get_clone() {
            Some(id) => incoming::incoming(ui, &id),
            None => View::new(),
        }),
    )
        .into()
}

fn tabs(ui: Ui) -> View {
    nav()
        .class("tabs")
        .attr("role", "tablist")
        .attr("aria-label", "Phone")
        .on(events::keydown, move |event: web_sys::KeyboardEvent| {
            let step = match event.key().as_str() {
                "ArrowRight" => 1,
                "ArrowLeft" => TABS.len() - 1,
                _ => return,
            };
            let here = TABS.iter().position(|(tab, ..)| *tab == ui.tab.get_untracked()).unwrap_or(0);
            if let Some((next, ..)) = TABS.get((here + step) % TABS.len()) {
                event.prevent_default();
                ui.dispatch(UserAction::Show(*next));
                crate::page::focus(&format!("tab-{}", tab_id(*next)));
            }
        })
        .children(TABS.iter().map(|(this, name, drawing)| tab(ui, *this, name, *drawing)).collect::<Vec<View>>())
        .into()
}

fn tab(ui: Ui, this: Tab, name: &'static str, drawing: Icon) -> View {
    let chosen = selector(move || ui.tab.get() == this);
    button()
        .class("tab")
        .id(format!("tab-{}", tab_id(this)))
        .r#type("button")
        .attr("role", "tab")
        .attr("aria-controls", if this == Tab::Recents { "panel-recents" } else { "panel-main" })
        .attr("aria-selected", move || if chosen.get() { "true" } else { "false" })
        .attr("tabindex", move || if chosen.get() { "0" } else { "-1" })
        .on_press(move || ui.dispatch(UserAction::Show(this)))
        .children((span().class("tab-icon").children(icon(drawing)), span().children(name)))
        .into()
}

fn tab_id(tab: Tab) -> &'static str {
    match tab {
        Tab::Keypad => "keypad",
        Tab::Recents => "recents",
        Tab::Settings => "settings",
    }
}
