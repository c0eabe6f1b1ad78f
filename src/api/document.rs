//! The API's document (`OpenAPI` 3.1), made from the endpoints themselves.
//!
//! Served at `/api/openapi.json` and kept as `docs/openapi.json`; a test fails
//! when the two differ, and writes the file anew under `BITCALL_REGENERATE=1`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::access::Audience;
use super::code::Code;
use super::endpoint::Endpoint;
use super::idempotency;
use crate::tenancy::KeyPurpose;

pub async fn serve() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str())
}

/// The whole document.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut schemas = settings.into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for endpoint in super::endpoints() {
        let data = Value::from((endpoint.output)(&mut schemas));
        let operation = operation(&endpoint, &data);
        paths.entry(endpoint.path).or_default().insert(endpoint.method.as_str().to_lowercase(), operation);
    }
    let mut components = schemas.take_definitions(true);
    components.insert("Error".into(), error_schema());
    components.insert("Problem".into(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bitcall",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Tenants, their phones and who may embed them. Every answer has an `X-Request-Id`.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "panelKey": { "type": "apiKey", "in": "header", "name": "X-Bitcall-Panel-Key" },
                "masterSecret": { "type": "http", "scheme": "bearer" },
                "tenantKey": { "type": "apiKey", "in": "header", "name": "X-Bitcall-Key" },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, data: &Value) -> Value {
    let mut parameters: Vec<Value> = path_parameters(endpoint.path).collect();
    parameters.extend(request_headers(endpoint));
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [tag(endpoint.path)],
        "security": match endpoint.audience {
            Audience::Panel => json!([{ "panelKey": [] }]),
            Audience::Admin => json!([{ "masterSecret": [] }]),
            Audience::Runtime => json!([{ "tenantKey": [] }]),
            Audience::Anyone => json!([]),
        },
        "responses": responses(endpoint, data),
    });
    if let Some(purpose) = endpoint.key_purpose {
        operation["description"] = match purpose {
            KeyPurpose::Pages => "With an API key that is good for pages.",
            KeyPurpose::Backend => "With an API key that is good for back ends.",
            KeyPurpose::Both => "With any API key of the tenant.",
        }
        .into();
    }
    if endpoint.has_body() {
        let required = endpoint.input.fields.iter().any(|field| field.required);
        operation["requestBody"] = json!({
            "required": required,
            "content": { "application/json": { "schema": endpoint.input.schema() } },
        });
    } else {
        parameters.extend(endpoint.input.fields.iter().map(
            |field| json!({ "name": field.name, "in": "query", "required": field.required, "schema": field.schema }),
        ));
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    operation
}

fn path_parameters(path: &str) -> impl Iterator<Item = Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": super::plans::part_schema(name) }))
}

fn request_headers(endpoint: &Endpoint) -> Vec<Value> {
    let header = |name, description, schema| {
        let schema: Value = schema;
        json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema })
    };
    let mut headers = Vec::new();
    if endpoint.creates {
        let text = "A name of your own for this request. The same request with it again gets the same answer, for 24 hours, and is not done again.";
        let schema = json!({ "type": "string", "pattern": "^[!-~]+$", "maxLength": idempotency::MAX_KEY_CHARS });
        headers.push(header("Idempotency-Key", text, schema));
    }
    if endpoint.versioned && endpoint.has_body() {
        let text = "The `ETag` of what was read: change it only if nobody else has since.";
        headers.push(header("If-Match", text, json!({ "type": "string" })));
    } else if endpoint.versioned {
        let text = "The `ETag` of what the caller has: `304` if it is still that.";
        headers.push(header("If-None-Match", text, json!({ "type": "string" })));
    }
    headers
}

