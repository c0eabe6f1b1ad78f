//! A Web Lock that this page holds while it is attached.
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
pub struct Lock {
    release: Rc<RefCell<Option<Function>>>,
}

/// What came of asking for a lock that somebody else may have.
pub enum Seized {
    Ours(Lock),
    Taken,
    /// The browser has no locks, or none for this page.
    NoLocks,
}

impl Lock {
    /// `None` where the browser has no locks. `held` is called once it is ours.
    pub fn hold(name: &str, held: impl FnOnce() + 'static) -> Option<Lock> {
        let (locks, request) = manager()?;
        let release = Rc::new(RefCell::new(None));
        let ended = promise(&release);
        // The lock is ours until the promise that this returns is fulfilled.
        let granted = Closure::once_into_js(move || {
            held();
            JsValue::from(ended)
        });
        request.call2(&locks, &name.into(), &granted).ok()?;
        Some(Lock { release })
    }

    /// The lock, if nobody has it; does not wait for it.
    pub async fn seize(name: &str) -> Seized {
        let Some((locks, request)) = manager() else { return Seized::NoLocks };
        let (release, answered) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(None)));
        let (ended, answer) = (promise(&release), promise(&answered));
        let ours = Rc::new(Cell::new(false));
        let granted = Closure::once_into_js({
            let ours = Rc::clone(&ours);
            move |lock: JsValue| {
                ours.set(!lock.is_null());
                tell(&answered);
                if lock.is_null() { JsValue::UNDEFINED } else { ended.into() }
            }
        });
        let options = object(&[("ifAvailable", JsValue::TRUE)]);
        // Refused at once, or later, where storage is blocked.
        let Ok(done) = request.call3(&locks, &name.into(), &options, &granted) else { return Seized::NoLocks };
        let first = Promise::race(&Array::of2(&answer, &done));
        match JsFuture::from(first).await {
            Ok(_) if ours.get() => Seized::Ours(Lock { release }),
            Ok(_) => Seized::Taken,
            Err(_) => Seized::NoLocks,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        tell(&self.release);
    }
}

/// `navigator.locks` and its `request`.
fn manager() -> Option<(JsValue, Function)> {
    let navigator: JsValue = window()?.navigator().into();
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    let request = Reflect::get(&locks, &"request".into()).ok()?.dyn_into().ok()?;
    Some((locks, request))
}

/// Fulfilled by [`tell`].
fn promise(resolve: &Rc<RefCell<Option<Function>>>) -> Promise {
    Promise::new(&mut |fulfil, _| {
        *resolve.borrow_mut() = Some(fulfil);
    })
}

fn tell(resolve: &Rc<RefCell<Option<Function>>>) {
    if let Some(resolve) = resolve.borrow_mut().take() {
        let _ = resolve.call0(&JsValue::UNDEFINED);
    }
}
