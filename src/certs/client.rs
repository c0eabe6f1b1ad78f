//! The ACME client, by instant-acme, which only this module and [`http_client`](super::http_client) know. Each function
//! is one operation of RFC 8555, with errors as [`AcmeError`].

use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus as TheirAuthorizationStatus, CertificateIdentifier,
    ChallengeStatus, ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderState,
    OrderStatus as TheirOrderStatus,
};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::acme_error::{AcmeError, Kind};
use super::http_client::{AcmeErrorSource, AcmeHttpClient, LAST_RETRY_AFTER, of_problem};
use super::order::{
    AuthorizationStatus, AuthorizationView, ChosenChallenge, Method, OrderStatus, OrderView, RenewalWindow,
};
use crate::timestamp::Timestamp;

/// Times the three attempts of instant-acme.
const MAX_NONCE_ATTEMPTS: u32 = 5;

/// Repeats a request that failed for a stale nonce (RFC 8555 section 6.5). instant-acme does so, too, but not often
/// enough for a server that loses all nonces at once. Gives the result with the answer's Retry-After.
macro_rules! with_fresh_nonce {
    ($attempt:expr) => {{
        let mut left = MAX_NONCE_ATTEMPTS;
        loop {
            let (outcome, wait) = with_retry_after(async { $attempt }).await;
            match outcome {
                Ok(done) => break Ok((done, wait)),
                Err(error) if left > 0 && is_nonce(&error) => left -= 1,
                Err(error) => break Err(acme_error(error)),
            }
        }
    }};
}

/// An open account with one authority.
pub struct AccountSession {
    account: Account,
}

/// The external account binding (RFC 8555 section 7.3.4): the key that an authority has given the administrator.
#[derive(Clone)]
pub struct ExternalAccountBinding {
    pub key_id: String,
    pub key: Vec<u8>,
}

/// A challenge, and the response that the authority has to find.
pub struct ChallengeResponse {
    pub method: Method,
    /// The identifier; for a wildcard without its `*.`.
    pub name: String,
    pub token: String,
    /// For HTTP-01.
    pub key_authorization: String,
    /// For TLS-ALPN-01.
    pub digest: Vec<u8>,
    /// For DNS-01.
    pub dns_value: String,
}

