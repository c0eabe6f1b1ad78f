//! The expected state of one tenant: all acknowledged writes, and the one write under way when the server was killed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::CHANGES;
use crate::installation::{Answer, Installation, MASTER_SECRET, PANEL_KEY, data, refusal, send};

pub struct Ledger {
    id: String,
    acknowledged: Option<State>,
    under_way: Option<Change>,
    /// Every API key that was ever shown: its id and itself.
    keys: BTreeMap<String, String>,
}

/// A tenant, as far as the writers change it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    /// Stands in several fields, all of which one request changes.
    number: usize,
    enabled: bool,
    keys: BTreeSet<String>,
    extensions: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum Change {
    Provision,
    Configure(usize),
    MakeKey,
    RevokeKey(String),
    AddExtension(String),
    RemoveExtension(String),
    Disable,
    Enable,
    Delete,
}

impl Ledger {
    pub fn new(id: String) -> Self {
        Self { id, acknowledged: None, under_way: None, keys: BTreeMap::new() }
    }

    /// One change. False when the server was killed before it answered.
    pub async fn write(&mut self, address: &str, number: usize) -> bool {
        let change = self.next(number);
        self.under_way = Some(change.clone());
        let Some(answer) = self.ask(address, &change).await else { return false };
        assert!(answer.status.is_success(), "{} {change:?}: {} {:?}", self.id, answer.status, answer.body);
        let answer = data(&answer);
        let mut made = None;
        if let Some(key) = answer["apiKey"].as_str() {
            let id = answer["apiKeyMeta"]["id"].as_str().or(answer["id"].as_str()).unwrap();
            self.keys.insert(id.to_owned(), key.to_owned());
            made = Some(id.to_owned());
        }
        self.acknowledged = change.after(self.acknowledged.as_ref(), made);
        self.under_way = None;
        true
    }

    fn next(&self, number: usize) -> Change {
        let Some(state) = &self.acknowledged else { return Change::Provision };
        let spare_key = state.keys.first().filter(|_| state.keys.len() > 1);
        match (number % 5, spare_key, state.extensions.first()) {
            _ if number == CHANGES => Change::Delete,
            (1, ..) => Change::Configure(number),
            (2, Some(key), _) => Change::RevokeKey(key.clone()),
            (3, _, Some(extension)) => Change::RemoveExtension(extension.clone()),
            (3, ..) => Change::AddExtension(format!("e{number}")),
            (4, ..) if state.enabled => Change::Disable,
            (4, ..) => Change::Enable,
            _ => Change::MakeKey,
        }
    }

    async fn ask(&self, address: &str, change: &Change) -> Option<Answer> {
        let (method, path, mut body) = match change {
            Change::Provision => ("POST", "/api/tenant/provision".to_owned(), json!({ "planId": "enterprise" })),
            Change::Configure(number) => ("PATCH", "/api/tenant/config".to_owned(), settings(*number)),
            Change::MakeKey => ("POST", "/api/tenant/api-keys".to_owned(), json!({})),
            Change::RevokeKey(id) => ("DELETE", format!("/api/tenant/api-keys/{id}"), json!({})),
            Change::AddExtension(name) => ("POST", "/api/tenant/extensions".to_owned(), json!({ "username": name })),
            Change::RemoveExtension(name) => ("DELETE", format!("/api/tenant/extensions/{name}"), json!({})),
            Change::Disable => ("POST", format!("/api/admin/tenants/{}/disable", self.id), Value::Null),
            Change::Enable => ("POST", format!("/api/admin/tenants/{}/enable", self.id), Value::Null),
            Change::Delete => ("DELETE", format!("/api/admin/tenants/{}", self.id), Value::Null),
        };
        if body.is_null() {
            let secret = format!("Bearer {MASTER_SECRET}");
            return send(address, method, &path, &[("authorization", &secret)], "").await;
        }
        body["tenantId"] = json!(self.id);
        send(address, method, &path, &[("x-bitcall-panel-key", PANEL_KEY)], &body.to_string()).await
    }

