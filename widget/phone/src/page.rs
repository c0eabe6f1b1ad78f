//! Functions on the page's document.

use wasm_bindgen::JsCast;

/// Moves the focus to the element with that id, if it is there.
pub fn focus(id: &str) {
    let element = document().and_then(|document| document.get_element_by_id(id));
    if let Some(element) = element.and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = element.focus();
    }
}

/// The selected value of the `<select>` that an event is about.
pub fn selected_value(event: &web_sys::Event) -> Option<String> {
    let target = event.target()?.dyn_into::<web_sys::HtmlSelectElement>().ok()?;
    Some(target.value())
}

/// The text of the `<input>` that an event is about.
pub fn typed_value(event: &web_sys::Event) -> Option<String> {
    let target = event.target()?.dyn_into::<web_sys::HtmlInputElement>().ok()?;
    Some(target.value())
}

/// Whether the `<input>` that an event is about is ticked.
pub fn is_ticked(event: &web_sys::Event) -> Option<bool> {
    Some(event.target()?.dyn_into::<web_sys::HtmlInputElement>().ok()?.checked())
}

/// The file that was chosen in the `<input>` that an event is about. The same one may be chosen again.
pub fn chosen_file(event: &web_sys::Event) -> Option<web_sys::File> {
    let target = event.target()?.dyn_into::<web_sys::HtmlInputElement>().ok()?;
    let file = target.files()?.get(0);
    target.set_value("");
    file
}

pub fn document() -> Option<web_sys::Document> {
    web_sys::window()?.document()
}

/// The time zone and clock format of the person.
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

/// Moves the focus after the pending rendering.
pub fn focus_after_render(id: &'static str) {
    wasm_bindgen_futures::spawn_local(async move { focus(id) });
}

/// A `data-…` attribute of `<html>`. The page's HTML names the worker's URL there.
pub fn data_attribute(name: &str) -> String {
    let root = document().and_then(|document| document.document_element());
    root.and_then(|root| root.get_attribute(&format!("data-{name}"))).unwrap_or_default()
}

/// Styles that come after those of the page's own stylesheet. A Content Security Policy lets them pass, as they are no text in
/// the document.
pub fn adopt_styles(css: &str) {
    if let (Some(document), Ok(sheet)) = (document(), web_sys::CssStyleSheet::new()) {
        let _ = sheet.replace_sync(css);
        document.adopted_style_sheets().push(&sheet);
    }
}

/// The HTTP status with which the server answers for `url`; `None` without an answer.
pub async fn status_of(url: &str) -> Option<u16> {
    let answer = wasm_bindgen_futures::JsFuture::from(web_sys::window()?.fetch_with_str(url)).await.ok()?;
    let status = js_sys::Reflect::get(&answer, &"status".into()).ok()?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "three digits")]
    let status = status as u16;
    Some(status)
}

/// Opens the microphone and releases it at once, which asks for permission.
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
