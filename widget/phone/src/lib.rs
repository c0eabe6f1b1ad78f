//! The phone's user interface: screens, microphone, `RTCPeerConnection`.
//!
//! It contains no SIP. Socket, registration and dialogs are in the agent, which runs in a `SharedWorker` or
//! in the page; both exchange the messages of [`bitcall_wire::agent_protocol`]. Messages to and from the
//! page that frames the phone are those of [`bitcall_wire::host_protocol`].
//!
//! - [`ui`] is the state of the screens, [`screens`] render it and dispatch actions;
//! - [`signin`], [`recents`], [`number`], [`time`], [`theme`] need no browser;
//! - [`agent_client`], [`media`], [`tones`], [`host_port`] and [`runtime_config`] connect to the agent, the far end, the speaker, what embeds the phone and the server.

pub mod agent_client;
pub mod app;
pub mod browser;
pub mod caller_ids;
pub mod clips;
pub mod frame_port;
pub mod host_port;
pub mod icons;
pub mod indexed_db;
pub mod media;
pub mod notified_calls;
pub mod number;
pub mod page;
pub mod recents;
pub mod recordings;
pub mod runtime_config;
pub mod screens;
pub mod secondary;
pub mod selector;
pub mod signin;
pub mod storage;
#[cfg(test)]
mod test_call;
pub mod text;
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
        // Lives as long as the page.
        let port = frame_port::FramePort::of_this_page();
        let port = port.map(|port| std::rc::Rc::new(port) as std::rc::Rc<dyn host_port::HostPort>);
        std::mem::forget(app::App::start(ui, port));
        // Until then the skeleton in the page's HTML is shown.
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
