//! A certificate authority that issues what a public one would: a leaf for a P-256 key of about a
//! thousand bytes, with one intermediate.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair};

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    intermediate: String,
}

pub struct Issued {
    pub name: String,
    /// The leaf.
    pub der: Vec<u8>,
    /// Leaf and intermediate, PEM.
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let root_key = KeyPair::generate().unwrap();
        let root = Issuer::new(authority("Bench Root"), root_key);
        let key = KeyPair::generate().unwrap();
        let params = authority("Bench Intermediate");
        let intermediate = params.signed_by(&key, &root).unwrap().pem();
        Self { issuer: Issuer::new(params, key), intermediate }
    }

    pub fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        // As large as what a public authority adds: two signed timestamps, policies, and addresses.
        let mut proofs = vec![0; 560];
        getrandom::fill(&mut proofs).unwrap();
        let proofs = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], proofs);
        params.custom_extensions.push(proofs);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            name: name.to_owned(),
            der: leaf.der().to_vec(),
            chain: leaf.pem() + &self.intermediate,
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    /// `<name>.crt` and `<name>.key`.
    pub fn write_into(&self, directory: &Path) {
        fs::write(directory.join(format!("{}.crt", self.name)), &self.chain).unwrap();
        fs::write(directory.join(format!("{}.key", self.name)), &self.key).unwrap();
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}
