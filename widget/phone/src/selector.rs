//! Values that follow from signals.
//!
//! Sycamore's own (`create_selector`) are code of their own for each type of value, and the phone has about eighty of
//! twenty types. Here the value's type is known only where it is made, compared and read.

use std::any::Any;
use std::marker::PhantomData;
use std::rc::Rc;

use sycamore::reactive::{ReadSignal, create_selector_with};

/// A value that follows from signals, and tells those who read it only of changes.
pub struct Selector<T>(ReadSignal<Rc<dyn Any>>, PhantomData<fn() -> T>);

impl<T> Clone for Selector<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Selector<T> {}

/// Follows what `follow` makes of the signals that it reads.
pub fn selector<T: PartialEq + 'static>(mut follow: impl FnMut() -> T + 'static) -> Selector<T> {
    Selector(erased(Box::new(move || -> Rc<dyn Any> { Rc::new(follow()) }), are_equal::<T>), PhantomData)
}

impl<T: 'static> Selector<T> {
    pub fn with<R>(self, read: impl FnOnce(&T) -> R) -> R {
        read(value(&*self.0.get_clone()))
    }

    pub fn get(self) -> T
    where
        T: Copy,
    {
        *value(&*self.0.get_clone())
    }

    pub fn get_clone(self) -> T
    where
        T: Clone,
    {
        T::clone(value(&*self.0.get_clone()))
    }

    pub fn get_untracked(self) -> T
    where
        T: Copy,
    {
        *value(&*self.0.get_clone_untracked())
    }

    pub fn track(self) {
        self.0.track();
    }
}

#[inline(never)]
fn erased(
    follow: Box<dyn FnMut() -> Rc<dyn Any>>,
    are_equal: fn(&Rc<dyn Any>, &Rc<dyn Any>) -> bool,
) -> ReadSignal<Rc<dyn Any>> {
    create_selector_with(follow, are_equal)
}

fn are_equal<T: PartialEq + 'static>(a: &Rc<dyn Any>, b: &Rc<dyn Any>) -> bool {
    value::<T>(&**a) == value::<T>(&**b)
}

/// A selector holds values of its own type only.
fn value<T: 'static>(any: &dyn Any) -> &T {
    match any.downcast_ref() {
        Some(value) => value,
        None => unreachable!("a selector's value has another type"),
    }
}
