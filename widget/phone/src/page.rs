//! The few things that screens ask of the document they stand in.

use wasm_bindgen::JsCast;

/// Moves the focus to the element with that id, if it is there.
pub fn focus(id: &str) {
    let element = document().and_then(|document| document.get_element_by_id(id));
    if let Some(element) =
        element.and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok())
    {
        let _ = element.focus();
    }
}

/// What was chosen in the select box that an event is about.
pub fn value_of(event: &web_sys::Event) -> Option<String> {
    let target = event
        .target()?
        .dyn_into::<web_sys::HtmlSelectElement>()
        .ok()?;
    Some(target.value())
}

pub fn document() -> Option<web_sys::Document> {
    web_sys::window()?.document()
}

/// Where the person is, and how they read the clock.
pub fn zone() -> crate::time::Zone {
    let now = js_sys::Date::new_0();
    #[expect(clippy::cast_possible_truncation, reason = "minutes of a day")]
    let offset = -(now.get_timezone_offset() as i32);
    let morning: String = js_sys::Date::new_with_year_month_day_hr(2026, 0, 1, 15)
        .to_locale_time_string("default")
        .into();
    crate::time::Zone {
        offset,
        hours24: morning.contains("15"),
    }
}

/// Milliseconds since the Unix epoch.
pub fn now() -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "after 1970"
    )]
    let now = js_sys::Date::now() as u64;
    now
}
