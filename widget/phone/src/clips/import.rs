//! Takes a file that the person has chosen, or says in one sentence why not.

use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AudioBuffer, File};

use super::{Clip, FILES, check_file, check_kind, check_length, name_of_file};
use crate::browser::random_id;
use crate::media::decoding::decode;

/// The first bytes of a file, by which its kind is known.
const HEAD_BYTES: u32 = 16;

/// Stores the file under `namespace`, in which there are `clips` clips already.
pub async fn import(file: &File, namespace: &str, clips: usize) -> Result<Clip, String> {
    let name = file.name();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
    let bytes = file.size() as u64;
    check_file(&name, bytes, clips)?;
    let content = JsFuture::from(file.array_buffer()).await;
    let content: ArrayBuffer = content.map_err(|_| format!("“{name}” cannot be read."))?.unchecked_into();
    check_kind(&name, &Uint8Array::new(&content.slice_with_end(0, HEAD_BYTES)).to_vec())?;
    // Decoding takes the bytes away.
    let sound = decode(&content.slice(0)).await;
    let sound =
        sound.map_err(|_| format!("This browser cannot play “{name}”. Save it as MP3 or WAV, and add that."))?;
    let milliseconds = milliseconds(&sound);
    check_length(&name, milliseconds)?;
    let id = random_id();
    let stored = FILES.put(&key(namespace, &id), &content).await;
    stored.map_err(|_| format!("This browser has no room for “{name}”."))?;
    Ok(Clip { id, name: name_of_file(&name), milliseconds })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes")]
pub fn milliseconds(sound: &AudioBuffer) -> u32 {
    (sound.duration() * 1_000.0) as u32
}

/// The key of a clip's file in the store.
pub fn key(namespace: &str, id: &str) -> String {
    format!("{namespace}:{id}")
}
