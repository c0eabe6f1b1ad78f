//! The files of recordings, in the browser's private file system (OPFS), else in its `IndexedDB`.
//!
//! A recording is a folder of small files. Each is replaced as a whole, which both do at once or not at all, so that there
//! is no moment at which a crash takes what was there before.

use js_sys::{Array, ArrayBuffer, Function, Reflect, Uint8Array, encode_uri_component};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemRemoveOptions, FileSystemWritableFileStream, StorageEstimate, StorageManager,
};

use crate::browser::window;
use crate::indexed_db::IndexedDb;

const FOLDER: &str = "recordings";
const DATABASE: IndexedDb = IndexedDb { name: "bitcall-recordings" };

/// The recordings of one person.
#[derive(Clone)]
pub enum RecordingStorage {
    Folder(FileSystemDirectoryHandle),
    /// What precedes the keys.
    Database(String),
}

/// How much this browser stores for the phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageQuota {
    pub used: u64,
    pub all: u64,
}

impl StorageQuota {
    pub fn left(self) -> u64 {
        self.all.saturating_sub(self.used)
    }
}

impl RecordingStorage {
    pub async fn open(namespace: &str) -> RecordingStorage {
        match folder(namespace).await {
            Some(folder) => RecordingStorage::Folder(folder),
            None => RecordingStorage::Database(format!("{namespace}/")),
        }
    }

    /// Also replaces.
    pub async fn put(&self, recording: &str, name: &str, bytes: &[u8]) -> Result<(), JsValue> {
        let bytes = Uint8Array::from(bytes);
        match self {
            RecordingStorage::Folder(all) => {
                let folder = subfolder(all, recording).await?;
                let options = FileSystemGetFileOptions::new();
                options.set_create(true);
                let file = JsFuture::from(folder.get_file_handle_with_options(name, &options)).await?;
                let file: FileSystemFileHandle = file.unchecked_into();
                let stream: FileSystemWritableFileStream =
                    JsFuture::from(file.create_writable()).await?.unchecked_into();
                if let Err(error) = JsFuture::from(stream.write_with_js_u8_array(&bytes)?).await {
                    // Otherwise the file stays locked.
                    let _ = JsFuture::from(stream.abort()).await;
                    return Err(error);
                }
                // Replaces the file.
                JsFuture::from(stream.close()).await?;
                Ok(())
            }
            RecordingStorage::Database(prefix) => {
                DATABASE.put(&format!("{prefix}{recording}/{name}"), &bytes.buffer()).await
            }
        }
    }

    pub async fn get(&self, recording: &str, name: &str) -> Option<Blob> {
        match self {
            RecordingStorage::Folder(all) => {
                let folder = JsFuture::from(all.get_directory_handle(recording)).await.ok()?;
                let folder: FileSystemDirectoryHandle = folder.unchecked_into();
                let file = JsFuture::from(folder.get_file_handle(name)).await.ok()?;
                let file: FileSystemFileHandle = file.unchecked_into();
                Some(JsFuture::from(file.get_file()).await.ok()?.unchecked_into())
            }
            RecordingStorage::Database(prefix) => {
                let file = DATABASE.get(&format!("{prefix}{recording}/{name}")).await.ok()??;
                Blob::new_with_u8_array_sequence(&Array::of1(&file)).ok()
            }
        }
    }

    pub async fn delete(&self, recording: &str) -> Result<(), JsValue> {
        match self {
            RecordingStorage::Folder(all) => {
                let options = FileSystemRemoveOptions::new();
                options.set_recursive(true);
                JsFuture::from(all.remove_entry_with_options(recording, &options)).await?;
            }
            RecordingStorage::Database(prefix) => {
                let prefix = format!("{prefix}{recording}/");
                for key in DATABASE.keys().await?.iter().filter(|key| key.starts_with(&prefix)) {
                    DATABASE.delete(key).await?;
                }
            }
        }
        Ok(())
    }

    /// The names of all recordings, in no order.
    pub async fn recordings(&self) -> Result<Vec<String>, JsValue> {
        let mut names = Vec::new();
        match self {
            RecordingStorage::Folder(all) => {
                let keys = all.keys();
                loop {
                    let next = JsFuture::from(keys.next()?).await?;
                    if Reflect::get(&next, &"done".into())?.is_truthy() {
                        break;
                    }
                    names.extend(Reflect::get(&next, &"value".into())?.as_string());
                }
            }
            RecordingStorage::Database(prefix) => {
                for key in DATABASE.keys().await? {
                    let name = key.strip_prefix(prefix.as_str()).and_then(|rest| rest.split('/').next());
                    if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
                        names.push(name.to_owned());
                    }
                }
            }
        }
        Ok(names)
    }
}

pub async fn bytes(blob: &Blob) -> Result<Vec<u8>, JsValue> {
    let buffer: ArrayBuffer = JsFuture::from(blob.array_buffer()).await?.unchecked_into();
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// `None` where the browser does not say.
pub async fn room() -> Option<StorageQuota> {
    let estimate: StorageEstimate = JsFuture::from(manager()?.estimate().ok()?).await.ok()?.unchecked_into();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of bytes")]
    let room = StorageQuota { used: estimate.get_usage()? as u64, all: estimate.get_quota()? as u64 };
    Some(room)
}

/// Asks the browser not to clear what it stores for the phone when it needs room itself. It may refuse.
pub async fn keep() {
    if let Some(asked) = manager().and_then(|manager| manager.persist().ok()) {
        let _ = JsFuture::from(asked).await;
    }
}

fn manager() -> Option<StorageManager> {
    // Only in a secure context.
    Some(window()?.navigator().storage()).filter(|manager| !manager.is_undefined())
}

/// `None` where the browser has no such file system, or one that only workers write to.
async fn folder(namespace: &str) -> Option<FileSystemDirectoryHandle> {
    let manager = manager()?;
    Reflect::get(&manager, &"getDirectory".into()).ok()?.dyn_into::<Function>().ok()?;
    let handle = Reflect::get(&js_sys::global(), &"FileSystemFileHandle".into()).ok()?;
    let prototype = Reflect::get(&handle, &"prototype".into()).ok()?;
    Reflect::get(&prototype, &"createWritable".into()).ok()?.dyn_into::<Function>().ok()?;
    let root = JsFuture::from(manager.get_directory()).await.ok()?;
    let recordings = subfolder(&root.unchecked_into(), FOLDER).await.ok()?;
    subfolder(&recordings, &String::from(encode_uri_component(namespace))).await.ok()
}

async fn subfolder(folder: &FileSystemDirectoryHandle, name: &str) -> Result<FileSystemDirectoryHandle, JsValue> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    Ok(JsFuture::from(folder.get_directory_handle_with_options(name, &options)).await?.unchecked_into())
}
