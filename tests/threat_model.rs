//! `docs/threat-model.md` names a test for each of its lines: the tests are there.

use std::path::Path;

/// Every Rust file below `directory`, with its path.
fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for directory in ["src", "tests", "widget"] {
        sources(&root.join(directory), &mut all);
    }
    let text = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let names: Vec<_> = text.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains("::")).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let last = name.rsplit("::").next().unwrap();
        let (function, file) = (format!("fn {last}("), format!("/{last}.rs"));
        let exists = last == "…" || all.iter().any(|(path, text)| text.contains(&function) || path.ends_with(&file));
        assert!(exists, "docs/threat-model.md names {name}");
    }
}
