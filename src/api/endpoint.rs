//! One route of the API, declared once: method and path, whom it is for, what
//! it reads, what it answers, how it may refuse. The router, the API's document
//! and the test of every route against every credential are made from it.
//!
//! A request's way through an endpoint: the credential → the body → whether it was answered before → the form → the
//! handler → the envelope. The body of a caller without the credential is not read.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::http::header::{ETAG, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::ApiState;
use super::access::Audience;
use super::answer::{self, RequestId};
use super::body::RequestFields;
use super::code::Code;
use super::concerned_tenant::ConcernedTenant;
use super::error::ApiError;
use super::etag::{self, SupportsEtag};
use super::form::{Description, Form, TextSchema as _};
use super::idempotency::{self, AcceptsIdempotencyKey};
use super::limits::client_network;
use super::runtime_caller::{self, Readers, RuntimeCaller, RuntimeError};
use crate::store::Revision;
use crate::tenancy::{Actor, KeyPurpose, KeyState, RequestContext, TenantId};

pub struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    pub audience: Audience,
    /// What an API key must be good for, where the route asks for one.
    pub key_purpose: Option<KeyPurpose>,
    /// One line, for the API's document.
    pub summary: &'static str,
    /// Whether the request names one tenant by `tenantId`.
    pub concerns_one_tenant: bool,
    pub input: Description,
    /// The schema of the envelope's `data`.
    pub output: fn(&mut SchemaGenerator) -> Schema,
    /// Beyond those that every endpoint of the audience has.
    pub refusals: Vec<Code>,
    /// See [`Self::creates`].
    pub creates: bool,
    /// See [`Self::versioned`].
    pub versioned: bool,
    pub service: MethodRouter<Arc<ApiState>>,
}

impl Endpoint {
    /// An endpoint whose request reads as `form`.
    pub fn new<I, O, F>(
        method: Method,
        path: &'static str,
        audience: Audience,
        summary: &'static str,
        form: fn(&mut Form) -> Option<I>,
        handler: F,
    ) -> Self
    where
        I: Send + 'static,
        O: Serialize + JsonSchema + 'static,
        F: AsyncHandler<I, O>,
    {
        let service = on(filter(&method), move |State(state): State<Arc<ApiState>>, request: Request| {
            let handler = handler.clone();
            async move {
                let (api_request, input) = ApiRequest::receive(state, audience, request).await?;
                api_request.answer(input, |input| input.read(form), &handler).await
            }
        });
        Self::with_service::<I, O>(method, path, audience, summary, form, service)
    }

    /// An endpoint for one tenant: the request also has `tenantId`, and the handler gets it first.
    pub fn of_tenant<I, O, F>(
        method: Method,
        path: &'static str,
        summary: &'static str,
        form: fn(&mut Form) -> Option<I>,
        handler: F,
    ) -> Self
    where
        I: Send + 'static,
        O: Serialize + JsonSchema + 'static,
        F: AsyncHandler<(TenantId, I), O>,
    {
        let audience = Audience::Panel;
        let service = on(filter(&method), move |State(state): State<Arc<ApiState>>, request: Request| {
            let handler = handler.clone();
            async move {
                let (api_request, input) = ApiRequest::receive(state, audience, request).await?;
                let concerned = api_request.concerned.clone();
                let read = |input: RequestFields| {
                    let (tenant, rest) = input.read_for_tenant(form)?;
                    if let Some(concerned) = concerned {
                        concerned.set(&tenant);
                    }
                    Ok((tenant, rest))
                };
                api_request.answer(input, read, &handler).await
            }
        });
        let mut input = Description::default();
        input.add("tenantId", TenantId::schema(), true);
        input.append(Description::of(form));
        let endpoint = Self::with_service::<I, O>(method, path, audience, summary, form, service);
        Self { concerns_one_tenant: true, input, ..endpoint }
    }

