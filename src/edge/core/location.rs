//! Where extensions can be reached: the registrar's table (RFC 3261 section 10.3, RFC 5626).
//!
//! A binding belongs to a WebSocket connection (its flow) and goes with it, because a browser
//! cannot be reached any other way. A device that says who it is (`+sip.instance`) keeps one
//! binding however often it reconnects; others are told apart by their contact URI.

use std::collections::HashMap;
use std::time::Instant;

use bitcall_sip::uri::Uri;
use sha2::{Digest as _, Sha256};

use super::ConnectionId;

/// A tenant's SIP domain and an extension in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extension {
    pub domain: String,
    pub user: String,
}

/// A device's name in Record-Route: stable over reconnects and restarts of the server. Its upper half tells the extension.
/// It needs no secret, because it only ever selects among the devices of the sender's own domain, which the sender may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u64);

impl DeviceId {
    /// `name` is the device's instance, or its contact URI when it has none.
    pub fn of(extension: &Extension, name: &str) -> Self {
        let device = half(&format!("{}\n{}\n{name}", extension.domain, extension.user));
        Self(u64::from(Self::upper_half(extension)) << 32 | u64::from(device))
    }

    /// Whether it is a device of this extension.
    pub fn is_of(self, extension: &Extension) -> bool {
        self.0 >> 32 == u64::from(Self::upper_half(extension))
    }

    fn upper_half(extension: &Extension) -> u32 {
        half(&format!("{}\n{}", extension.domain, extension.user))
    }
}

fn half(text: &str) -> u32 {
    Sha256::digest(text).first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[derive(Debug, Clone)]
pub struct Binding {
    pub device: DeviceId,
    pub connection: ConnectionId,
    /// The Contact's URI as the phone wrote it.
    pub uri: String,
    /// The Contact as it is listed in answers, without `expires`.
    pub contact: String,
    pub instance: Option<String>,
    pub reg_id: u32,
    pub call_id: String,
    pub cseq: u32,
    pub expires: Instant,
}

impl Binding {
    /// Whether a registration with these marks replaces this one (RFC 5626 section 6).
    fn is_same(&self, uri: &str, instance: Option<&str>, reg_id: u32) -> bool {
        match (&self.instance, instance) {
            (Some(mine), Some(theirs)) => mine == theirs && self.reg_id == reg_id,
            (None, None) => same_uri(&self.uri, uri),
            _ => false,
        }
    }
}

/// Whether two contact URIs are one (RFC 3261 section 19.1.4).
fn same_uri(one: &str, two: &str) -> bool {
    one == two
        || match (Uri::parse(one), Uri::parse(two)) {
            (Ok(one), Ok(two)) => one.is_equivalent(&two),
            _ => false,
        }
}

#[derive(Default)]
pub struct Location {
    bindings: HashMap<Extension, Vec<Binding>>,
    devices: HashMap<DeviceId, Extension>,
    /// By domain and contact URI; of several extensions that registered the same one, the last.
    contacts: HashMap<(String, String), Extension>,
    count: usize,
}

impl Location {
    pub fn len(&self) -> usize {
        self.count
    }

    /// All bindings of an extension, the newest last.
    pub fn of(&self, extension: &Extension) -> &[Binding] {
        self.bindings.get(extension).map_or(&[], Vec::as_slice)
    }

    /// One binding per device, the newest flow of each (RFC 5626 section 5.3: never two flows of one instance at once).
    pub fn devices_of(&self, extension: &Extension) -> Vec<&Binding> {
        let mut found: Vec<&Binding> = Vec::new();
        for binding in self.of(extension).iter().rev() {
            let known = binding.instance.is_some() && found.iter().any(|f| f.instance == binding.instance);
            if !known {
                found.push(binding);
            }
        }
        found
    }

    /// The binding that this registration would replace.
    pub fn same(&self, extension: &Extension, uri: &str, instance: Option<&str>, reg_id: u32) -> Option<&Binding> {
        self.of(extension).iter().find(|binding| binding.is_same(uri, instance, reg_id))
    }

    pub fn bind(&mut self, extension: &Extension, binding: Binding) {
        self.unbind(extension, &binding.uri, binding.instance.as_deref(), binding.reg_id);
        self.devices.insert(binding.device, extension.clone());
        self.contacts.insert((extension.domain.clone(), binding.uri.clone()), extension.clone());
        self.bindings.entry(extension.clone()).or_default().push(binding);
        self.count += 1;
    }

    pub fn unbind(&mut self, extension: &Extension, uri: &str, instance: Option<&str>, reg_id: u32) {
        self.remove_where(extension, |binding| binding.is_same(uri, instance, reg_id));
    }

    pub fn unbind_all(&mut self, extension: &Extension) {
        self.remove_where(extension, |_| true);
    }

    /// The connection is gone, and its bindings with it.
    pub fn unbind_connection(&mut self, extension: &Extension, connection: ConnectionId) {
        self.remove_where(extension, |binding| binding.connection == connection);
    }

    /// Forgets what has expired, and says when the next one does.
    pub fn expire(&mut self, extension: &Extension, now: Instant) -> Option<Instant> {
        self.remove_where(extension, |binding| binding.expires <= now);
        self.of(extension).iter().map(|binding| binding.expires).min()
    }

    fn remove_where(&mut self, extension: &Extension, gone: impl Fn(&Binding) -> bool) {
        let Some(bindings) = self.bindings.get_mut(extension) else { return };
        let removed: Vec<Binding> = bindings.extract_if(.., |binding| gone(binding)).collect();
        self.count -= removed.len();
        for Binding { device, uri, .. } in removed {
            if !bindings.iter().any(|binding| binding.device == device) {
                self.devices.remove(&device);
            }
            let contact = (extension.domain.clone(), uri);
            let is_left = bindings.iter().any(|binding| binding.uri == contact.1);
            if !is_left && self.contacts.get(&contact) == Some(extension) {
                self.contacts.remove(&contact);
            }
        }
        if bindings.is_empty() {
            self.bindings.remove(extension);
        }
    }

    /// Where a device of this domain is now.
    pub fn device(&self, domain: &str, device: DeviceId) -> Option<&Binding> {
        let extension = self.devices.get(&device).filter(|extension| extension.domain == domain)?;
        self.of(extension).iter().rev().find(|binding| binding.device == device)
    }

    /// A device of this domain by the contact URI it registered.
    pub fn contact(&self, domain: &str, uri: &str) -> Option<&Binding> {
        let extension = self.contacts.get(&(domain.to_owned(), uri.to_owned()))?;
        self.of(extension).iter().find(|binding| binding.uri == uri)
    }

    /// The newest binding that a connection has made.
    pub fn on_connection(&self, extension: &Extension, connection: ConnectionId) -> Option<&Binding> {
        self.of(extension).iter().rev().find(|binding| binding.connection == connection)
    }
}
