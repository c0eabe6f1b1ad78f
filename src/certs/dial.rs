//! A look from outside: which certificate a client gets that asks for a name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ACME_TLS;

/// From the dial to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The certificate that whoever listens on `address` shows to a client that asks for `name`, and for
/// which it has the key. Whether anybody should trust it is not asked.
pub async fn shown(address: SocketAddr, name: &str) -> io::Result<CertificateDer<'static>> {
    leaf(address, name, b"http/1.1").await
}

/// The same as an authority dials for TLS-ALPN-01 (RFC 8737); whether it has the key is not asked either.
pub async fn validated(address: SocketAddr, name: &str) -> io::Result<CertificateDer<'static>> {
    leaf(address, name, ACME_TLS).await
}

async fn leaf(address: SocketAddr, name: &str, protocol: &[u8]) -> io::Result<CertificateDer<'static>> {
    let dialled = async {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate { provider, signed: protocol != ACME_TLS }))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        let stream = TcpStream::connect(address).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        leaf.ok_or_else(|| io::Error::other("no certificate"))
    };
    tokio::time::timeout(HANDSHAKE_TIMEOUT, dialled).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Takes every certificate.
#[derive(Debug)]
struct AcceptAnyCertificate {
    provider: Arc<CryptoProvider>,
    /// Only from whoever has its key. Not for challenges: webpki reads no certificate with a critical extension
    /// that it does not know, which theirs have.
    signed: bool,
}

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.signed {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if !self.signed {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