impl AccountSession {
    /// Registers a new account. Whoever configured the directory has agreed to its terms of service. The returned
    /// credentials open the account again.
    pub async fn register(
        http_client: &AcmeHttpClient,
        directory: &str,
        contact: Option<&str>,
        binding: Option<&ExternalAccountBinding>,
    ) -> Result<(Self, Vec<u8>), AcmeError> {
        let contact = contact.map(|address| format!("mailto:{address}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let binding = binding.map(|binding| ExternalAccountKey::new(binding.key_id.clone(), &binding.key));
        let account = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let builder = || Account::builder_with_http(Box::new(http_client.clone()));
        let made = with_fresh_nonce!(builder().create(&account, directory.to_owned(), binding.as_ref()).await);
        let ((account, credentials), _) = made?;
        let text = serde_json::to_vec(&credentials).map_err(|error| internal(&error))?;
        Ok((Self { account }, text))
    }

    /// Opens an account by the credentials from its registration.
    pub async fn open(http_client: &AcmeHttpClient, text: &[u8]) -> Result<Self, AcmeError> {
        let credentials: AccountCredentials = serde_json::from_slice(text).map_err(|error| internal(&error))?;
        let builder = Account::builder_with_http(Box::new(http_client.clone()));
        let account = builder.from_credentials(credentials).await.map_err(acme_error)?;
        Ok(Self { account })
    }

    /// Places an order (RFC 8555 section 7.4), with the profile if the authority offers it.
    pub async fn place(
        &self,
        names: &[String],
        profile: Option<&str>,
        replaces: Option<&str>,
    ) -> Result<(Order, OrderView), AcmeError> {
        let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
        let replaces = replaces.and_then(|id| id.split_once('.'));
        let placed = with_fresh_nonce!({
            let mut order = NewOrder::new(&identifiers);
            if let Some((authority, serial)) = replaces {
                let (authority_key_identifier, serial) = (Cow::Borrowed(authority), Cow::Borrowed(serial));
                order = order.replaces(CertificateIdentifier { authority_key_identifier, serial });
            }
            if let Some(profile) =
                profile.filter(|profile| self.account.profiles().any(|offered| offered.name == *profile))
            {
                order = order.profile(profile);
            }
            self.account.new_order(&order).await
        });
        placed.map(with_view)
    }

    /// Reads an order that was placed before.
    pub async fn order(&self, url: &str) -> Result<(Order, OrderView), AcmeError> {
        with_fresh_nonce!(self.account.order(url.to_owned()).await).map(with_view)
    }

    /// The renewal window that the authority suggests (RFC 9773).
    pub async fn renewal_info(&self, id: &str) -> Result<RenewalWindow, AcmeError> {
        let unfit =
            || AcmeError::new(Kind::Internal, "The certificate has no name that its authority could know it by.");
        let (authority, serial) = id.split_once('.').ok_or_else(unfit)?;
        let id = CertificateIdentifier { authority_key_identifier: authority.into(), serial: serial.into() };
        let (info, retry_after) = self.account.renewal_info(&id).await.map_err(acme_error)?;
        let moment = |at: time::OffsetDateTime| Timestamp(at.unix_timestamp().saturating_mul(1000));
        let window = info.suggested_window;
        Ok(RenewalWindow { start: moment(window.start), end: moment(window.end), retry_after: Some(retry_after) })
    }
}

/// Reads the order again.
pub async fn refresh(order: &mut Order) -> Result<OrderView, AcmeError> {
    let ((), wait) = with_fresh_nonce!(order.refresh().await.map(|_| ()))?;
    Ok(view(order, wait))
}

/// Reads the order's authorizations.
pub async fn authorizations(order: &mut Order) -> Result<Vec<AuthorizationView>, AcmeError> {
    let (views, _) = with_fresh_nonce!(read_authorizations(order).await)?;
    Ok(views)
}

async fn read_authorizations(order: &mut Order) -> Result<Vec<AuthorizationView>, Error> {
    let mut views = Vec::new();
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let one = one?;
        let usable = one.challenges.iter().filter(|challenge| challenge.status != ChallengeStatus::Invalid);
        let challenges = usable
            .filter_map(|challenge| Some((method(&challenge.r#type)?, challenge.status == ChallengeStatus::Pending)));
        let error = one.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        views.push(AuthorizationView {
            name: one.identifier().to_string(),
            status: match one.status {
                TheirAuthorizationStatus::Pending => AuthorizationStatus::Pending,
                TheirAuthorizationStatus::Valid => AuthorizationStatus::Valid,
                TheirAuthorizationStatus::Invalid => AuthorizationStatus::Invalid,
                _ => AuthorizationStatus::Unusable,
            },
            challenges: challenges.collect(),
            error: error.map(|error| of_problem(error, None)),
        });
    }
    Ok(views)
}

/// The responses to these challenges.
pub async fn challenge_responses(
    order: &mut Order,
    chosen: &[ChosenChallenge],
) -> Result<Vec<ChallengeResponse>, AcmeError> {
    let (views, _) = with_fresh_nonce!(read_challenge_responses(order, chosen).await)?;
    Ok(views)
}

async fn read_challenge_responses(
    order: &mut Order,
    chosen: &[ChosenChallenge],
) -> Result<Vec<ChallengeResponse>, Error> {
    let mut responses = Vec::new();
    let (mut all, mut index) = (order.authorizations(), 0..);
    while let (Some(one), Some(index)) = (all.next().await, index.next()) {
        let mut one = one?;
        let Some(choice) = chosen.iter().find(|challenge| challenge.authorization == index) else { continue };
        let name = match one.identifier().identifier {
            Identifier::Dns(name) => name.clone(),
            other => other.authorized(false).to_string(),
        };
        let Some(challenge) = one.challenge(their_type(choice.method)) else { continue };
        let authorization = challenge.key_authorization();
        responses.push(ChallengeResponse {
            method: choice.method,
            name,
            token: challenge.token.clone(),
            key_authorization: authorization.as_str().to_owned(),
            digest: authorization.digest().as_ref().to_vec(),
            dns_value: authorization.dns_value(),
        });
    }
    Ok(responses)
}

/// Tells the authority to validate the challenges (RFC 8555 section 7.5.1). To be called once all responses are
/// published: it may validate them at once, in any order, and from several places.
pub async fn respond(order: &mut Order, chosen: &[ChosenChallenge]) -> Result<(), AcmeError> {
    let mut responded = Vec::new();
    let ((), _) = with_fresh_nonce!(respond_all(order, chosen, &mut responded).await)?;
    Ok(())
}

/// `responded`: indices of the authorizations that are done. They are not repeated: most authorities refuse that.
async fn respond_all(order: &mut Order, chosen: &[ChosenChallenge], responded: &mut Vec<usize>) -> Result<(), Error> {
    let (mut all, mut index) = (order.authorizations(), 0..);
    while let (Some(one), Some(index)) = (all.next().await, index.next()) {
        let mut one = one?;
        let Some(choice) = chosen.iter().find(|challenge| challenge.authorization == index && challenge.pending) else {
            continue;
        };
        if responded.contains(&index) {
            continue;
        }
        if let Some(mut challenge) = one.challenge(their_type(choice.method)) {
            challenge.set_ready().await?;
            responded.push(index);
        }
    }
    Ok(())
}

/// Finalizes the order with a certificate signing request (RFC 2986, DER).
pub async fn finalize(order: &mut Order, request: &[u8]) -> Result<OrderView, AcmeError> {
    let ((), wait) = with_fresh_nonce!(order.finalize_csr(request).await)?;
    Ok(view(order, wait))
}

/// The chain of a valid order, in PEM.
pub async fn download(order: &mut Order) -> Result<String, AcmeError> {
    let (chain, _) = with_fresh_nonce!(order.certificate().await)?;
    chain.ok_or_else(|| AcmeError::new(Kind::Missing, "The certificate is not made yet."))
}

/// The unique identifier of a certificate (RFC 9773 section 4.1); none without an authority key identifier.
pub fn renewal_id(leaf: &CertificateDer<'_>) -> Option<String> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let authority = leaf.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(identifier) => {
            identifier.key_identifier.as_ref().map(|key| key.0.to_vec())
        }
        _ => None,
    })?;
    let serial = URL_SAFE_NO_PAD.encode(leaf.tbs_certificate.raw_serial());
    Some(format!("{}.{serial}", URL_SAFE_NO_PAD.encode(authority)))
}

/// With the Retry-After of the last answer.
async fn with_retry_after<T>(request: impl Future<Output = T>) -> (T, Option<Duration>) {
    LAST_RETRY_AFTER
        .scope(Cell::new(None), async {
            let outcome = request.await;
            (outcome, LAST_RETRY_AFTER.with(Cell::take))
        })
        .await
}

fn with_view((mut order, wait): (Order, Option<Duration>)) -> (Order, OrderView) {
    let view = view(&mut order, wait);
    (order, view)
}

fn view(order: &mut Order, retry_after: Option<Duration>) -> OrderView {
    let url = order.url().to_owned();
    let state: &OrderState = order.state();
    let status = match state.status {
        TheirOrderStatus::Pending => OrderStatus::Pending,
        TheirOrderStatus::Ready => OrderStatus::Ready,
        TheirOrderStatus::Processing => OrderStatus::Processing,
        TheirOrderStatus::Valid => OrderStatus::Valid,
        TheirOrderStatus::Invalid => OrderStatus::Invalid,
    };
    OrderView { url, status, error: state.error.as_ref().map(|problem| of_problem(problem, None)), retry_after }
}

fn is_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":badNonce")))
}