    /// An endpoint for the holder of a tenant's API key for `purpose`: in `X-Bitcall-Key`, or as `key` in the
    /// query or body, for pages that can set no header. The handler gets the key's tenant first.
    pub fn of_key<I, O, F>(
        purpose: KeyPurpose,
        method: Method,
        path: &'static str,
        summary: &'static str,
        form: fn(&mut Form) -> Option<I>,
        handler: F,
    ) -> Self
    where
        I: Send + 'static,
        O: Serialize + JsonSchema + 'static,
        F: AsyncHandler<(Arc<KeyState>, I), O>,
    {
        let service = on(filter(&method), move |State(state): State<Arc<ApiState>>, request: Request| {
            let handler = handler.clone();
            async move {
                let (parts, body) = request.into_parts();
                let mut caller = RuntimeCaller::of(&parts);
                let key = runtime_caller::key_of(&parts).map(Cow::into_owned);
                let request = Request::from_parts(parts, body);
                let (mut api_request, mut input) = match ApiRequest::receive(state, Audience::Runtime, request).await {
                    Ok(received) => received,
                    Err(error) => {
                        // As long as no key is known, there is no tenant to protect.
                        let readers = Readers::Any;
                        return caller.respond(Err(RuntimeError { error, readers }));
                    }
                };
                let key = input.take_key().or(key);
                let found = match caller.admit(&api_request.state, key.as_deref(), purpose) {
                    Ok(found) => found,
                    Err(refusal) => return caller.respond(Err(refusal)),
                };
                api_request.context.actor = Actor::ApiKey { id: found.id.clone() };
                // Each key has its own: what a page sends must not be in the way of a back end.
                api_request.idempotency_scope = format!("tenant {} {}", found.state.tenant.id, found.id.0);
                let answer = api_request.answer(input, |input| Ok((found, input.read(form)?)), &handler).await;
                let readers = Readers::Caller;
                caller.respond(answer.map_err(|error| RuntimeError { error, readers }))
            }
        })
        .options(runtime_caller::preflight);
        let endpoint = Self::with_service::<I, O>(method, path, Audience::Runtime, summary, form, service);
        Self { key_purpose: Some(purpose), ..endpoint }
    }

    /// An endpoint whose `service` reads the request and writes the answer by itself; `form` and `O` are what the API's
    /// document says of them. It has no refusals beyond its audience's, creates nothing and knows no versions.
    pub fn with_service<I, O: JsonSchema>(
        method: Method,
        path: &'static str,
        audience: Audience,
        summary: &'static str,
        form: fn(&mut Form) -> Option<I>,
        service: MethodRouter<Arc<ApiState>>,
    ) -> Self {
        Self {
            method,
            path,
            audience,
            key_purpose: None,
            summary,
            concerns_one_tenant: false,
            input: Description::of(form),
            output: SchemaGenerator::subschema_for::<O>,
            refusals: Vec::new(),
            creates: false,
            versioned: false,
            service,
        }
    }

    pub fn refuses(mut self, codes: &[Code]) -> Self {
        self.refusals.extend_from_slice(codes);
        self
    }

    /// The endpoint creates something: a repeated request with the same `Idempotency-Key` gets the same answer. The
    /// handler's verb must let its act be [`answered_by`](RequestContext::answered_by) what it answers.
    pub fn creates(mut self) -> Self {
        self.creates = true;
        self.service = self.service.layer(Extension(AcceptsIdempotencyKey));
        self
    }

    /// A read that answers the [`version`](Done::version) of a record and knows `If-None-Match`, or
    /// a change that honours `If-Match`: its verb asks whether the act [`expects`](RequestContext::expects)
    /// the record's revision.
    pub fn versioned(mut self) -> Self {
        self.versioned = true;
        self.service = self.service.layer(Extension(SupportsEtag));
        self
    }

    pub fn has_body(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// All error codes of the endpoint: those of its audience, and its own.
    pub fn all_refusals(&self) -> Vec<Code> {
        let mut all = vec![Code::ValidationError, Code::RequestTimeout, Code::RateLimited];
        match self.audience {
            Audience::Panel => all.push(Code::PanelUnauthorized),
            Audience::Admin => all.push(Code::AdminUnauthorized),
            Audience::Runtime => all.extend([
                Code::WebphoneMissingKey,
                Code::WebphoneInvalidKey,
                Code::WebphoneOriginForbidden,
                Code::WebphoneTenantDisabled,
                Code::ApiKeyPurpose,
            ]),
            Audience::Anyone => {}
        }
        if self.concerns_one_tenant {
            all.extend([Code::MissingTenantId, Code::TenantNotFound]);
        }
        all.extend([Code::PayloadTooLarge, Code::UnsupportedMediaType]);
        if self.creates {
            all.extend([Code::IdempotencyInProgress, Code::IdempotencyKeyReused, Code::StoreUnavailable]);
        }
        if self.versioned && self.has_body() {
            all.push(Code::PreconditionFailed);
        }
        all.extend(&self.refusals);
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET)
}

/// What a handler is: `async fn(ApiRequest, I) -> Result<Success<O>, ApiError>`.
pub trait AsyncHandler<I, O>: Clone + Send + Sync + 'static {
    fn handle(&self, request: ApiRequest, input: I) -> impl Future<Output = Result<Success<O>, ApiError>> + Send;
}

impl<I, O, F, Outcome> AsyncHandler<I, O> for F
where
    F: Fn(ApiRequest, I) -> Outcome + Clone + Send + Sync + 'static,
    Outcome: Future<Output = Result<Success<O>, ApiError>> + Send,
{
    fn handle(&self, request: ApiRequest, input: I) -> impl Future<Output = Result<Success<O>, ApiError>> + Send {
        self(request, input)
    }
}

