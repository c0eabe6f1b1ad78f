//! The few things that screens ask of the document they stand in.

use wasm_bindgen::JsCast;

/// Moves the focus to the element with that id, if it is there.
pub fn focus(id: &str) {
    let element = document().and_then(|document| document.get_element_by_id(id));
    if let Some(element) = element.and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = element.focus();
    }
}

/// What was chosen in the select box that an event is about.
pub fn selected_value(event: &web_sys::Event) -> Option<String> {
    let target = event.target()?.dyn_into::<web_sys::HtmlSelectElement>().ok()?;
    Some(target.value())
}

pub fn document() -> Option<web_sys::Document> {
    web_sys::window()?.document()
}

/// Where the person is, and how they read the clock.
pub fn local_clock() -> crate::time::LocalClock {
    let now = js_sys::Date::new_0();
    #[expect(clippy::cast_possible_truncation, reason = "minutes of a day")]
    let offset = -(now.get_timezone_offset() as i32);
    let afternoon = js_sys::Date::new_with_year_month_day_hr(2026, 0, 1, 15).to_locale_time_string("default");
    crate::time::LocalClock { offset_minutes: offset, is_24_hour: afternoon.includes("15", 0) }
}

/// Milliseconds since the Unix epoch.
pub fn unix_now_ms() -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "after 1970")]
    let now = js_sys::Date::now() as u64;
    now
}

pub fn has_focus() -> bool {
    document().is_some_and(|document| document.has_focus().unwrap_or(false))
}

/// Moves the focus once the screens have caught up.
pub fn focus_after_render(id: &'static str) {
    wasm_bindgen_futures::spawn_local(async move { focus(id) });
}

/// A `data-…` attribute of `<html>`, where the page names its own files.
pub fn data_attribute(name: &str) -> String {
    let root = document().and_then(|document| document.document_element());
    root.and_then(|root| root.get_attribute(&format!("data-{name}"))).unwrap_or_default()
}

/// Asks for the microphone and gives it back at once.
pub async fn can_open_microphone() -> bool {
    let constraints = web_sys::MediaStreamConstraints::new();
    constraints.set_audio(&wasm_bindgen::JsValue::TRUE);
    let Some(devices) = crate::browser::media_devices() else { return false };
    let Ok(asking) = devices.get_user_media_with_constraints(&constraints) else { return false };
    let Ok(stream) = wasm_bindgen_futures::JsFuture::from(asking).await else { return false };
    let stream: web_sys::MediaStream = stream.unchecked_into();
    for track in stream.get_tracks().iter() {
        track.unchecked_into::<web_sys::MediaStreamTrack>().stop();
    }
    true
}
