//! A Web Lock that this page holds while it is attached to the agent.
//!
//! Browsers do not freeze a hidden page that holds a lock, so incoming calls still ring. The agent waits for
//! the same lock and therefore learns at once when the page has crashed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::browser::{object, window};

/// Released when dropped.
pub struct WebLock {
    release: Rc<RefCell<Option<Function>>>,
}

/// The result of asking for a lock that another page may hold.
pub enum TryAcquire {
    Acquired(WebLock),
    Unavailable,
    /// The browser has no Web Locks API, or denies it to this page.
    Unsupported,
}

impl WebLock {
    /// Waits for the lock and holds it. `None` where the browser has no Web Locks. `on_acquired` is called
    /// once the lock is held.
    pub fn acquire(name: &str, on_acquired: impl FnOnce() + 'static) -> Option<WebLock> {
        let (locks, request) = lock_manager()?;
        let release = Rc::new(RefCell::new(None));
        let ended = pending_promise(&release);
        // The browser holds the lock until the returned promise is fulfilled.
        let granted = Closure::once_into_js(move || {
            on_acquired();
            JsValue::from(ended)
        });
        request.call2(&locks, &name.into(), &granted).ok()?;
        Some(WebLock { release })
    }

    /// Takes the lock if nobody holds it. Does not wait.
    pub async fn try_acquire(name: &str) -> TryAcquire {
        let Some((locks, request)) = lock_manager() else { return TryAcquire::Unsupported };
        let (release, answered) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)));
        let (ended, answer) = (pending_promise(&release), pending_promise(&answered));
        let is_acquired = Rc::new(Cell::new(false));
        let granted = Closure::once_into_js({
            let is_acquired = Rc::clone(&is_acquired);
            move |lock: JsValue| {
                is_acquired.set(!lock.is_null());
                resolve_promise(&answered);
                if lock.is_null() { JsValue::UNDEFINED } else { ended.into() }
            }
        });
        let options = object(&[("ifAvailable", JsValue::TRUE)]);
        // Where storage is blocked, the request throws, or its promise is rejected.
        let Ok(done) = request.call3(&locks, &name.into(), &options, &granted) else { return TryAcquire::Unsupported };
        let first = Promise::race(&Array::of2(&answer, &done));
        match JsFuture::from(first).await {
            Ok(_) if is_acquired.get() => TryAcquire::Acquired(WebLock { release }),
            Ok(_) => TryAcquire::Unavailable,
            Err(_) => TryAcquire::Unsupported,
        }
    }
}

impl Drop for WebLock {
    fn drop(&mut self) {
        resolve_promise(&self.release);
    }
}

/// `navigator.locks` and its `request`.
fn lock_manager() -> Option<(JsValue, Function)> {
    let navigator: JsValue = window()?.navigator().into();
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    let request = Reflect::get(&locks, &"request".into()).ok()?.dyn_into().ok()?;
    Some((locks, request))
}

/// A promise that [`resolve_promise`] fulfils.
fn pending_promise(resolve: &Rc<RefCell<Option<Function>>>) -> Promise {
    Promise::new(&mut |fulfil, _| {
        *resolve.borrow_mut() = Some(fulfil);
    })
}

fn resolve_promise(resolve: &Rc<RefCell<Option<Function>>>) {
    if let Some(resolve) = resolve.borrow_mut().take() {
        let _ = resolve.call0(&JsValue::UNDEFINED);
    }
}