fn acme_error(error: Error) -> AcmeError {
    match error {
        Error::Api(problem) => of_problem(&problem, None),
        Error::Other(other) => match other.downcast::<AcmeErrorSource>() {
            Ok(source) => source.0,
            Err(other) => {
                AcmeError::new(Kind::Refused, format!("The certificate authority's answer is not understood: {other}."))
            }
        },
        Error::Unsupported(feature) => {
            AcmeError::new(Kind::Unsupported, format!("The certificate authority does not support {feature}."))
        }
        Error::Json(error) => {
            AcmeError::new(Kind::Unwell, format!("The certificate authority's answer is no ACME: {error}."))
        }
        Error::Crypto | Error::KeyRejected => AcmeError::new(Kind::Internal, "The account's key cannot be used."),
        other => {
            AcmeError::new(Kind::Unwell, format!("The certificate authority's answer is not understood: {other}."))
        }
    }
}

fn internal(error: &dyn std::fmt::Display) -> AcmeError {
    AcmeError::new(Kind::Internal, format!("The account cannot be read: {error}."))
}

fn method(kind: &ChallengeType) -> Option<Method> {
    match kind {
        ChallengeType::Http01 => Some(Method::Http01),
        ChallengeType::TlsAlpn01 => Some(Method::TlsAlpn01),
        ChallengeType::Dns01 => Some(Method::Dns01),
        _ => None,
    }
}

fn their_type(method: Method) -> ChallengeType {
    match method {
        Method::Http01 => ChallengeType::Http01,
        Method::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Method::Dns01 => ChallengeType::Dns01,
    }
}
