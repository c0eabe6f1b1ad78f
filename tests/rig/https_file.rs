//! A file behind HTTPS that pages of every origin may read (CORS). The certificate is self-signed.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub struct HttpsFile {
    pub url: String,
    task: JoinHandle<()>,
}

impl HttpsFile {
    pub async fn serve(body: Vec<u8>) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/file", listener.local_addr().unwrap());
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(body);
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Ok(mut stream) = tls.accept(stream).await else { return };
                    // A GET fits into one record.
                    let mut request = [0; 8_192];
                    if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                        stream.write_all(&answer).await.ok();
                        stream.shutdown().await.ok();
                    }
                });
            }
        });
        Self { url, task }
    }
}

impl Drop for HttpsFile {
    fn drop(&mut self) {
        self.task.abort();
    }
}
