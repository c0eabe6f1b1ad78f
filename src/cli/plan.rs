//! `bitcall plan`: the catalogue of what tenants can be entitled to.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::control::{CommandGroup, path_segment, request_failure};
use super::table::{field_text, key_value_table, table};
use super::{CliError, Exit, GlobalOptions};
use crate::client::ControlClient;

/// As options name them; in the API they are in camel case.
const ENTITLEMENTS: [&str; 9] = [
    "custom-branding",
    "subdomain-access",
    "custom-domain-access",
    "popup-mode",
    "audio-clips",
    "transfer",
    "sip-host-override",
    "wss-override",
    "ice-override",
];
const PATH: &str = "/api/admin/plans";

pub type PlanCommands = CommandGroup<PlanCommand>;

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// List the plans.
    List,
    /// Show a plan with all its entitlements.
    Show {
        /// Plan id
        plan: String,
    },
    /// Make a plan, or change the named parts of one; its tenants have the new rights at once.
    Set(Box<SetPlan>),
    /// Remove a plan that no tenant has.
    Remove {
        /// Plan id
        plan: String,
    },
}

#[derive(Debug, Args)]
pub struct SetPlan {
    /// Plan id, e.g. `gold`: a-z, 0-9, _ and -
    plan: String,
    /// Name for people [default for a new plan: the id]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Whether it is offered: tenants keep a retired plan, and nobody gets it any more
    #[arg(long, value_parser = ["active", "retired"], value_name = "STATUS")]
    status: Option<String>,
    /// Price per interval, for the operator's panel [default for a new plan: 0]
    #[arg(long, value_name = "AMOUNT")]
    price: Option<f64>,
    /// Currency (ISO 4217) [default for a new plan: EUR]
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// What the price is for [default for a new plan: month]
    #[arg(long, value_parser = ["month", "year"], value_name = "INTERVAL")]
    interval: Option<String>,
    /// Make it the plan of tenants that are made without naming one
    #[arg(long)]
    default: bool,
    /// Grant an entitlement; may be repeated
    #[arg(long, value_parser = ENTITLEMENTS, value_name = "NAME")]
    grant: Vec<String>,
    /// Take an entitlement away; may be repeated
    #[arg(long, value_parser = ENTITLEMENTS, value_name = "NAME")]
    withhold: Vec<String>,
    /// API keys per tenant [default for a new plan: 2]
    #[arg(long, value_name = "NUMBER")]
    max_api_keys: Option<u32>,
    /// Calls at a time per phone [default for a new plan: 2]
    #[arg(long, value_name = "NUMBER")]
    max_sessions: Option<u32>,
}

impl PlanCommands {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let command = self.command;
        self.target.run(globals, async |client, printer| {
            match command {
                PlanCommand::List => printer.print(&client.get(PATH, &[]).await.map_err(request_failure)?, plans)?,
                PlanCommand::Show { plan } => {
                    let found = find(&client, &plan).await?;
                    let hint = "\nhint: `bitcall plan list` shows all plans";
                    let unknown = || CliError::new(Exit::Failed, format!("there is no plan {plan:?}{hint}"));
                    printer.print(&found.ok_or_else(unknown)?, all_of)?;
                }
                PlanCommand::Set(set) => {
                    let known = find(&client, &set.plan).await?;
                    let body = set.on(known.unwrap_or_else(|| set.new_plan()));
                    printer.print(&client.put(&path(&set.plan), &body).await.map_err(request_failure)?, all_of)?;
                }
                PlanCommand::Remove { plan } => {
                    let data = client.delete(&path(&plan), &json!({})).await.map_err(request_failure)?;
                    printer.print(&data, |_| format!("the plan {plan} is removed"))?;
                }
            }
            Ok(())
        })
    }
}

impl SetPlan {
    fn new_plan(&self) -> Value {
        let entitlements = json!({ "maxApiKeys": 2, "maxSessions": 2 });
        json!({ "name": self.plan, "price": 0, "currency": "EUR", "interval": "month", "entitlements": entitlements })
    }

    /// `plan` with the parts that were named.
    fn on(&self, mut plan: Value) -> Value {
        if let Value::Object(fields) = &mut plan {
            // Fields that the server computes, and does not accept.
            fields.retain(|name, _| !matches!(name.as_str(), "planId" | "tenantCount"));
        }
        let named = [
            ("name", self.name.as_deref().map(Value::from)),
            ("status", self.status.as_deref().map(Value::from)),
            ("price", self.price.map(Value::from)),
            ("currency", self.currency.as_deref().map(Value::from)),
            ("interval", self.interval.as_deref().map(Value::from)),
            ("isDefault", self.default.then_some(Value::from(true))),
        ];
        for (name, value) in named.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            plan[name] = value;
        }
        let rights = &mut plan["entitlements"];
        for (names, granted) in [(&self.grant, true), (&self.withhold, false)] {
            for name in names {
                rights[camel_case(name)] = granted.into();
            }
        }
        for (name, limit) in [("maxApiKeys", self.max_api_keys), ("maxSessions", self.max_sessions)] {
            if let Some(limit) = limit {
                rights[name] = limit.into();
            }
        }
        plan
    }
}

async fn find(client: &ControlClient, id: &str) -> Result<Option<Value>, CliError> {
    let mut data = client.get(PATH, &[]).await.map_err(request_failure)?;
    let mut plans = data["plans"].as_array_mut().into_iter().flatten();
    Ok(plans.find(|plan| plan["planId"] == id).map(Value::take))
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", path_segment(id))
}

fn plans(data: &Value) -> String {
    let headings = ["plan", "name", "status", "price", "default", "tenants", "keys", "calls"];
    table(headings, &data["plans"], "there are no plans", |plan| {
        let limit = |name: &str| field_text(plan, &format!("/entitlements/{name}"));
        let [id, name, status, default, tenants] =
            ["/planId", "/name", "/status", "/isDefault", "/tenantCount"].map(|field| field_text(plan, field));
        [id, name, status, price(plan), default, tenants, limit("maxApiKeys"), limit("maxSessions")]
    })
}

fn price(plan: &Value) -> String {
    format!("{} {} / {}", field_text(plan, "/price"), field_text(plan, "/currency"), field_text(plan, "/interval"))
}

fn all_of(plan: &Value) -> String {
    let mut rows = vec![
        ("Plan", field_text(plan, "/planId")),
        ("Name", field_text(plan, "/name")),
        ("Status", field_text(plan, "/status")),
        ("Price", price(plan)),
        ("Default", field_text(plan, "/isDefault")),
        ("Tenants", field_text(plan, "/tenantCount")),
        ("API keys", field_text(plan, "/entitlements/maxApiKeys")),
        ("Calls at a time", field_text(plan, "/entitlements/maxSessions")),
    ];
    let right = |name: &&'static str| (*name, field_text(plan, &format!("/entitlements/{}", camel_case(name))));
    rows.extend(ENTITLEMENTS.iter().map(right));
    key_value_table(&rows)
}

/// `custom-branding` → `customBranding`
fn camel_case(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(1);
        format!("{name}{}{rest}", initial.to_uppercase())
    })
}
