//! The phone that people see: screens, microphone, `RTCPeerConnection`.
//!
//! It knows no SIP. Socket, registration and dialogs live in the agent, which
//! runs in a `SharedWorker` (or beside it in the page); the two talk by the
//! messages of [`bitcall_wire::agent_protocol`]. The page that frames the phone is
//! spoken to by those of [`bitcall_wire::host_protocol`].
//!
//! - [`ui`] holds all that can be seen, [`screens`] draw it and say what the person wants;
//! - [`signin`], [`recents`], [`number`], [`time`], [`theme`] are rules without a browser;
//! - [`link`], [`media`] and [`tones`] reach the agent, the far end and the ear.

pub mod agent_client;
pub mod app;
pub mod browser;
pub mod host;
pub mod icons;
pub mod media;
pub mod notified_calls;
pub mod number;
pub mod page;
pub mod recents;
pub mod screens;
pub mod signin;
pub mod storage;
#[cfg(test)]
mod test_call;
pub mod theme;
pub mod time;
pub mod tones;
pub mod ui;
pub mod value;

/// Called by `start.js` in the phone's page.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn start() {
    use std::cell::Cell;

    use sycamore::reactive::{create_effect, create_root, untrack, use_current_scope};

    browser::mark("bitcall:started");
    let _ = create_root(|| {
        let ui = ui::Ui::new();
        // As long as the page.
        std::mem::forget(app::App::start(ui));
        // Until there is something to be seen, the outline in the page's HTML stands for it.
        let (scope, drawn) = (use_current_scope(), Cell::new(false));
        create_effect(move || {
            if ui.screen.with(|screen| *screen != ui::Screen::Loading) && !drawn.replace(true) {
                untrack(|| scope.run_in(|| draw(ui)));
            }
        });
    });
}

#[cfg(target_arch = "wasm32")]
fn draw(ui: ui::Ui) {
    let Some(document) = page::document() else { return };
    if let Some(outline) = document.get_element_by_id("skeleton") {
        outline.remove();
    }
    if let Some(body) = document.body() {
        sycamore::web::render_in_scope(|| screens::root(ui), &body);
    }
}
