//! The files of clips, in this browser's `IndexedDB`.

use js_sys::ArrayBuffer;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{EventTarget, IdbDatabase, IdbOpenDbRequest, IdbRequest, IdbTransaction, IdbTransactionMode};

use crate::browser::{Completion, EventListener, window};

const DATABASE: &str = "bitcall-clips";
const FILES: &str = "files";

/// Also replaces.
pub async fn put(key: &str, file: &ArrayBuffer) -> Result<(), JsValue> {
    let transaction = begin(&open().await?, IdbTransactionMode::Readwrite)?;
    transaction.object_store(FILES)?.put_with_key(file, &key.into())?;
    // Only now is it known whether there was room.
    wait_for(&transaction, ["complete", "abort"]).await;
    match transaction.error() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

pub async fn get(key: &str) -> Result<Option<ArrayBuffer>, JsValue> {
    let transaction = begin(&open().await?, IdbTransactionMode::Readonly)?;
    let found = result(&transaction.object_store(FILES)?.get(&key.into())?).await?;
    Ok(found.dyn_into().ok())
}

pub async fn delete(key: &str) -> Result<(), JsValue> {
    let transaction = begin(&open().await?, IdbTransactionMode::Readwrite)?;
    result(&transaction.object_store(FILES)?.delete(&key.into())?).await?;
    Ok(())
}

async fn open() -> Result<IdbDatabase, JsValue> {
    let factory = window().and_then(|window| window.indexed_db().ok().flatten()).ok_or(JsValue::NULL)?;
    let request = factory.open_with_u32(DATABASE, 1)?;
    let _upgrade = EventListener::new(&request, "upgradeneeded", |event| {
        let request = event.target().and_then(|target| target.dyn_into::<IdbOpenDbRequest>().ok());
        let database = request.and_then(|request| request.result().ok());
        if let Some(database) = database {
            // Fails only where there is one already.
            let _ = database.unchecked_into::<IdbDatabase>().create_object_store(FILES);
        }
    });
    Ok(result(&request).await?.unchecked_into())
}

fn begin(database: &IdbDatabase, mode: IdbTransactionMode) -> Result<IdbTransaction, JsValue> {
    let transaction = database.transaction_with_str_and_mode(FILES, mode)?;
    // Takes effect when the transaction is over.
    database.close();
    Ok(transaction)
}

async fn result(request: &IdbRequest) -> Result<JsValue, JsValue> {
    wait_for(request, ["success", "error"]).await;
    match request.error()? {
        Some(error) => Err(error.into()),
        None => request.result(),
    }
}

/// Waits for one of two events.
async fn wait_for(target: &EventTarget, names: [&str; 2]) {
    let over = Completion::pending();
    let _listeners = names.map(|name| {
        let over = over.clone();
        EventListener::new(target, name, move |_| over.complete())
    });
    over.wait().await;
}
