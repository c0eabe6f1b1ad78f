//! The transport that tenants inherit who set none of their own.

use axum::http::Method;

use super::access::Audience;
use super::code::Code;
use super::endpoint::{Call, Done, Endpoint, done, nothing};
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

async fn show(call: Call, (): ()) -> Result<Done<TransportDefaultsView>, ApiError> {
    Ok(done(TransportDefaultsView::of(&call.state.platform.defaults())))
}

async fn change(call: Call, change: TransportChange) -> Result<Done<TransportDefaultsView>, ApiError> {
    call.state.platform.change_transport_defaults(&call.act, change).await?;
    Ok(done(TransportDefaultsView::of(&call.state.platform.defaults())))
}
