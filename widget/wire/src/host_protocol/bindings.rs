//! The loader's tables and `loader.d.ts`, made from [`definition`](super::definition). For `build.rs` only.

use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::definition::{
    COMMANDS, ERRORS, EVENTS, InitOption, LOADER_METHODS, OPTIONS, OptionKind, Parameter, ParameterKind, TENANT_OPTIONS,
};
use super::{PhoneState, VERSION};

/// Prefix of the types in `loader.d.ts`.
const TYPE_PREFIX: &str = "Bitcall";

/// The loader's tables as a JavaScript expression.
///
/// - `commands`: for each method the names of its parameters, how many of them are needed, and the names of its options
/// - `events`: the event's name by type of message
/// - `options`: for each path its kind (`text`, `secret`, `flag`, `function` or the list of values) and where it is sent
/// - `errors`: message and remedy by code
pub fn loader_tables() -> String {
    let names = |parameters: &[Parameter]| parameters.iter().map(|p| camel_case(p.name)).collect::<Vec<_>>();
    let needed = |parameters: &[Parameter]| parameters.iter().filter(|p| p.kind == ParameterKind::RequiredText).count();
    let commands: Map<String, Value> = COMMANDS
        .iter()
        .map(|c| (c.name.to_owned(), json!([names(c.parameters), needed(c.parameters), names(c.options)])))
        .collect();
    let events: Map<String, Value> = EVENTS.iter().map(|e| (e.message_type.to_owned(), e.name.into())).collect();
    let options: Map<String, Value> = OPTIONS
        .iter()
        .map(|option| {
            let kind = match option.kind {
                OptionKind::RequiredText | OptionKind::Text => json!("text"),
                OptionKind::Secret => json!("secret"),
                OptionKind::Flag => json!("flag"),
                OptionKind::Callback(_) => json!("function"),
                OptionKind::OneOf(values) => json!(values),
            };
            (option.path.to_owned(), json!([kind, option.sent_as]))
        })
        .collect();
    let errors: Map<String, Value> =
        ERRORS.iter().map(|error| (error.code.to_owned(), json!([error.message, error.remedy]))).collect();
    json!({
        "version": VERSION,
        "commands": commands,
        "events": events,
        "options": options,
        "tenantOptions": TENANT_OPTIONS,
        "errors": errors,
    })
    .to_string()
}

/// The text of `loader.d.ts`.
pub fn typescript() -> String {
    let mut out = String::from(
        "// Types of window.BitcallWebphone, the loader served at /webphone/loader.js. Made from\n\
         // widget/wire/src/host_protocol/definition.rs; do not edit.\n",
    );
    config(&mut out);
    error(&mut out);
    let mut generator = SchemaSettings::default().for_serialize().into_generator();
    let mut events = String::new();
    for event in EVENTS {
        comment(&mut events, 2, event.doc);
        let payload = (event.payload)(&mut generator);
        line(&mut events, &format!("  {}: {};", event.name, type_of(payload.as_value())));
    }
    generator.subschema_for::<PhoneState>();
    let definitions = generator.take_definitions(false);
    for (name, schema) in &definitions {
        if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
            payload(&mut out, name, schema, fields);
        }
    }
    line(&mut out, &format!("\nexport interface {TYPE_PREFIX}Events {{\n{events}}}"));
    api(&mut out);
    out.push_str(
        "\ndeclare global {\n  interface Window {\n    BitcallWebphone: BitcallWebphone;\n  }\n  \
         const BitcallWebphone: BitcallWebphone;\n}\n",
    );
    out
}

fn config(out: &mut String) {
    line(out, &format!("\nexport interface {TYPE_PREFIX}InitConfig {{"));
    group(out, 1, &OPTIONS.iter().map(|option| (option.path.split('.').collect(), option)).collect::<Vec<_>>());
    line(out, "}");
}