/// A request whose credential was accepted.
pub struct ApiRequest {
    pub state: Arc<ApiState>,
    /// The actor, and the request's id and time.
    pub context: RequestContext,
    pub headers: HeaderMap,
    /// The address that the request was sent to: `host[:port]`.
    pub authority: String,
    path: Vec<(String, String)>,
    /// Method and path of a request that creates something, for which an `Idempotency-Key` is honoured.
    creates: Option<String>,
    /// Idempotency keys are unique within a scope: an audience or an API key.
    idempotency_scope: String,
    /// Whether `ETag`, `If-Match` and `If-None-Match` are supported.
    versioned: bool,
    concerned: Option<ConcernedTenant>,
}

impl ApiRequest {
    async fn receive(
        state: Arc<ApiState>,
        audience: Audience,
        request: Request,
    ) -> Result<(Self, RequestFields), ApiError> {
        let (mut parts, body) = request.into_parts();
        let source = client_network(&parts);
        if matches!(audience, Audience::Panel | Audience::Admin) {
            state.limits.check_failures(source)?;
        }
        let actor = match state.access.check(audience, &parts) {
            Ok(actor) => actor,
            Err(refusal) if !audience.has_credential(&parts) => return Err(refusal),
            Err(refusal) => return Err(state.limits.count_failure(source).map_or_else(ApiError::from, |()| refusal)),
        };
        let path = path_of(&mut parts).await;
        let concerned = ConcernedTenant::of(&parts);
        let request_id = RequestId::of(&parts);
        let mut context = RequestContext::of(actor, request_id);
        context.source = source;
        let headers = parts.headers.clone();
        let creates =
            parts.extensions.get::<AcceptsIdempotencyKey>().map(|_| format!("{} {}", parts.method, parts.uri.path()));
        let versioned = parts.extensions.get::<SupportsEtag>().is_some();
        if versioned && !parts.method.is_safe() {
            context.expected = etag::expected_revisions(&headers);
        }
        let authority = runtime_caller::authority(&parts.uri, &parts.headers).unwrap_or_default().to_owned();
        let idempotency_scope = format!("{audience:?}");
        let input = RequestFields::receive(Request::from_parts(parts, body)).await?;
        let request =
            Self { state, context, headers, authority, path, creates, idempotency_scope, versioned, concerned };
        Ok((request, input))
    }

    /// Reads the form, runs the handler and builds the response.
    async fn answer<I, O: Serialize>(
        mut self,
        input: RequestFields,
        read: impl FnOnce(RequestFields) -> Result<I, ApiError>,
        handler: &impl AsyncHandler<I, O>,
    ) -> Result<Response, ApiError> {
        let Self { state, context, headers, creates, idempotency_scope, .. } = &mut self;
        if let Some(route) = creates {
            let request = format!("{route}\n{}", input.canonical_text());
            let again = idempotency::find_previous_answer(
                &state.platform,
                context,
                headers,
                idempotency_scope,
                request.as_bytes(),
            )
            .await?;
            if let Some(answer) = again {
                return Ok(answer);
            }
        }
        let input = read(input)?;
        let known = if self.versioned { self.headers.clone() } else { HeaderMap::new() };
        let state = Arc::clone(&self.state);
        let answer = handler.handle(self, input).await.map_err(|error| error.with_plans(&state.platform))?;
        answer.into_response(&known)
    }

    /// The part of the path that the route calls `name`.
    pub fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

async fn path_of(parts: &mut Parts) -> Vec<(String, String)> {
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(found) => found.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        // Not UTF-8 after percent-decoding: no record has such a name.
        Err(_) => Vec::new(),
    }
}

/// A handler's success.
pub struct Success<T> {
    data: T,
    revision: Option<Revision>,
}

pub fn success<T>(data: T) -> Success<T> {
    Success { data, revision: None }
}

impl<T> Success<T> {
    /// The answer shows a record in this revision.
    pub fn version(mut self, revision: Revision) -> Self {
        self.revision = Some(revision);
        self
    }
}

impl<T: Serialize> Success<T> {
    /// `known`: the request's headers, for `If-None-Match`.
    fn into_response(self, known: &HeaderMap) -> Result<Response, ApiError> {
        let body = answer::envelope(self.data)?;
        let tag = self.revision.map(|revision| etag::tag(revision, &body));
        let is_known = tag.as_deref().is_some_and(|tag| etag::matches_if_none_match(known, tag));
        let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { answer::json(body) };
        if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
            response.headers_mut().insert(ETAG, tag);
        }
        Ok(response)
    }
}

/// The form of a request without fields.
pub fn nothing(_: &mut Form) -> Option<()> {
    Some(())
}
