//! What Kubernetes' API server would say of an object: a checker for structural schemas, for tests.
//!
//! It knows what the Hardware definition uses and stops at anything else, so that nothing passes unchecked:
//! types, formats, required and unknown fields, additional properties, patterns (three of them, by hand).

use std::{env, fs, path::PathBuf};

use serde_json::Value;

/// Returns the shared Tinkerbell files, or nothing where this checkout does not have them.
/// They must be there in continuous integration.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub(super) fn shared(file: &str) -> Option<String> {
    let root = env::var_os("DRYDOCK_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
        PathBuf::from,
    );
    let path = root.join("tinkerbell").join(file);
    match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            assert!(
                env::var("CI").as_deref() != Ok("true"),
                "{} must be there in CI: {error}",
                path.display()
            );
            eprintln!("left out, because it is not here: {}", path.display());
            None
        }
    }
}

/// Returns the schema of `Hardware` in a resource definition.
pub(super) fn hardware_schema(definition: &str) -> Value {
    let definition: Value = serde_saphyr::from_str(definition).expect("the definition is YAML");
    definition["spec"]["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .find(|version| version["name"] == "v1alpha1")
        .expect("v1alpha1")["schema"]["openAPIV3Schema"]
        .clone()
}

/// Lists what is wrong with an object, each with its path.
pub(super) fn problems(schema: &Value, object: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check(schema, object, "", &mut problems);
    problems
}

fn check(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    for key in schema.as_object().expect("a schema is a map").keys() {
        assert!(KNOWN.contains(&key.as_str()), "teach the checker {key} at {path}");
    }
    let mut problem = |text: String| problems.push(format!("{path}: {text}"));
    if schema["x-kubernetes-int-or-string"] == true {
        if !value.is_string() && !value.is_i64() {
            problem("neither integer nor string".to_owned());
        }
    } else {
        let expected = schema["type"].as_str().expect("every other schema has a type");
        let fits = match expected {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64(),
            other => panic!("teach the checker type {other} at {path}"),
        };
        if !fits {
            problem(format!("not of type {expected}: {value}"));
            return;
        }
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !matches(pattern, text)
    {
        problem(format!("does not match {pattern}: {text}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            problem(format!("lacks {name}"));
        }
    }
    // What is in an object's own metadata, the API server knows by itself.
    if path == "/metadata" {
        return;
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{path}/{index}"), problems);
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) => {
                problems.push(format!("{path}: unknown, would be pruned"));
            }
            (Value::Null, schema) | (schema, _) => check(schema, field, &path, problems),
        }
    }
}

/// What the checker knows, or what says nothing about a value. `anyOf` stands only beside
/// `x-kubernetes-int-or-string` and says the same; the rule of `x-kubernetes-validations` is about two
/// fields of DHCP that Drydock never writes (and is asked for in the tests).
const KNOWN: &[&str] = &[
    "additionalProperties",
    "anyOf",
    "default",
    "description",
    "format",
    "items",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];

fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        // Not anchored: as a part of the text.
        "([0-9a-f]{2}[:]){5}([0-9a-f]{2})" => text.as_bytes().windows(17).any(|window| {
            window.iter().enumerate().all(|(index, byte)| match index % 3 {
                2 => *byte == b':',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            })
        }),
        quantity if quantity.starts_with(r"^(\+|-)?(([0-9]+(\.[0-9]*)?)") => {
            let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
            let units = [
                "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "n", "u", "m", "k", "M", "G", "T", "P", "E",
            ];
            digits.len() < text.len() && units.contains(&digits)
        }
        other => panic!("teach the checker the pattern {other}"),
    }
}
