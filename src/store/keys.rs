//! Keys of records that more than one room names: the rooms that write them, and the deletion of a tenant.

use crate::hostname::Hostname;

pub const ORDERS: &str = "order/";
pub const CERTIFICATES: &str = "certificate/";

/// The state of a name's ACME order.
pub fn order_key(name: &Hostname) -> String {
    format!("{ORDERS}{name}")
}

/// The certificate of a name; of a wildcard, `*.<name>`.
pub fn certificate_key(name: &str) -> String {
    format!("{CERTIFICATES}{name}")
}
