//! Elements that all screens use. Boxing the closures here avoids a copy of sycamore's generic code per
//! closure.

use sycamore::prelude::*;
use sycamore::web::tags::{div, span};
use sycamore::web::{GlobalAttributes, events};
use web_sys::{FocusEvent, MouseEvent, PointerEvent};

use crate::icons::{Icon, icon};

/// A view that is rendered again when a signal it reads changes.
pub fn dynamic<T: Into<View> + 'static>(mut draw: impl FnMut() -> T + 'static) -> View {
    let draw: Box<dyn FnMut() -> View> = Box::new(move || draw().into());
    View::from_dynamic(draw)
}

/// Click handlers of an element.
pub trait OnPress: GlobalAttributes {
    fn on_press(self, mut act: impl FnMut() + 'static) -> Self {
        // Boxed together with its event: a closure around a box would again be one type per `act`.
        let act: Box<dyn FnMut(MouseEvent)> = Box::new(move |_| act());
        self.on(events::click, act)
    }

    /// The pointer is over the element, or the focus on it: a click is likely.
    fn on_press_intent(self, act: impl Fn() + Copy + 'static) -> Self {
        self.on(events::pointerover, move |_: PointerEvent| act()).on(events::focus, move |_: FocusEvent| act())
    }
}

impl<T: GlobalAttributes> OnPress for T {}

/// An avatar: initials, or an icon.
pub fn avatar(name: Option<&str>) -> View {
    let inside: View = match name.and_then(crate::number::initials) {
        Some(letters) => span().children(letters).into(),
        None => icon(Icon::User),
    };
    div().class("avatar").attr("aria-hidden", "true").children(inside).into()
}
