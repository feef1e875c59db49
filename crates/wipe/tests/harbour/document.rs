//! docs/wiping.md shows the lists as they are.

use std::fs;

use wipe::harbour::list::{HOMES, KEPT, RULES};

/// The lines of a table, without those that every table has.
fn table<'t>(document: &'t str, heading: &str) -> Vec<&'t str> {
    let after =
        document.split_once(&format!("\n#### {heading}\n")).expect("the heading is there").1;
    let lines = after.lines().skip_while(|line| !line.starts_with('|'));
    lines.skip(2).take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn the_document_shows_what_goes_and_what_stays() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/wiping.md");
    let document = fs::read_to_string(path).expect("the document is there");
    let check = |heading: &str, lines: Vec<String>| {
        assert_eq!(table(&document, heading), lines, "{heading} is\n{}", lines.join("\n"));
    };
    let rule = |rule: &wipe::harbour::list::Rule| {
        format!("| `{}` | {} | {} | {} |", rule.path, rule.takes.words(), rule.owner, rule.what)
    };
    check("What goes", RULES.iter().map(rule).collect());
    check(
        "What stays",
        KEPT.iter().map(|kept| format!("| `{}` | {} |", kept.path, kept.what)).collect(),
    );
    let home = |(name, places): &(&str, &[&str])| {
        let places: Vec<_> = places.iter().map(|place| format!("`{place}`")).collect();
        format!("| `{name}` | {} |", places.join(", "))
    };
    check("Where it is", HOMES.iter().map(home).collect());
}
