//! The example data set comes out as its generator, which knew the clean values, says that it should.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use backroom_sdk::ErrorClass;
use backroom_sdk::testing::TestHost;
use serde_json::{Value, json};

fn example(file: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/contacts").join(file)).unwrap()
}

fn run(handler: &str, input: &Value) -> backroom_sdk::testing::Run {
    TestHost::new().dispatch::<crate::Exports>(handler, input.to_string())
}

#[test]
fn the_example_comes_out_as_expected() {
    let (csv, expected) = (example("contacts.csv"), String::from_utf8(example("expected.csv")).unwrap());
    let mut lines = csv.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
    let header: Vec<&str> = std::str::from_utf8(lines.next().unwrap()).unwrap().split(',').collect();
    let mut expected = expected.lines();
    let columns: Vec<&str> = expected.next().unwrap().split(',').skip(1).collect();

    let mut cleaned = Vec::new();
    for (line, (row, expected)) in (2..).zip(lines.zip(expected)) {
        let expected: BTreeMap<&str, &str> = columns.iter().copied().zip(expected.split(',').skip(1)).collect();
        let row = std::str::from_utf8(row).map_or_else(|_| json!(row), |text| json!(text));
        let run = run("clean-row", &json!({ "line": line, "row": row, "header": header }));
        if let Err(failure) = &run.result {
            assert_eq!(failure.class, Some(ErrorClass::Business), "{failure}");
            assert_eq!(failure.code.as_deref(), Some(expected["failure"]), "{failure}");
            continue;
        }
        let output = run.output();
        for (column, value) in expected {
            let found = if column == "dedup_key" { &output[column] } else { &output["contact"][column] };
            assert_eq!(found.as_str().unwrap_or_default(), value, "{column} in line {line}");
        }
        cleaned.push(output);
    }

    let expected: Value = serde_json::from_slice(&example("expected.json")).unwrap();
    assert_eq!(expected["succeeded"], cleaned.len());
    let cleaned = json!(cleaned);
    assert!(cleaned.to_string().len() < 1024 * 1024, "all rows together must fit in the input of one job");
    let summary = run("summarise", &cleaned).output();
    for entry in summary["countries"].as_array().unwrap() {
        assert_eq!(entry["contacts"], expected["contacts_by_country"][entry["country"].as_str().unwrap()]);
    }
    for entry in summary["totals"].as_array().unwrap() {
        let total = json!({ "orders": entry["orders"], "amount": entry["amount"] });
        assert_eq!(total, expected["totals"][entry["currency"].as_str().unwrap()]);
    }
    assert_eq!(summary["contacts"], expected["contacts"]);
    assert_eq!(summary["repeated_orders"], expected["repeated_orders"]);
    assert_eq!(summary["duplicates"].as_array().unwrap().len(), expected["contacts_with_several_rows"]);
}
