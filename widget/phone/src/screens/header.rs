//! Who this phone belongs to, whether it works, and the way out of the picture.

use bitcall_wire::config::{HeaderMode, RuntimeConfig};
use sycamore::prelude::*;
use sycamore::web::tags::*;

use super::elements::{Press, live};
use crate::icons::{Icon, icon};
use crate::ui::{Act, Stage, Tone, Ui, watch};

pub fn header(ui: Ui) -> View {
    let alone = watch(move || ui.stage.with(|stage| *stage == Stage::NotEmbedded));
    let loading = watch(move || ui.stage.with(|stage| *stage == Stage::Loading));
    sycamore::web::tags::header()
        .class("header")
        .bool_attr("hidden", move || alone.get())
        .children((
            live(move || ui.config.get_clone().map(|config| brand(&config)).unwrap_or_default()),
            live(move || if alone.get() || loading.get() { View::new() } else { status(ui) }),
            live(move || if ui.embedded.get() { minimise(ui) } else { View::new() }),
        ))
        .into()
}

/// Logo, name, or both. A theme without its own logo borrows the other's.
fn brand(config: &RuntimeConfig) -> View {
    let branding = &config.branding;
    let light = branding.logo_light.as_ref().or(branding.logo_dark.as_ref());
    let dark = branding.logo_dark.as_ref().or(branding.logo_light.as_ref());
    let with_logo = branding.header_mode != HeaderMode::Name && light.is_some();
    let with_name = branding.header_mode != HeaderMode::Logo || !with_logo;
    // Beside the name the logo says nothing new.
    let alt = if with_name { String::new() } else { branding.display_name.clone() };
    let logo = |source: Option<&String>, class: &'static str| -> View {
        match source.filter(|_| with_logo) {
            Some(source) => img().class(class).src(source.clone()).alt(alt.clone()).into(),
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
            Tone::Good => "good",
            Tone::Busy => "busy",
            Tone::Waiting => "waiting",
            Tone::Bad => "bad",
            Tone::Off => "off",
        })
        .attr("title", move || status.with(|status| status.words.clone()))
        .children((
            span().class("dot").attr("aria-hidden", "true"),
            span().class("status-words").children(live(move || status.with(|status| status.words.clone()))),
        ))
        .into()
}

fn minimise(ui: Ui) -> View {
    button()
        .class("icon-button")
        .r#type("button")
        .attr("aria-label", "Minimise")
        .attr("title", "Minimise")
        .press(move || ui.act(Act::Minimise))
        .children(icon(Icon::Minimise))
        .into()
}
