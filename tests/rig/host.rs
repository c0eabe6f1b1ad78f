//! The web site of a customer: another origin than Bitcall's, with a page that
//! embeds the phone.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub struct Host {
    port: u16,
    task: JoinHandle<()>,
}

impl Host {
    /// Serves `pages`, path and HTML (or JavaScript, by its extension).
    pub async fn start<P: Into<String>, B: Into<String>>(pages: impl IntoIterator<Item = (P, B)>) -> Self {
        Self::start_with(HeaderMap::new(), pages).await
    }

    /// The same with further headers on every answer.
    pub async fn start_with<P: Into<String>, B: Into<String>>(
        headers: HeaderMap,
        pages: impl IntoIterator<Item = (P, B)>,
    ) -> Self {
        let pages: HashMap<String, String> = pages.into_iter().map(|(path, body)| (path.into(), body.into())).collect();
        let pages = Arc::new(pages);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().fallback(move |uri: Uri| {
            let (pages, headers) = (Arc::clone(&pages), headers.clone());
            async move { (headers, answer(&pages, uri.path())).into_response() }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, task }
    }

    /// A host name of its own, so that the phone's frame is cross-site and not only cross-origin.
    pub fn origin(&self) -> String {
        self.at("shop.localhost")
    }

    /// The same pages at another name below `localhost`.
    pub fn at(&self, name: &str) -> String {
        format!("http://{name}:{}", self.port)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(pages: &HashMap<String, String>, path: &str) -> Response {
    let Some(body) = pages.get(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kind = if path.contains(".js") { "text/javascript; charset=utf-8" } else { "text/html; charset=utf-8" };
    ([(header::CONTENT_TYPE, kind)], body.clone()).into_response()
}
