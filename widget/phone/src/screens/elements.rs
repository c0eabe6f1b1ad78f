//! The elements of all screens.
//!
//! Of all HTML elements there is one type here, and each of its methods is one call: sycamore's are one type per tag,
//! with everything generic and inlined, which made every attribute of every screen a piece of code of its own.

use std::rc::Rc;

use sycamore::prelude::*;
use sycamore::web::events::EventDescriptor;
use sycamore::web::{
    AsHtmlNode, BoolAttribute, HtmlGlobalAttributes, HtmlNode, StringAttribute, ViewHtmlNode as _, ViewNode as _,
};
use wasm_bindgen::JsCast as _;
use web_sys::Event;

use crate::icons::{Icon, icon};

pub struct Element(HtmlNode);

macro_rules! tags {
    ($($tag:ident)*) => {
        $(pub fn $tag() -> Element {
            element(stringify!($tag))
        })*
    };
}

tags! {
    a b bdi button div form h1 h2 i img input label li main nav option output p progress section select small span ul
}

#[inline(never)]
fn element(tag: &'static str) -> Element {
    Element(HtmlNode::create_element(tag.into()))
}

impl Element {
    pub fn attr(self, name: &'static str, value: impl AttributeText) -> Self {
        value.set(self, name)
    }

    /// There without a value, or not there.
    pub fn bool_attr(self, name: &'static str, value: impl Into<BoolAttribute>) -> Self {
        self.set_bool(name, value.into())
    }

    pub fn class(self, value: impl AttributeText) -> Self {
        self.attr("class", value)
    }

    pub fn id(self, value: impl AttributeText) -> Self {
        self.attr("id", value)
    }

    pub fn r#type(self, value: &'static str) -> Self {
        self.attr("type", value)
    }

    pub fn children(self, children: impl Into<View>) -> Self {
        self.append(children.into())
    }

    pub fn on<E: EventDescriptor>(self, _: E, mut act: impl FnMut(E::EventTy) + 'static) -> Self {
        self.listen(E::NAME, Box::new(move |event| act(event.unchecked_into())))
    }

    pub fn on_press(self, mut act: impl FnMut() + 'static) -> Self {
        self.listen("click", Box::new(move |_| act()))
    }

    /// The pointer is over the element, or the focus on it: a click is likely.
    pub fn on_press_intent(self, act: impl Fn() + Copy + 'static) -> Self {
        self.listen("pointerover", Box::new(move |_| act())).listen("focus", Box::new(move |_| act()))
    }

    #[inline(never)]
    fn set(mut self, name: &'static str, value: StringAttribute) -> Self {
        self.0.set_attribute(name.into(), value);
        self
    }

    #[inline(never)]
    fn set_static(self, name: &'static str, value: &'static str) -> Self {
        self.set(name, value.into())
    }

    #[inline(never)]
    fn set_text(self, name: &'static str, value: String) -> Self {
        self.set(name, value.into())
    }

    #[inline(never)]
    fn set_derived(self, name: &'static str, value: Rc<dyn Fn() -> StringAttribute>) -> Self {
        self.set(name, MaybeDyn::Derived(value))
    }

    #[inline(never)]
    fn set_bool(mut self, name: &'static str, value: BoolAttribute) -> Self {
        self.0.set_bool_attribute(name.into(), value);
        self
    }

    #[inline(never)]
    fn append(mut self, children: View) -> Self {
        self.0.append_view(children);
        self
    }

    #[inline(never)]
    fn listen(mut self, event: &'static str, mut act: Box<dyn FnMut(Event)>) -> Self {
        let scope = use_current_scope();
        self.0.set_event_handler(event.into(), move |event| scope.run_in(|| act(event)));
        self
    }
}

impl AsHtmlNode for Element {
    fn as_html_node(&mut self) -> &mut HtmlNode {
        &mut self.0
    }
}

// What is rare is sycamore's: `bind`, `prop`, `href` and the like.
impl GlobalProps for Element {}
impl HtmlGlobalAttributes for Element {}

impl From<Element> for View {
    #[inline(never)]
    fn from(element: Element) -> Self {
        View::from_node(element.0)
    }
}

/// What an attribute can be: a text, or a function of signals that makes one, or none.
pub trait AttributeText {
    fn set(self, element: Element, name: &'static str) -> Element;
}

impl AttributeText for &'static str {
    fn set(self, element: Element, name: &'static str) -> Element {
        element.set_static(name, self)
    }
}

impl AttributeText for String {
    fn set(self, element: Element, name: &'static str) -> Element {
        element.set_text(name, self)
    }
}

impl<F: Fn() -> T + 'static, T: Into<StringAttribute>> AttributeText for F {
    fn set(self, element: Element, name: &'static str) -> Element {
        element.set_derived(name, Rc::new(move || self().into()))
    }
}

/// A view that is rendered again when a signal it reads changes.
pub fn dynamic<T: Into<View> + 'static>(mut draw: impl FnMut() -> T + 'static) -> View {
    rendered(Box::new(move || draw().into()))
}

#[inline(never)]
fn rendered(draw: Box<dyn FnMut() -> View>) -> View {
    View::from_dynamic(draw)
}

/// An avatar: initials, or an icon.
pub fn avatar(name: Option<&str>) -> View {
    let inside: View = match name.and_then(crate::number::initials) {
        Some(letters) => span().children(letters).into(),
        None => icon(Icon::User),
    };
    div().class("avatar").attr("aria-hidden", "true").children(inside).into()
}
