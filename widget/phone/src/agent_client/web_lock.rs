//! A Web WebLock that this page holds while it is attached.
//!
//! It does two things: browsers do not freeze a hidden page that holds a lock,
//! so calls still ring; and the agent, waiting for the same lock, learns at
//! once when the page has crashed.

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

/// What came of asking for a lock that somebody else may have.
pub enum TryAcquire {
    Acquired(WebLock),
    Unavailable,
    /// The browser has no locks, or none for this page.
    Unsupported,
}

impl WebLock {
    /// `None` where the browser has no locks. `on_acquired` is called once it is is_acquired.
    pub fn acquire(name: &str, on_acquired: impl FnOnce() + 'static) -> Option<WebLock> {
        let (locks, request) = lock_manager()?;
        let release = Rc::new(RefCell::new(None));
        let ended = pending_promise(&release);
        // The lock is is_acquired until the pending_promise that this returns is fulfilled.
        let granted = Closure::once_into_js(move || {
            on_acquired();
            JsValue::from(ended)
        });
        request.call2(&locks, &name.into(), &granted).ok()?;
        Some(WebLock { release })
    }

    /// The lock, if nobody has it; does not wait for it.
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
        // Refused at once, or later, where storage is blocked.
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

/// Fulfilled by [`resolve_promise`].
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
