//! The account: signing in and out, its secret, and a server that refuses it.

use bitcall_sip::digest::{self, Algorithm};
use bitcall_sip::ua::{self, Command, Millis};
use bitcall_wire::agent_protocol::{
    AccountSecret, AgentEvent, AgentSnapshot, KeptCalls, RealmHa1, RegistrationFailureCode, RegistrationStatus,
    SipAccount, TakenCallerId, ToPage,
};
use bitcall_wire::config::{CallerIdHeader, Redirects, Referrals};
use sha2::{Digest as _, Sha256};

use super::user_agent_events::registration_failure;
use super::{CallList, CallListOutput};
use crate::call::OfferMethod;
use crate::pages::PortId;

impl CallList {
    /// Signs in. A page of the same account uses the existing registration.
    pub(super) fn sign_in(&mut self, port: PortId, account: SipAccount, kept: Option<KeptCalls>, now: Millis) {
        if self.has_wrong_secret(&account) {
            return self.reject_credentials(port);
        }
        if !self.running {
            self.start(account);
            self.restore_calls(kept, now);
            // Before the page is authorized, so that it never gets a snapshot with `SignedOut`: a page
            // that was signed in before would forget its session.
            self.send_snapshot_if_changed();
            return self.authorize_page(port, now);
        }
        self.authorize_page(port, now);
        if self.signing_out {
            // The page signs in again after the running sign-out.
            return self.sign_out_for(Some(account));
        }
        let is_same_secret = self.is_same_secret(&account);
        let waits_for_password = self.failure_code() == Some(RegistrationFailureCode::PasswordNeeded);
        match &account.secret {
            // Another account, or another secret: the current one signs out first.
            _ if !self.is_same_person(&account) => self.sign_out_for(Some(account)),
            AccountSecret::Password { password } if is_same_secret || waits_for_password => {
                self.set_password(port, password, waits_for_password);
            }
            _ if is_same_secret => {}
            _ => return self.sign_out_for(Some(account)),
        }
        if matches!(self.registration, RegistrationStatus::Failed { .. }) && !waits_for_password {
            self.command(Command::Register);
        }
    }

    /// A page has the password of the account, of which the user agent may only have HA1s.
    fn set_password(&mut self, port: PortId, password: &str, waits_for_password: bool) {
        if !self.has_password || waits_for_password {
            self.has_password = true;
            self.command(Command::SetPassword { password: ua::Password(password.to_owned()) });
        }
        if waits_for_password {
            self.secret_hash = Some(secret_hash(&AccountSecret::Password { password: password.to_owned() }));
        }
        let Some(AccountSecret::Ha1 { ha1s }) = self.account.as_ref().map(|account| account.secret.clone()) else {
            return;
        };
        for ha1 in ha1s.into_iter().filter(|ha1| ha1.realm.is_some()) {
            self.send(port, ToPage::Event { event: AgentEvent::Ha1 { ha1 } });
        }
        if matches!(self.registration, RegistrationStatus::Registered { .. }) {
            // The page may show the sign-in form, and learns that the password was right.
            self.send_last_snapshot(port);
        }
    }

    pub(super) fn sign_out(&mut self, now: Millis) {
        if !self.running {
            return;
        }
        for index in 0..self.calls.len() {
            self.end_for_sign_out(index, now);
        }
        self.sign_out_for(None);
    }

    /// Removes the registration, which may take seconds; then `next` signs in.
    /// The registration state that pages get changes at once.
    fn sign_out_for(&mut self, next: Option<SipAccount>) {
        self.registration = if next.is_some() { RegistrationStatus::Connecting } else { RegistrationStatus::SignedOut };
        self.next = next;
        if !std::mem::replace(&mut self.signing_out, true) {
            self.command(Command::Unregister);
        }
    }

    /// The person wants another attempt now.
    pub(super) fn retry(&mut self) {
        match self.registration {
            RegistrationStatus::Failed { .. } => self.command(Command::Register),
            RegistrationStatus::SignedOut => {}
            _ => self.out.push_back(CallListOutput::Probe),
        }
    }

    /// The server refuses the account or this device; it is only asked again slowly, or when the person wants it.
    pub(crate) fn is_refused(&self) -> bool {
        use RegistrationFailureCode::{Forbidden, NotFound, PasswordNeeded, TooManyDevices, WrongPassword};
        matches!(self.failure_code(), Some(Forbidden | NotFound | PasswordNeeded | TooManyDevices | WrongPassword))
    }

    fn failure_code(&self) -> Option<RegistrationFailureCode> {
        match &self.registration {
            RegistrationStatus::Failed { reason } | RegistrationStatus::Reconnecting { reason, .. } => {
                Some(reason.code)
            }
            _ => None,
        }
    }

    /// A realm has accepted this HA1. The list keeps it instead of the password, which only the user agent has now.
    pub(super) fn store_ha1(&mut self, ha1: RealmHa1) {
        if let Some(account) = &mut self.account {
            account.secret.adopt(ha1.clone());
        }
        self.notify_all(&AgentEvent::Ha1 { ha1 });
    }

    pub(super) fn caller_id_taken(&mut self, server: String, header: ua::CallerIdHeader) {
        self.notify_all(&AgentEvent::CallerIdTaken { taken: TakenCallerId { server, header: wire_header(header) } });
    }

    fn is_same_person(&self, account: &SipAccount) -> bool {
        self.account
            .as_ref()
            .is_some_and(|present| present.username == account.username && present.domain == account.domain)
    }

    /// The current account, with another secret than the one that the server accepted.
    fn has_wrong_secret(&self, account: &SipAccount) -> bool {
        self.running
            && !self.signing_out
            && self.secret_accepted
            && !self.secret_is_rejected()
            && self.is_same_person(account)
            && !self.is_same_secret(account)
    }

