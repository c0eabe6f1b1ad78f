//! What `getStats` says about a connection: audio levels of both ends, packets.

use js_sys::{Map, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::RtcPeerConnection;

use crate::tones::ring_back::Received;

/// Linear audio levels, 0.0 to 1.0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AudioLevels {
    pub microphone: f32,
    pub remote: f32,
}

pub async fn audio_levels(connection: &RtcPeerConnection) -> AudioLevels {
    let mut levels = AudioLevels::default();
    for_each_entry(connection, |kind, entry| {
        let place = match kind {
            "media-source" => &mut levels.microphone,
            "inbound-rtp" => &mut levels.remote,
            _ => return,
        };
        #[expect(clippy::cast_possible_truncation, reason = "a level for the eye")]
        if let Some(level) = number(entry, "audioLevel") {
            *place = loudness(level as f32);
        }
    })
    .await;
    levels
}

pub async fn received(connection: &RtcPeerConnection) -> Received {
    let mut received = Received::default();
    for_each_entry(connection, |kind, entry| {
        if kind == "inbound-rtp" {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of packets")]
            let packets = number(entry, "packetsReceived").unwrap_or(0.0) as u64;
            received.packets += packets;
            if let Some(level) = number(entry, "audioLevel") {
                received.level = Some(received.level.map_or(level, |other| other.max(level)));
            }
        }
    })
    .await;
    received
}

async fn for_each_entry(connection: &RtcPeerConnection, mut read: impl FnMut(&str, &JsValue)) {
    let Ok(report) = JsFuture::from(connection.get_stats()).await else {
        return;
    };
    // An `RTCStatsReport` is map-like: `values()` is an iterator.
    for entry in report.unchecked_into::<Map>().values() {
        let Ok(entry) = entry else { break };
        let kind = Reflect::get(&entry, &"type".into()).ok().and_then(|kind| kind.as_string());
        read(kind.as_deref().unwrap_or_default(), &entry);
    }
}

fn number(entry: &JsValue, field: &str) -> Option<f64> {
    Reflect::get(entry, &field.into()).ok()?.as_f64()
}

/// Speech peaks at 0.1 to 0.3. The square root makes its changes visible.
fn loudness(level: f32) -> f32 {
    level.clamp(0.0, 1.0).sqrt()
}
