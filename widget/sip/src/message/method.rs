//! Request methods.

use core::fmt;

macro_rules! methods {
    ($($variant:ident $text:literal,)*) => {
        /// A request method. Methods are case-sensitive (RFC 3261 §7.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method<'a> {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other method, as text.
            Other(&'a str),
        }

        impl<'a> Method<'a> {
            /// The method of this name.
            pub fn from_name(name: &'a str) -> Method<'a> {
                match name {
                    $($text => Method::$variant,)*
                    other => Method::Other(other),
                }
            }

            /// The name as it is sent.
            pub fn as_str(self) -> &'a str {
                match self {
                    $(Method::$variant => $text,)*
                    Method::Other(name) => name,
                }
            }
        }
    };
}

methods! {
    Invite "INVITE",
    Ack "ACK",
    Bye "BYE",
    Cancel "CANCEL",
    Register "REGISTER",
    Options "OPTIONS",
    Info "INFO",
    Prack "PRACK",
    Update "UPDATE",
    Refer "REFER",
    Notify "NOTIFY",
    Subscribe "SUBSCRIBE",
    Message "MESSAGE",
    Publish "PUBLISH",
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