    /// The server now rejects the current secret, so another one may be correct.
    fn secret_is_rejected(&self) -> bool {
        matches!(self.registration, RegistrationStatus::Failed { .. }) || self.is_refused()
    }

    /// Refuses this page only, as if the server had.
    fn reject_credentials(&mut self, port: PortId) {
        if self.pages.by_port(port).is_some_and(|page| page.authorized) {
            return self.send(port, ToPage::Event { event: AgentEvent::PasswordNeeded { call: None } });
        }
        let reason =
            registration_failure(ua::RegisterFailure { kind: ua::RegisterFailureKind::WrongPassword, status: None });
        let snapshot =
            AgentSnapshot { registration: RegistrationStatus::Failed { reason }, ..AgentSnapshot::default() };
        self.send(port, ToPage::Snapshot { snapshot });
    }

    pub(super) fn start(&mut self, account: SipAccount) {
        self.secret_accepted = false;
        self.pick_up_method = OfferMethod::default();
        self.secret_hash = Some(secret_hash(&account.secret));
        self.has_password = matches!(account.secret, AccountSecret::Password { .. });
        self.registration = RegistrationStatus::Connecting;
        self.running = true;
        self.signing_out = false;
        self.finished = false;
        let secret = match &account.secret {
            AccountSecret::Password { password } => ua::SipSecret::Password(password.clone()),
            AccountSecret::Ha1 { ha1s } => ua::SipSecret::Ha1(ha1s.iter().filter_map(sip_ha1).collect()),
        };
        let mut config = ua::UserAgentConfig::new(&account.username, &account.domain, secret, account.wss.clone());
        config.display_name.clone_from(&account.display_name);
        config.instance_id.clone_from(&account.instance_id);
        config.max_sessions = account.max_sessions;
        config.decline_status = account.calls.decline_status.into();
        config.redirects = match account.calls.redirects {
            Redirects::Never => ua::RedirectPolicy::Never,
            Redirects::SameDomain => ua::RedirectPolicy::SameDomain,
            Redirects::AnyDomain => ua::RedirectPolicy::AnyDomain,
        };
        config.referrals = match account.calls.referrals {
            Referrals::Refuse => ua::ReferralPolicy::Refuse,
            Referrals::Ask => ua::ReferralPolicy::Ask,
            Referrals::OwnDomain => ua::ReferralPolicy::OwnDomain,
        };
        config.caller_id_header = sip_header(account.calls.caller_id_header);
        config.caller_id_headers =
            account.caller_id_headers.iter().map(|taken| (taken.server.clone(), sip_header(taken.header))).collect();
        config.product = format!("Bitcall/{}", env!("CARGO_PKG_VERSION"));
        self.account = Some(account);
        self.out.push_back(CallListOutput::Start(Box::new(config)));
    }

    fn is_same_secret(&self, account: &SipAccount) -> bool {
        let is_of_password = |ha1s: &[RealmHa1], password: &str| {
            ha1s.iter().any(|stored| match (&stored.realm, Algorithm::from_name(&stored.algorithm)) {
                (Some(realm), Some(algorithm)) => {
                    digest::ha1(algorithm, &account.username, realm, password).eq_ignore_ascii_case(&stored.ha1)
                }
                _ => false,
            })
        };
        self.secret_hash == Some(secret_hash(&account.secret))
            || self.account.as_ref().is_some_and(|present| match (&present.secret, &account.secret) {
                (AccountSecret::Ha1 { ha1s: ours }, AccountSecret::Ha1 { ha1s: theirs }) => {
                    ours.iter().any(|ours| theirs.iter().any(|theirs| ours.ha1.eq_ignore_ascii_case(&theirs.ha1)))
                }
                (AccountSecret::Ha1 { ha1s }, AccountSecret::Password { password })
                | (AccountSecret::Password { password }, AccountSecret::Ha1 { ha1s }) => is_of_password(ha1s, password),
                (AccountSecret::Password { .. }, AccountSecret::Password { .. }) => false,
            })
    }
}

fn sip_header(header: CallerIdHeader) -> ua::CallerIdHeader {
    match header {
        CallerIdHeader::PAssertedIdentity => ua::CallerIdHeader::PAssertedIdentity,
        CallerIdHeader::PPreferredIdentity => ua::CallerIdHeader::PPreferredIdentity,
        CallerIdHeader::RemotePartyId => ua::CallerIdHeader::RemotePartyId,
        CallerIdHeader::From => ua::CallerIdHeader::From,
    }
}

fn wire_header(header: ua::CallerIdHeader) -> CallerIdHeader {
    match header {
        ua::CallerIdHeader::PAssertedIdentity => CallerIdHeader::PAssertedIdentity,
        ua::CallerIdHeader::PPreferredIdentity => CallerIdHeader::PPreferredIdentity,
        ua::CallerIdHeader::RemotePartyId => CallerIdHeader::RemotePartyId,
        ua::CallerIdHeader::From => CallerIdHeader::From,
    }
}

fn sip_ha1(stored: &RealmHa1) -> Option<ua::RealmHa1> {
    let algorithm = Algorithm::from_name(&stored.algorithm)?;
    Some(ua::RealmHa1 { realm: stored.realm.clone(), algorithm, ha1: stored.ha1.clone() })
}

/// Identifies a secret without storing it.
fn secret_hash(secret: &AccountSecret) -> [u8; 32] {
    match secret {
        AccountSecret::Password { password } => Sha256::digest(password.as_bytes()).into(),
        AccountSecret::Ha1 { ha1s } => {
            let mut hash = Sha256::new();
            for stored in ha1s {
                hash.update(stored.ha1.as_bytes());
            }
            hash.finalize().into()
        }
    }
}
