//! The error codes: each with its status and its meaning, as the API's document lists them.

use axum::http::StatusCode;

macro_rules! codes {
    ($($name:ident $status:literal $text:literal $meaning:literal)*) => {
        /// Part of the contract: a code never changes its status or meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub fn status(self) -> StatusCode {
                let status = match self { $(Self::$name => $status,)* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// One line for the reader of the API's document.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

codes! {
    // The request itself.
    ValidationError 400 "VALIDATION_ERROR" "A field is unknown, missing or has a value that is not allowed; `fields` names each. Nothing was changed."
    MissingTenantId 400 "MISSING_TENANT_ID" "The route concerns one tenant and `tenantId` is missing."
    BadRequest 400 "BAD_REQUEST" "The request is not in order as HTTP, e.g. it has two `Host` headers."
    NotFound 404 "NOT_FOUND" "There is no such route."
    DemoNameUnknown 421 "DEMO_NAME_UNKNOWN" "`bitcall demo` is asked at a name that is neither a local one nor that of its `--public-url`."
    MethodNotAllowed 405 "METHOD_NOT_ALLOWED" "The route exists, but not with this method; `Allow` names those it has."
    RequestTimeout 408 "REQUEST_TIMEOUT" "The request did not arrive, or was not answered, in time."
    PreconditionFailed 412 "PRECONDITION_FAILED" "The record is no longer in a version that `If-Match` names; read it again. Nothing was changed."
    PayloadTooLarge 413 "PAYLOAD_TOO_LARGE" "The body is larger than any that could be accepted."
    UnsupportedMediaType 415 "UNSUPPORTED_MEDIA_TYPE" "The body is not declared as `application/json`."
    IdempotencyInProgress 409 "IDEMPOTENCY_IN_PROGRESS" "The request with this `Idempotency-Key` is still being done; ask again in a moment."
    IdempotencyKeyReused 422 "IDEMPOTENCY_KEY_REUSED" "This `Idempotency-Key` was used for another request. Nothing was changed."
    RateLimited 429 "RATE_LIMITED" "Too many requests, or wrong credentials, of one address, API key, tenant or origin; `Retry-After` says when to come again."
    UpgradeRequired 426 "UPGRADE_REQUIRED" "Here SIP is spoken over WebSocket."
    BadWebsocketHandshake 400 "BAD_WEBSOCKET_HANDSHAKE" "The opening handshake of a WebSocket is not in order."
    // Who is asking.
    PanelUnauthorized 401 "PANEL_UNAUTHORIZED" "`X-Bitcall-Panel-Key` is missing or wrong."
    AdminUnauthorized 401 "ADMIN_UNAUTHORIZED" "`Authorization: Bearer` is missing or wrong."
    WebphoneMissingKey 401 "WEBPHONE_MISSING_KEY" "The tenant's API key is missing."
    WebphoneInvalidKey 401 "WEBPHONE_INVALID_KEY" "The API key is unknown or was revoked."
    WebphoneOriginForbidden 403 "WEBPHONE_ORIGIN_FORBIDDEN" "The tenant does not allow pages of this origin."
    WebphoneTenantDisabled 403 "WEBPHONE_TENANT_DISABLED" "The tenant is disabled."
    ApiKeyPurpose 403 "API_KEY_PURPOSE" "The API key is limited to pages or to back ends, and this is for the other; the message names the command that makes a fitting key."
    AppTenantNotFound 404 "APP_TENANT_NOT_FOUND" "Neither the host name nor `tenant` leads to a tenant, or they contradict each other."
    AppTenantDisabled 403 "APP_TENANT_DISABLED" "The tenant of the app is disabled."
    AppNotInstallable 404 "APP_NOT_INSTALLABLE" "The tenant's app cannot be installed."
    // The rules.
    TenantNotFound 404 "TENANT_NOT_FOUND" "There is no such tenant."
    TenantExists 409 "TENANT_EXISTS" "The tenant exists already; nothing was changed."
    TenantIdTaken 409 "TENANT_ID_TAKEN" "A tenant exists whose id differs in `-` and `_` only."
    ApiKeyNotFound 404 "API_KEY_NOT_FOUND" "The tenant has no such API key."
    ApiKeyLimitReached 409 "API_KEY_LIMIT_REACHED" "The tenant's plan allows no further API key, or too many are being replaced."
    ApiKeyRetiring 409 "API_KEY_RETIRING" "The API key has been replaced already and retires."
    LastApiKey 409 "LAST_API_KEY" "The last API key cannot be revoked."
    PlanNotFound 404 "PLAN_NOT_FOUND" "The catalogue has no such plan."
    PlanInUse 409 "PLAN_IN_USE" "Tenants have the plan; nothing was changed."
    PlanRetired 409 "PLAN_RETIRED" "The plan is no longer given to tenants."
    DefaultPlan 409 "DEFAULT_PLAN" "There is always one default plan; it is neither removed nor retired."
    ExtensionNotFound 404 "EXTENSION_NOT_FOUND" "The tenant has no such extension."
    ExtensionExists 409 "EXTENSION_EXISTS" "The extension exists already, with another password."
    NotEntitled 403 "NOT_ENTITLED" "The tenant's plan does not include what was to be changed."
    FeatureDisabled 403 "FEATURE_DISABLED" "The tenant does not have the feature switched on."
    TokenInvalid 410 "TOKEN_INVALID" "The token is unknown, was used, or has expired: nobody learns which."
    TooManyClients 429 "TOO_MANY_CLIENTS" "So many phones of one agent, page or network report calls that there is no room for a further one."
    PhoneSessionInvalid 403 "PHONE_SESSION_INVALID" "The session is not this server's, is over, or is a page's where phones sign in on the built-in edge."
    SubdomainNotAllowed 403 "SUBDOMAIN_NOT_ALLOWED" "The tenant's plan includes no subdomain, or this server has no base domain."
    SubdomainReserved 409 "SUBDOMAIN_RESERVED" "The subdomain is kept for the operator."
    SubdomainInUse 409 "SUBDOMAIN_IN_USE" "Another tenant has this subdomain."
    CustomDomainNotAllowed 403 "CUSTOM_DOMAIN_NOT_ALLOWED" "The tenant's plan includes no domain of its own."
    CustomDomainInUse 409 "CUSTOM_DOMAIN_IN_USE" "Another tenant claims this domain."
    DomainNotFound 404 "DOMAIN_NOT_FOUND" "The tenant claims no domain, or nobody claims this one."
    RecheckTooSoon 429 "RECHECK_TOO_SOON" "The domain was checked just now; `recheckAvailableAt` and `Retry-After` say when it can be again."
    CertificateNotFound 404 "CERTIFICATE_NOT_FOUND" "There is no certificate under this name."
    CertificatesNotAutomatic 409 "CERTIFICATES_NOT_AUTOMATIC" "This server gets no certificates by itself, or the one that does is not running."
    StoreKeyMissing 409 "STORE_KEY_MISSING" "The server has no store key to seal a private key with; nothing was changed."
    // Ourselves.
    InternalError 500 "INTERNAL_ERROR" "A fault of the server's; its log has it under the request's id."
    StoreUnavailable 503 "STORE_UNAVAILABLE" "The change could not be stored; the same request may work later."
}
