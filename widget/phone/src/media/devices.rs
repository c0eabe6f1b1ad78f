//! The list of microphones and speakers.

use js_sys::Array;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{MediaDeviceInfo, MediaDeviceKind};

use crate::browser::media_devices;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    pub microphones: Vec<Device>,
    /// There is a microphone, even if the browser hides its name before permission is granted.
    pub any_microphone: bool,
    /// Empty where the browser cannot choose a speaker (Firefox without `speaker-selection`, Safari). Then
    /// no choice is shown.
    pub speakers: Vec<Device>,
    /// The chosen ids; `None` is the system's default.
    pub microphone: Option<String>,
    pub speaker: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: String,
    /// `Microphone 1` while the browser hides the name.
    pub name: String,
}

/// Never fails: without permission the names are placeholders, without devices the lists are empty.
pub async fn list(microphone: Option<String>, speaker: Option<String>) -> Devices {
    let mut devices = Devices { microphone, speaker, ..Devices::default() };
    let Some(promise) = media_devices().and_then(|devices| devices.enumerate_devices().ok()) else {
        return devices;
    };
    let Ok(found) = JsFuture::from(promise).await else {
        return devices;
    };
    for info in found.unchecked_into::<Array>().iter() {
        let info: MediaDeviceInfo = info.unchecked_into();
        let (list, word) = match info.kind() {
            MediaDeviceKind::Audioinput => {
                devices.any_microphone = true;
                (&mut devices.microphones, "Microphone")
            }
            MediaDeviceKind::Audiooutput => (&mut devices.speakers, "Speaker"),
            _ => continue,
        };
        let id = info.device_id();
        // Chromium's aliases of the default device. The default is always offered, as `None`.
        if id == "default" || id == "communications" || id.is_empty() {
            continue;
        }
        let name = match info.label() {
            label if label.is_empty() => format!("{word} {}", list.len() + 1),
            label => label,
        };
        list.push(Device { id, name });
    }
    devices
}
