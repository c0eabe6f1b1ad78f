//! A Web Lock that this page holds while it is attached.
//!
//! It does two things: browsers do not freeze a hidden page that holds a lock,
//! so calls still ring; and the agent, waiting for the same lock, learns at
//! once when the page has crashed.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};

use super::dom::window;

/// Released when dropped.
pub struct Lock {
    release: Rc<RefCell<Option<Function>>>,
}

impl Lock {
    /// `None` where the browser has no locks. `held` is called once it is ours.
    pub fn hold(name: &str, held: impl FnOnce() + 'static) -> Option<Lock> {
        let navigator: JsValue = window()?.navigator().into();
        let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
        let request: Function = Reflect::get(&locks, &"request".into()).ok()?.dyn_into().ok()?;
        let release = Rc::new(RefCell::new(None));
        let ended = Promise::new(&mut |resolve, _| {
            *release.borrow_mut() = Some(resolve);
        });
        // The lock is ours until the promise that this returns is fulfilled.
        let granted = Closure::once_into_js(move || {
            held();
            JsValue::from(ended)
        });
        request.call2(&locks, &name.into(), &granted).ok()?;
        Some(Lock { release })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(release) = self.release.borrow_mut().take() {
            let _ = release.call0(&JsValue::UNDEFINED);
        }
    }
}
