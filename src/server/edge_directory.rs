//! The edge's view of the domain model, answered from memory.

use crate::edge;
use crate::tenancy::Platform;

pub struct EdgeDirectory(pub Platform);

impl edge::ExtensionDirectory for EdgeDirectory {
    fn serves(&self, domain: &str) -> bool {
        self.0.serves(domain)
    }

    fn credentials(&self, domain: &str, username: &str) -> Option<edge::StoredCredentials> {
        let found = self.0.credentials(domain, username)?;
        Some(edge::StoredCredentials { ha1_md5: found.ha1_md5, ha1_sha256: found.ha1_sha256 })
    }
}
