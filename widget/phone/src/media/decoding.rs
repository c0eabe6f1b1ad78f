//! Reads sound files: whatever the browser can decode.

use js_sys::ArrayBuffer;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AudioBuffer, OfflineAudioContext};

/// Samples per second of everything that is played into calls: wideband telephony has as many. Ten minutes in stereo
/// take 77 MB of memory.
pub const SAMPLE_RATE: f32 = 16_000.0;

/// Decodes a whole file, whose bytes are gone from `file` afterwards.
pub async fn decode(file: &ArrayBuffer) -> Result<AudioBuffer, JsValue> {
    // Decodes to the sample rate of its own.
    let decoder = OfflineAudioContext::new_with_number_of_channels_and_length_and_sample_rate(1, 1, SAMPLE_RATE)?;
    Ok(JsFuture::from(decoder.decode_audio_data(file)?).await?.unchecked_into())
}
