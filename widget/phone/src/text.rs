//! Letters of every language.

/// In capitals. In a browser by its own table: the standard library's is 4 KB of the phone's download.
pub fn uppercase(text: &str) -> String {
    #[cfg(target_arch = "wasm32")]
    return js_sys::JsString::from(text).to_upper_case().into();
    #[cfg(not(target_arch = "wasm32"))]
    text.to_uppercase()
}
