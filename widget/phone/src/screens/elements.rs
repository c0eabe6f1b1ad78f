//! What every screen is made of. Each of these also keeps the phone small:
//! boxing a closure here saves a copy of sycamore's machinery per closure.

use sycamore::prelude::*;
use sycamore::web::tags::{div, span};
use sycamore::web::{GlobalAttributes, events};
use web_sys::{FocusEvent, MouseEvent, PointerEvent};

use crate::icons::{Icon, icon};

/// A part that is drawn again whenever what it reads changes.
pub fn dynamic<T: Into<View> + 'static>(mut draw: impl FnMut() -> T + 'static) -> View {
    let draw: Box<dyn FnMut() -> View> = Box::new(move || draw().into());
    View::from_dynamic(draw)
}

/// Something that can be pressed.
pub trait OnPress: GlobalAttributes {
    fn on_press(self, mut act: impl FnMut() + 'static) -> Self {
        // Boxed with its event: a closure around a box would again be one type per `act`.
        let act: Box<dyn FnMut(MouseEvent)> = Box::new(move |_| act());
        self.on(events::click, act)
    }

    /// Pressing is near: the pointer is over it, or the focus on it.
    fn on_press_intent(self, act: impl Fn() + Copy + 'static) -> Self {
        self.on(events::pointerover, move |_: PointerEvent| act()).on(events::focus, move |_: FocusEvent| act())
    }
}

impl<T: GlobalAttributes> OnPress for T {}

/// A picture for somebody: initials, or the drawing of a person.
pub fn avatar(name: Option<&str>) -> View {
    let inside: View = match name.and_then(crate::number::initials) {
        Some(letters) => span().children(letters).into(),
        None => icon(Icon::User),
    };
    div().class("avatar").attr("aria-hidden", "true").children(inside).into()
}