    /// Reads the server's state, asserts that it is one of the possible ones, and keeps it.
    pub async fn settle(&mut self, bitcall: &Installation) {
        let found = State::of(&self.id, bitcall).await;
        let change = self.under_way.take();
        if found != self.acknowledged {
            let Some(change) = &change else {
                panic!("{}: {:?} was acknowledged, {found:?} is there", self.id, self.acknowledged);
            };
            let unknown = |state: &State| state.keys.iter().find(|id| !self.keys.contains_key(*id)).cloned();
            let after = change.after(self.acknowledged.as_ref(), found.as_ref().and_then(unknown));
            assert_eq!(found, after, "{}: {change:?} on {:?} is half done", self.id, self.acknowledged);
        }
        self.acknowledged = found;
        self.keys_open_what_they_should(bitcall).await;
        if let Some(Change::Provision | Change::Delete) = change {
            self.name_is_held_with_its_tenant(bitcall).await;
        }
    }

    /// Later kills have changed nothing.
    pub async fn is_unchanged(&self, bitcall: &Installation) {
        assert_eq!(State::of(&self.id, bitcall).await, self.acknowledged, "{}", self.id);
    }

    async fn keys_open_what_they_should(&self, bitcall: &Installation) {
        for (id, key) in &self.keys {
            let live = self.acknowledged.as_ref().is_some_and(|state| state.enabled && state.keys.contains(id));
            let answer = bitcall.runtime(key, None).await;
            assert_eq!(answer.status == 200, live, "{}: key {id} answers {}", self.id, answer.status);
        }
    }

    /// What is kept beside the tenant is there with it, and not without it.
    async fn name_is_held_with_its_tenant(&mut self, bitcall: &Installation) {
        let provision = |id: String| bitcall.panel("POST", "/api/tenant/provision", json!({ "tenantId": id }));
        if self.acknowledged.is_some() {
            let alike = provision(self.id.replace('-', "_")).await;
            assert_eq!(refusal(&alike), (409, "TENANT_ID_TAKEN".into()), "{}", self.id);
        } else {
            let again = data(&provision(self.id.clone()).await);
            let (id, key) = (&again["apiKeyMeta"]["id"], &again["apiKey"]);
            self.keys.insert(id.as_str().unwrap().to_owned(), key.as_str().unwrap().to_owned());
            self.acknowledged = State::of(&self.id, bitcall).await;
            let nothing_old = Change::Provision.after(None, id.as_str().map(str::to_owned));
            assert_eq!(self.acknowledged, nothing_old, "{}", self.id);
        }
    }
}

impl State {
    /// None when the server knows no such tenant.
    async fn of(id: &str, bitcall: &Installation) -> Option<Self> {
        let answer = bitcall.panel("GET", &format!("/api/tenant?tenantId={id}"), Value::Null).await;
        if answer.status == 404 {
            return None;
        }
        let tenant = data(&answer);
        let number = number(&tenant["branding"], id);
        let origins = &tenant["origins"]["allowedOrigins"];
        assert_eq!(*origins, settings(number)["origins"]["allowedOrigins"], "{id}: {number} is half done");
        let listed = bitcall.done("GET", &format!("/api/tenant/extensions?tenantId={id}"), Value::Null).await;
        let names = |list: &Value, field: &str| -> BTreeSet<String> {
            list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
        };
        Some(Self {
            number,
            enabled: tenant["enabled"] == true,
            keys: names(&tenant["apiKeys"], "id"),
            extensions: names(&listed["extensions"], "username"),
        })
    }
}

impl Change {
    /// The state that this change leads to, where a tenant is left; `made` is the id of the key that it makes.
    fn after(&self, before: Option<&State>, made: Option<String>) -> Option<State> {
        let new = State { number: 0, enabled: true, keys: BTreeSet::new(), extensions: BTreeSet::new() };
        let mut state = before.cloned().unwrap_or(new);
        match self {
            Self::Provision | Self::MakeKey => state.keys.extend(made),
            Self::Configure(number) => state.number = *number,
            Self::RevokeKey(id) => {
                state.keys.remove(id);
            }
            Self::AddExtension(name) => {
                state.extensions.insert(name.clone());
            }
            Self::RemoveExtension(name) => {
                state.extensions.remove(name);
            }
            Self::Disable => state.enabled = false,
            Self::Enable => state.enabled = true,
            Self::Delete => return None,
        }
        Some(state)
    }
}

fn settings(number: usize) -> Value {
    let origins: Vec<_> = (number > 0).then(|| format!("https://n{number}.example.com")).into_iter().collect();
    json!({ "branding": { "displayName": format!("n{number}") }, "origins": { "allowedOrigins": origins } })
}

/// That the name for people carries; it is the tenant's id while none was given.
fn number(branding: &Value, id: &str) -> usize {
    let name = branding["displayName"].as_str().unwrap();
    if name == id { 0 } else { name.trim_start_matches('n').parse().unwrap() }
}
