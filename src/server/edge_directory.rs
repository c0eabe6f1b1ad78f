//! The edge's view of the domain model, answered from memory.

use crate::edge;
use crate::tenancy::Platform;
use crate::timestamp::Timestamp;

pub struct EdgeDirectory(pub Platform);

impl edge::ExtensionDirectory for EdgeDirectory {
    fn serves(&self, domain: &str) -> bool {
        self.0.serves(domain)
    }

    fn credentials(&self, domain: &str, username: &str) -> Option<edge::StoredCredentials> {
        let found = self.0.credentials(domain, username)?;
        Some(edge::StoredCredentials { ha1_md5: found.ha1_md5, ha1_sha256: found.ha1_sha256 })
    }

    fn phone_session(&self, domain: &str, username: &str) -> Option<String> {
        self.0.extension_session(domain, username, Timestamp::now())
    }
}
