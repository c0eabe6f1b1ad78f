//! The transport that tenants inherit who set none of their own.

use axum::http::Method;

use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::Form;
use super::settings::transport;
use super::views::TransportDefaultsView;
use crate::tenancy::TransportChange;

const PATH: &str = "/api/admin/settings/transport-defaults";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            Method::GET,
            PATH,
            Audience::Admin,
            "The platform's SIP, WebSocket and ICE defaults, as set and as inherited",
            nothing,
            show,
        ),
        Endpoint::new(
            Method::PATCH,
            PATH,
            Audience::Admin,
            "Change the platform's transport defaults; tenants that inherit have them at once, null resets",
            defaults,
            change,
        )
        .refuses(&[Code::StoreUnavailable]),
    ]
}

fn defaults(form: &mut Form) -> Option<TransportChange> {
    Some(transport(form))
}

async fn show(request: ApiRequest, (): ()) -> Result<Success<TransportDefaultsView>, ApiError> {
    Ok(success(TransportDefaultsView::of(&request.state.platform.defaults())))
}

async fn change(request: ApiRequest, change: TransportChange) -> Result<Success<TransportDefaultsView>, ApiError> {
    request.state.platform.change_transport_defaults(&request.context, change).await?;
    Ok(success(TransportDefaultsView::of(&request.state.platform.defaults())))
}
