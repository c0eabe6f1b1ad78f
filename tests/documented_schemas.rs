//! The schemas of the API's document, and what they are held against: every request of the tests that the server accepted
//! with its answer (`installation::send` hands them over), and every request that the documentation shows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// Fields whose names may be in other scripts (IDNA), which a pattern cannot describe; the document says so.
const IN_ANY_SCRIPT: [&str; 2] = ["/domain:", "/subdomain:"];

/// The document in the repository, which a unit test keeps current.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
});

/// By JSON pointer into the document.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// The documented operation of a request.
struct Operation {
    /// JSON pointer into the document.
    pointer: String,
    description: &'static Value,
}

impl Operation {
    /// `path` without its query. None for what the document does not describe.
    fn of(method: &str, path: &str) -> Option<Self> {
        let fits = |template: &str| {
            let (parts, wanted) = (template.split('/'), path.split('/'));
            parts.clone().count() == wanted.clone().count()
                && parts.zip(wanted).all(|(part, wanted)| part == wanted || part.starts_with('{'))
        };
        // A path without parameters comes before one with them.
        let templates = DOCUMENT["paths"].as_object().unwrap().keys().filter(|template| fits(template));
        let template = templates.min_by_key(|template| template.matches('{').count())?;
        let method = method.to_lowercase();
        let description = DOCUMENT["paths"][template].get(&method)?;
        Some(Self { pointer: format!("/paths/{}/{method}", template.replace('/', "~1")), description })
    }

    /// What is wrong with `value` by the schema at `place` in the operation.
    fn faults(&self, place: &str, value: &Value) -> Vec<String> {
        let pointer = format!("{}{place}", self.pointer);
        let validator = {
            let mut known = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
            let validator = known.entry(pointer).or_insert_with_key(|pointer| {
                let schema = DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("the document has no {pointer}"));
                let whole = json!({ "allOf": [schema], "components": DOCUMENT["components"] });
                Arc::new(jsonschema::draft202012::new(&whole).unwrap_or_else(|error| panic!("{pointer}: {error}")))
            });
            Arc::clone(validator)
        };
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    fn body_faults(&self, body: &Value) -> Vec<String> {
        self.faults("/requestBody/content/application~1json/schema", body)
    }

    /// Of parameters that the document knows. Whether `3` is a number or a text is the schema's to say.
    fn query_faults(&self, query: &str) -> Vec<String> {
        let parameters = self.description["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let mut faults = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let is_it = |parameter: &Value| parameter["in"] == "query" && parameter["name"] == *name;
            let Some(index) = parameters.iter().position(is_it) else { continue };
            let place = format!("/parameters/{index}/schema");
            let as_text = self.faults(&place, &json!(value));
            let as_json = serde_json::from_str(&value).is_ok_and(|value| self.faults(&place, &value).is_empty());
            if !as_text.is_empty() && !as_json {
                faults.extend(as_text.iter().map(|fault| format!("/{name}{fault}")));
            }
        }
        faults
    }

    /// Where the document has fields for the API key in a header, a page that can set none sends it in the body.
    fn takes_key(&self) -> bool {
        self.description["security"].as_array().is_some_and(|all| all.iter().any(|one| one["tenantKey"].is_array()))
    }
}

/// Panics where the document's schemas refuse a request that was accepted with this answer, or the answer.
pub fn check_accepted(method: &str, target: &str, body: &str, answer: &[u8]) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(operation) = Operation::of(method, path) else { return };
    let mut faults = operation.query_faults(query);
    if !body.is_empty() && operation.description.get("requestBody").is_some() {
        let mut body: Value = serde_json::from_str(body).unwrap();
        if let Some(fields) = body.as_object_mut().filter(|_| operation.takes_key()) {
            fields.remove("key");
        }
        faults.extend(operation.body_faults(&body));
    }
    faults.retain(|fault| {
        let is_in_other_script = !fault.is_ascii() || fault.to_lowercase().contains("\"xn--");
        !(is_in_other_script && IN_ANY_SCRIPT.iter().any(|field| fault.starts_with(field)))
    });
    if let Ok(answer) = serde_json::from_slice(answer) {
        faults.extend(operation.faults("/responses/200/content/application~1json/schema", &answer));
    }
    assert!(faults.is_empty(), "{method} {target} {body}: the document refuses what was accepted: {faults:#?}");
}

/// The method, target and body of each `curl` command in the documentation's code.
fn commands(text: &str) -> Vec<(String, String, String)> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let mut found = Vec::new();
    for block in blocks {
        for command in block.split("curl ").skip(1) {
            let target = command.split_whitespace().find_map(|word| word.strip_prefix("https://phone.example.com"));
            let body = command.split_once("-d '").map(|(_, rest)| rest.split_once('\'').expect("a closed quote").0);
            let method = command.split_once("-X ").map(|(_, rest)| rest.split_whitespace().next().unwrap());
            let usual = if body.is_some() { "POST" } else { "GET" };
            let target = target.unwrap_or_else(|| panic!("no address in curl {command}"));
            found.push((method.unwrap_or(usual).to_owned(), target.to_owned(), body.unwrap_or_default().to_owned()));
        }
    }
    found
}

#[test]
fn every_request_that_the_documentation_shows_fits_the_documents_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("CHANGELOG.md"), root.join("CONTRIBUTING.md")];
    pages.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut shown = 0;
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(page).unwrap();
        assert!(
            !text.contains("```json"),
            "{}: show a request as a curl command, which says where it goes",
            page.display()
        );
        for (method, target, body) in commands(&text) {
            shown += 1;
            let path = target.split('?').next().unwrap();
            let operation =
                Operation::of(&method, path).unwrap_or_else(|| panic!("no such operation: {method} {path}"));
            let mut faults = operation.query_faults(target.split_once('?').map_or("", |(_, query)| query));
            if !body.is_empty() {
                let body = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{body}: {error}"));
                faults.extend(operation.body_faults(&body));
            }
            assert!(faults.is_empty(), "{}: {method} {target} {body}: {faults:#?}", page.display());
        }
    }
    assert!(shown >= 2, "the README shows requests");
}

#[test]
fn the_schemas_refuse_what_the_server_refuses() {
    let config = Operation::of("PATCH", "/api/tenant/config").unwrap();
    assert!(!config.body_faults(&json!({ "tenantId": "acme", "wss": "https://pbx.acme.com" })).is_empty());
    assert!(!config.body_faults(&json!({ "tenantId": "acme", "colour": "red" })).is_empty());
    let list = Operation::of("GET", "/api/admin/tenants").unwrap();
    assert!(list.query_faults("limit=3").is_empty() && !list.query_faults("limit=many").is_empty());
}