fn responses(endpoint: &Endpoint, data: &Value) -> Value {
    let headers = json!({
        "X-Request-Id": { "schema": { "type": "string" } },
        "RateLimit-Policy": { "schema": { "type": "string" } },
        "RateLimit": { "schema": { "type": "string" } },
    });
    let mut good = headers.clone();
    if endpoint.creates {
        let text = "Set when the request had been done before, and this is its answer again.";
        good["Idempotency-Replayed"] = json!({ "description": text, "schema": { "const": "true" } });
    }
    if endpoint.versioned && !endpoint.has_body() {
        good["ETag"] = json!({ "description": "The version of the answer.", "schema": { "type": "string" } });
    }
    let mut responses = Map::new();
    if endpoint.versioned && !endpoint.has_body() {
        responses.insert("304".into(), json!({ "description": "The caller has it already.", "headers": good }));
    }
    responses.insert(
        "200".into(),
        json!({
            "description": "Done.",
            "headers": good,
            "content": { "application/json": { "schema": {
                "type": "object",
                "properties": { "ok": { "const": true }, "data": data },
                "required": ["ok", "data"],
            } } },
        }),
    );
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in endpoint.all_refusals() {
        by_status.entry(code.status().as_str().to_owned()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let meanings: Vec<_> = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.meaning())).collect();
        let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
        let mut headers = headers.clone();
        if codes
            .iter()
            .any(|code| matches!(code, Code::RateLimited | Code::IdempotencyInProgress | Code::RecheckTooSoon))
        {
            headers["Retry-After"] = json!({ "description": "Seconds.", "schema": { "type": "integer" } });
        }
        responses.insert(
            status,
            json!({
                "description": meanings.join("\n\n"),
                "headers": headers,
                "content": {
                    "application/json": { "schema": { "allOf": [
                        { "$ref": "#/components/schemas/Error" },
                        { "properties": { "error": { "properties": { "code": { "enum": names } } } } },
                    ] } },
                    "application/problem+json": { "schema": { "allOf": [
                        { "$ref": "#/components/schemas/Problem" },
                        { "properties": { "code": { "enum": names } } },
                    ] } },
                },
            }),
        );
    }
    Value::Object(responses)
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "ok": { "const": false },
            "error": {
                "type": "object",
                "properties": {
                    "code": code_schema(),
                    "message": { "type": "string", "description": "For people; may change." },
                    "fields": fields_schema(),
                    "recheckAvailableAt": recheck_schema(),
                },
                "required": ["code", "message"],
            },
        },
        "required": ["ok", "error"],
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "The same, as RFC 9457 has it, for who sends `Accept: application/problem+json`.",
        "properties": {
            "type": { "type": "string", "format": "uri", "description": "`urn:bitcall:error:` and the code." },
            "title": { "type": "string", "description": "What the code means." },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "For people; may change." },
            "instance": { "type": "string", "format": "uri", "description": "`urn:bitcall:request:` and the request's id." },
            "code": code_schema(),
            "fields": fields_schema(),
            "recheckAvailableAt": recheck_schema(),
        },
        "required": ["type", "title", "status", "detail", "instance", "code"],
    })
}

fn code_schema() -> Value {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({ "type": "string", "enum": codes })
}

fn fields_schema() -> Value {
    json!({
        "type": "array",
        "description": "Every field that was not accepted.",
        "items": {
            "type": "object",
            "properties": { "field": { "type": "string" }, "message": { "type": "string" } },
            "required": ["field", "message"],
        },
    })
}

fn recheck_schema() -> Value {
    json!({ "type": "string", "format": "date-time", "description": "With `RECHECK_TOO_SOON`: from when on." })
}

/// `GET /api/tenant/api-keys/{id}` → `getTenantApiKeysId`
fn operation_id(endpoint: &Endpoint) -> String {
    let mut id = endpoint.method.as_str().to_lowercase();
    let words = endpoint.path.trim_start_matches("/api/").split(|c: char| !c.is_ascii_alphanumeric());
    for word in words.filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_uppercase());
        id.push_str(rest);
    }
    id
}

fn tag(path: &str) -> &str {
    path.split('/').nth(2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::path::Path;

    use super::*;

    #[test]
    fn the_openapi_document_in_the_repository_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let text = format!("{:#}\n", document());
        if std::env::var_os("BITCALL_REGENERATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "docs/openapi.json is stale: run BITCALL_REGENERATE=1 cargo test --bin bitcall");
    }

    #[test]
    fn operation_ids_are_unique() {
        let document = document();
        let operations =
            document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
        let mut names: Vec<_> =
            operations.map(|operation| operation["operationId"].as_str().unwrap().to_owned()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