/// The options below one object, whose names are already taken off the paths.
fn group(out: &mut String, depth: usize, options: &[(Vec<&str>, &InitOption)]) {
    let indent = "  ".repeat(depth);
    let mut rest = options;
    while let Some(((path, option), after)) = rest.split_first() {
        let Some((name, deeper)) = path.split_first() else { return };
        if deeper.is_empty() {
            comment(out, indent.len(), if option.doc.is_empty() { &[] } else { std::slice::from_ref(&option.doc) });
            let (mark, kind) = match option.kind {
                OptionKind::RequiredText => ("", "string".to_owned()),
                OptionKind::Text | OptionKind::Secret => ("?", "string".to_owned()),
                OptionKind::Flag => ("?", "boolean".to_owned()),
                OptionKind::OneOf(values) => ("?", union(values.iter().copied())),
                OptionKind::Callback(function) => ("?", function.to_owned()),
            };
            line(out, &format!("{indent}{name}{mark}: {kind};"));
            rest = after;
        } else {
            let end = rest.iter().take_while(|(path, _)| path.first() == Some(name)).count();
            let (same, others) = rest.split_at(end);
            let inner: Vec<_> =
                same.iter().map(|(path, option)| (path.iter().skip(1).copied().collect(), *option)).collect();
            line(out, &format!("{indent}{name}?: {{"));
            group(out, depth + 1, &inner);
            line(out, &format!("{indent}}};"));
            rest = others;
        }
    }
}

fn error(out: &mut String) {
    line(out, "\n/** Codes of the loader and the phone. The server's own codes are in its API document. */");
    line(out, &format!("export type {TYPE_PREFIX}ErrorCode ="));
    for (number, error) in ERRORS.iter().enumerate() {
        comment(out, 2, &[error.message]);
        let end = if number + 1 == ERRORS.len() { ";" } else { "" };
        line(out, &format!("  | '{}'{end}", error.code));
    }
    line(
        out,
        &format!(
            "\nexport interface {TYPE_PREFIX}Error {{\n  code: {TYPE_PREFIX}ErrorCode | (string & {{}});\n  \
             /** What is wrong. */\n  message: string;\n  /** What to do about it. */\n  remedy?: string;\n  \
             /** HTTP status, if a server answered. */\n  status?: number;\n}}"
        ),
    );
}

fn payload(out: &mut String, name: &str, schema: &Value, fields: &Map<String, Value>) {
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    line(out, &format!("\nexport interface {TYPE_PREFIX}{name} {{"));
    for (field, schema) in fields {
        let doc = schema.get("description").and_then(Value::as_str);
        comment(out, 2, doc.as_slice());
        let mark = if required.iter().any(|name| name == field) { "" } else { "?" };
        line(out, &format!("  {field}{mark}: {};", type_of(schema)));
    }
    line(out, "}");
}

/// An option may be left out: its field is required all the same, and may be null.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("{TYPE_PREFIX}{name}");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return union(values.iter().filter_map(Value::as_str));
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        return format!("Record<string, {}>", type_of(values));
    }
    let kind = |name: &Value| match name.as_str() {
        Some("integer" | "number") => "number".to_owned(),
        Some(other) => other.to_owned(),
        None => "unknown".to_owned(),
    };
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().map(kind).collect::<Vec<_>>().join(" | "),
        Some(one) => kind(one),
        None => "unknown".to_owned(),
    }
}

fn api(out: &mut String) {
    line(out, &format!("\nexport interface {TYPE_PREFIX}Webphone {{"));
    for method in LOADER_METHODS {
        comment(out, 2, method.doc);
        line(out, &format!("  {};", method.signature));
    }
    for command in COMMANDS {
        comment(out, 2, command.doc);
        let parameter = |p: &Parameter| {
            let mark = if p.kind == ParameterKind::RequiredText { "" } else { "?" };
            let kind = if p.kind == ParameterKind::Fields { "Record<string, string>" } else { "string" };
            format!("{}{mark}: {kind}", camel_case(p.name))
        };
        let mut list: Vec<String> = command.parameters.iter().map(parameter).collect();
        if !command.options.is_empty() {
            let fields: Vec<String> = command.options.iter().map(parameter).collect();
            list.push(format!("options?: {{ {} }}", fields.join("; ")));
        }
        line(out, &format!("  {}({}): void;", command.name, list.join(", ")));
    }
    line(out, "}");
}

fn comment(out: &mut String, indent: usize, doc: &[&str]) {
    let indent = " ".repeat(indent);
    match doc {
        [] => {}
        [one] => line(out, &format!("{indent}/** {} */", one.trim())),
        several => {
            line(out, &format!("{indent}/**"));
            for text in several {
                line(out, &format!("{indent} * {}", text.trim()));
            }
            line(out, &format!("{indent} */"));
        }
    }
}

fn union<'a>(values: impl Iterator<Item = &'a str>) -> String {
    values.map(|value| format!("'{value}'")).collect::<Vec<_>>().join(" | ")
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{text}");
}
