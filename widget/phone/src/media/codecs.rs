//! Which codecs a description offers, and in which order.
//!
//! A first offer has the order of [`CODECS`]. A later one begins with the codec in use, so that the far end
//! has no reason to change it: a PBX that does not transcode would bridge nothing any more. An answer keeps
//! the order of the offer (RFC 3264 §6.1).

use js_sys::{Array, Function, Reflect};
use wasm_bindgen::JsCast;
use web_sys::{RtcRtpSender, RtcRtpTransceiver};

/// The codecs to offer, in order of preference. Others (RED, comfort noise, those for video) only make the
/// INVITE larger than a UDP packet.
const CODECS: [&str; 5] = ["opus", "g722", "pcmu", "pcma", "telephone-event"];

/// For an offer. `in_use` is the codec in use, as the agent knows it.
pub fn prefer(transceiver: &RtcRtpTransceiver, in_use: Option<&str>) {
    let Some(capabilities) = RtcRtpSender::get_capabilities("audio") else {
        return;
    };
    let Ok(known) = Reflect::get(&capabilities, &"codecs".into()) else {
        return;
    };
    let known: Array = known.unchecked_into();
    let preferred = Array::new();
    for name in in_use.into_iter().chain(CODECS.into_iter().filter(|name| Some(*name) != in_use)) {
        for codec in known.iter() {
            let mime = Reflect::get(&codec, &"mimeType".into()).ok().and_then(|mime| mime.as_string());
            let known_name = mime.as_deref().and_then(|mime| mime.strip_prefix("audio/"));
            if known_name.is_some_and(|known_name| known_name.eq_ignore_ascii_case(name)) {
                preferred.push(&codec);
            }
        }
    }
    if preferred.length() > 0 {
        set_preferences(transceiver, &preferred);
    }
}

/// For an answer.
pub fn keep_order_of_offer(transceiver: &RtcRtpTransceiver) {
    set_preferences(transceiver, &Array::new());
}

/// By reflection: older browsers do not have it, and it throws on a list that the browser does not accept.
fn set_preferences(transceiver: &RtcRtpTransceiver, codecs: &Array) {
    if let Ok(set) = Reflect::get(transceiver, &"setCodecPreferences".into())
        && let Ok(set) = set.dyn_into::<Function>()
    {
        let _ = set.call1(transceiver, codecs);
    }
}
