//! Reads sound files: whatever the browser can decode, of this device or of a server.

use js_sys::ArrayBuffer;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AudioBuffer, OfflineAudioContext, Response};

use crate::browser::window;

const MAX_FILE_BYTES: u32 = 8 * 1024 * 1024;

/// Samples per second of everything that is played into calls: wideband telephony has as many. Ten minutes in stereo
/// take 77 MB of memory.
pub const SAMPLE_RATE: f32 = 16_000.0;

/// Decodes a whole file, whose bytes are gone from `file` afterwards.
pub async fn decode(file: &ArrayBuffer) -> Result<AudioBuffer, JsValue> {
    // Decodes to the sample rate of its own.
    let decoder = OfflineAudioContext::new_with_number_of_channels_and_length_and_sample_rate(1, 1, SAMPLE_RATE)?;
    Ok(JsFuture::from(decoder.decode_audio_data(file)?).await?.unchecked_into())
}

/// Loads a file of another server, which must allow it by CORS.
pub async fn fetch_sound(url: &str) -> Result<AudioBuffer, JsValue> {
    let window = window().ok_or(JsValue::NULL)?;
    let response: Response = JsFuture::from(window.fetch_with_str(url)).await?.unchecked_into();
    if !response.ok() {
        return Err(format!("the server answers with {}", response.status()).into());
    }
    let file: ArrayBuffer = JsFuture::from(response.array_buffer()?).await?.unchecked_into();
    if file.byte_length() > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes").into());
    }
    decode(&file).await
}
