//! Audio levels of both ends, from `getStats`.

use js_sys::{Map, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::RtcPeerConnection;

/// Linear audio levels, 0.0 to 1.0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AudioLevels {
    pub microphone: f32,
    pub remote: f32,
}

pub async fn measure(connection: &RtcPeerConnection) -> AudioLevels {
    let mut levels = AudioLevels::default();
    let Ok(report) = JsFuture::from(connection.get_stats()).await else {
        return levels;
    };
    let mut read = |entry: &JsValue| {
        let field = |name: &str| Reflect::get(entry, &name.into()).unwrap_or_default();
        let place = match field("type").as_string().as_deref() {
            Some("media-source") => &mut levels.microphone,
            Some("inbound-rtp") => &mut levels.remote,
            _ => return,
        };
        #[expect(clippy::cast_possible_truncation, reason = "a level for the eye")]
        if let Some(level) = field("audioLevel").as_f64() {
            *place = loudness(level as f32);
        }
    };
    // An `RTCStatsReport` is map-like: `values()` is an iterator.
    for entry in report.unchecked_into::<Map>().values() {
        match entry {
            Ok(entry) => read(&entry),
            Err(_) => break,
        }
    }
    levels
}

/// Speech peaks at 0.1 to 0.3. The square root makes its changes visible.
fn loudness(level: f32) -> f32 {
    level.clamp(0.0, 1.0).sqrt()
}
