//! The header: brand, status and the minimise button.

use bitcall_wire::config::{HeaderMode, RuntimeConfig};
use sycamore::prelude::*;

use super::elements::*;
use crate::icons::{Icon, icon};
use crate::selector::selector;
use crate::ui::{Screen, StatusKind, Ui, UserAction};

pub fn header(ui: Ui) -> View {
    let alone = selector(move || ui.screen.with(|screen| *screen == Screen::NotEmbedded));
    let loading = selector(move || ui.screen.with(|screen| *screen == Screen::Loading));
    sycamore::web::tags::header()
        .class("header")
        .bool_attr("hidden", move || alone.get())
        .children((
            dynamic(move || ui.config.get_clone().map(|config| brand(&config)).unwrap_or_default()),
            dynamic(move || if alone.get() || loading.get() { View::new() } else { status(ui) }),
            dynamic(move || if ui.can_minimise.get() { minimise(ui) } else { View::new() }),
        ))
        .into()
}

/// Logo, name, or both. A theme without a logo of its own uses the other theme's.
fn brand(config: &RuntimeConfig) -> View {
    let branding = &config.branding;
    let light = branding.logo_light.as_ref().or(branding.logo_dark.as_ref());
    let dark = branding.logo_dark.as_ref().or(branding.logo_light.as_ref());
    let with_logo = branding.header_mode != HeaderMode::Name && light.is_some();
    let with_name = branding.header_mode != HeaderMode::Logo || !with_logo;
    // Beside the name the logo is decorative.
    let alt = if with_name { String::new() } else { branding.display_name.clone() };
    let logo = |source: Option<&String>, class: &'static str| -> View {
        match source.filter(|_| with_logo) {
            Some(source) => img().class(class).attr("src", source.clone()).attr("alt", alt.clone()).into(),
            None => View::new(),
        }
    };
    div()
        .class("brand")
        .children((
            logo(light, "logo on-light"),
            logo(dark, "logo on-dark"),
            if with_name {
                span().class("brand-name").attr("dir", "auto").children(branding.display_name.clone()).into()
            } else {
                View::new()
            },
        ))
        .into()
}

fn status(ui: Ui) -> View {
    let status = ui.status();
    div()
        .class("status")
        .attr("role", "status")
        .attr("data-tone", move || match status.with(|status| status.tone) {
            StatusKind::Good => "good",
            StatusKind::Busy => "busy",
            StatusKind::Waiting => "waiting",
            StatusKind::Bad => "bad",
            StatusKind::Off => "off",
        })
        .attr("title", move || status.with(|status| status.text.clone()))
        .children((
            span().class("dot").attr("aria-hidden", "true"),
            span().class("status-text").children(dynamic(move || status.with(|status| status.text.clone()))),
        ))
        .into()
}

fn minimise(ui: Ui) -> View {
    button()
        .class("icon-button")
        .r#type("button")
        .attr("aria-label", "Minimise")
        .attr("title", "Minimise")
        .on_press(move || ui.dispatch(UserAction::Minimise))
        .children(icon(Icon::Minimise))
        .into()
}
