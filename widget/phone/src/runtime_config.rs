//! The tenant's runtime configuration, which the phone asks the server for by the API key in its own address and
//! the origin of the page that frames it.

use bitcall_wire::config::RuntimeConfig;
use bitcall_wire::host_protocol::PhoneError;
use bitcall_wire::host_protocol::definition::code;
use js_sys::{Function, Promise, Reflect};
use serde::Deserialize;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::UrlSearchParams;

use crate::browser::window;
use crate::value;

/// Window property with the function of start.js that sends the request, or has sent it already.
const REQUEST_PROPERTY: &str = "bitcallRequestConfig";

/// The server's answer in its envelope, with the header of the session.
#[derive(Deserialize)]
struct Answer {
    data: Option<RuntimeConfig>,
    error: Option<PhoneError>,
    session: Option<String>,
}

/// What the server gives a phone to start with.
pub struct PhoneStart {
    pub config: RuntimeConfig,
    /// By which the server knows this page when it reports calls.
    pub page_session: String,
}

/// The configuration, if pages of `page_origin` may embed the phone. The server's answer is asked for once, and again
/// where it must be fresh.
pub async fn request(page_origin: &str, is_fresh: bool) -> Result<PhoneStart, PhoneError> {
    let unreachable = || PhoneError {
        code: code::SERVER_UNREACHABLE.to_owned(),
        message: "The phone's server did not answer. Check the connection and try again.".to_owned(),
    };
    let answer = answer(page_origin, is_fresh).await.and_then(|answer| value::from_js::<Answer>(&answer).ok());
    match answer.ok_or_else(unreachable)? {
        Answer { data: Some(config), session, .. } => {
            Ok(PhoneStart { config, page_session: session.unwrap_or_default() })
        }
        Answer { error, .. } => Err(error.unwrap_or_else(unreachable)),
    }
}

async fn answer(page_origin: &str, is_fresh: bool) -> Option<JsValue> {
    let request = Reflect::get(window()?.as_ref(), &REQUEST_PROPERTY.into()).ok()?.dyn_into::<Function>().ok()?;
    let answer =
        request.call2(&JsValue::UNDEFINED, &page_origin.into(), &is_fresh.into()).ok()?.dyn_into::<Promise>().ok()?;
    JsFuture::from(answer).await.ok()
}

/// The tenant's API key, which is in the phone's address.
pub fn api_key() -> String {
    let query = window().and_then(|window| window.location().search().ok()).unwrap_or_default();
    UrlSearchParams::new_with_str(&query).ok().and_then(|query| query.get("key")).unwrap_or_default()
}
