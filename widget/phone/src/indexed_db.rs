//! Files by key, in one of this browser's `IndexedDB` databases.

use js_sys::{Array, ArrayBuffer};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{EventTarget, IdbDatabase, IdbOpenDbRequest, IdbRequest, IdbTransaction, IdbTransactionMode};

use crate::browser::{Completion, EventListener, window};

const FILES: &str = "files";

pub struct IndexedDb {
    /// Name of the database.
    pub name: &'static str,
}

impl IndexedDb {
    /// Also replaces.
    pub async fn put(&self, key: &str, file: &ArrayBuffer) -> Result<(), JsValue> {
        let transaction = self.begin(IdbTransactionMode::Readwrite).await?;
        transaction.object_store(FILES)?.put_with_key(file, &key.into())?;
        // Only now is it known whether there was room.
        wait_for(&transaction, ["complete", "abort"]).await;
        match transaction.error() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    pub async fn get(&self, key: &str) -> Result<Option<ArrayBuffer>, JsValue> {
        let transaction = self.begin(IdbTransactionMode::Readonly).await?;
        let found = result(&transaction.object_store(FILES)?.get(&key.into())?).await?;
        Ok(found.dyn_into().ok())
    }

    pub async fn delete(&self, key: &str) -> Result<(), JsValue> {
        let transaction = self.begin(IdbTransactionMode::Readwrite).await?;
        result(&transaction.object_store(FILES)?.delete(&key.into())?).await?;
        Ok(())
    }

    pub async fn keys(&self) -> Result<Vec<String>, JsValue> {
        let transaction = self.begin(IdbTransactionMode::Readonly).await?;
        let keys = result(&transaction.object_store(FILES)?.get_all_keys()?).await?;
        Ok(Array::from(&keys).iter().filter_map(|key| key.as_string()).collect())
    }

    async fn begin(&self, mode: IdbTransactionMode) -> Result<IdbTransaction, JsValue> {
        let database = self.open().await?;
        let transaction = database.transaction_with_str_and_mode(FILES, mode)?;
        // Takes effect when the transaction is over.
        database.close();
        Ok(transaction)
    }

    async fn open(&self) -> Result<IdbDatabase, JsValue> {
        let factory = window().and_then(|window| window.indexed_db().ok().flatten()).ok_or(JsValue::NULL)?;
        let request = factory.open_with_u32(self.name, 1)?;
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
