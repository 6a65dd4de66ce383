//! The documents tell the truth about the suite: each test that they name is there, and each case
//! of the suite's numbering is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The numbers of cases: a prefix, the last number, and the numbers between that are not used.
const CASES: [(&str, u32, &[u32]); 15] = [
    ("AZ", 45, &[19, 25]),
    ("RU", 18, &[]),
    ("PK", 18, &[13]),
    ("CD", 18, &[9, 17]),
    ("CA", 16, &[3]),
    ("RT", 21, &[7, 10]),
    ("PW", 13, &[]),
    ("RV", 10, &[]),
    ("IN", 10, &[7]),
    ("BR", 14, &[8]),
    ("HT", 17, &[10, 14]),
    ("JW", 25, &[15, 17]),
    ("OD", 11, &[]),
    ("BF", 13, &[7]),
    ("ED", 23, &[5, 6, 10]),
];

#[test]
fn every_case_is_in_the_table_of_conformance() {
    let words = ids(&read("docs/conformance.md"));
    for (prefix, last, unused) in CASES {
        for number in (1..=last).filter(|number| !unused.contains(number)) {
            let id = format!("{prefix}{number:02}");
            assert!(words.contains(&id), "docs/conformance.md does not name {id}");
        }
    }
}

#[test]
fn every_fault_is_in_the_page_on_reliability() {
    let words = ids(&read("docs/reliability.md"));
    let faults = (1..=30).map(|number| format!("F{number}"));
    for id in faults.chain((1..=8).map(|number| format!("I{number}"))) {
        assert!(words.contains(&id), "docs/reliability.md does not name {id}");
    }
}

/// All words of a text, and those between the two ends of `AZ02–AZ04` and `BR04 to BR06`.
fn ids(text: &str) -> BTreeSet<String> {
    let split = |id: &str| {
        let digits = id.len() - id.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (prefix, number) = id.split_at(id.len() - digits);
        Some((prefix.to_owned(), digits, number.parse::<u32>().ok()?))
    };
    let text = text.replace('–', " to ");
    let words: Vec<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut ids: BTreeSet<String> = words.iter().map(|word| (*word).to_owned()).collect();
    for window in words.windows(3) {
        let [first, "to", last] = window else { continue };
        if let (Some((prefix, width, first)), Some((other, _, last))) = (split(first), split(last))
            && prefix == other
        {
            ids.extend((first..=last).map(|number| format!("{prefix}{number:0width$}")));
        }
    }
    ids
}

#[test]
fn ranges_of_ids_are_read() {
    let read = ids("AZ02–AZ04, BR04 to BR06 and F1");
    for id in ["AZ02", "AZ03", "AZ04", "BR05", "F1"] {
        assert!(read.contains(id), "{id}");
    }
    assert!(!read.contains("AZ05") && !read.contains("F2"));
}

/// The functions that are declared, by their file, which is named as from the root, without `.rs`.
type Functions = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_test_that_a_document_names_is_there() {
    let functions = functions();
    for document in ["docs/conformance.md", "docs/reliability.md", "docs/architecture.md"] {
        let text = read(document);
        // What stands between backticks: every second piece.
        for quoted in text.split('`').skip(1).step_by(2) {
            assert!(
                is_there(quoted, &functions),
                "{document} names `{quoted}`, which is not there"
            );
        }
    }
}

#[test]
fn a_test_is_looked_for_where_it_is_said_to_be() {
    let functions = functions();
    for there in [
        "documents::a_test_is_looked_for_where_it_is_said_to_be",
        "documents::a_test_is_looked_for_*",
        "a_test_is_looked_for_where_it_is_said_to_be",
        "code::a_wrong_verifier_gets_nothing",
        "http::tests",
        "documents::*",
        "key.rs",
    ] {
        assert!(is_there(there, &functions), "{there}");
    }
    for absent in [
        "code::a_test_is_looked_for_where_it_is_said_to_be",
        "code::a_test_is_looked_for_*",
        "no_module::a_test_is_looked_for_where_it_is_said_to_be",
        "no_module::*",
        "there_is_no_such_test",
    ] {
        assert!(!is_there(absent, &functions), "{absent}");
    }
}

/// Looks for `module::name`, `module::prefix_*`, `module::*`, and for names alone that are long
/// enough to be those of tests. Whatever else is quoted is taken to be there.
fn is_there(quoted: &str, functions: &Functions) -> bool {
    let is_name = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    let path: Vec<&str> = quoted.split("::").collect();
    let (name, module) = match path.as_slice() {
        ["module", ..] => return true, // How tests are written, in words.
        [name] if name.matches('_').count() >= 3 => (*name, None),
        [module, name, ..] if is_name(module) => (*name, Some(*module)),
        _ => return true,
    };
    let has = |names: &BTreeSet<String>| match name.strip_suffix('*') {
        Some(prefix) => names.iter().any(|known| known.starts_with(prefix)),
        None => !is_name(name) || names.contains(name),
    };
    let Some(module) = module else { return functions.values().any(has) };
    // What a module of the product has may be a file of its own.
    let rooms = [format!("/{module}/{name}"), format!("{module}/src/{name}")];
    let is_room = |file: &String| rooms.iter().any(|room| file.ends_with(room));
    if functions.keys().any(|file| !file.starts_with("tests/") && is_room(file)) {
        return true;
    }
    if let Some(names) = functions.get(&format!("tests/{module}")) {
        return has(names);
    }
    let mut of_the_product =
        functions.iter().filter(|(file, _)| file.split('/').any(|part| part == module));
    of_the_product.any(|(_, names)| has(names))
}

/// Returns the functions of all sources.
fn functions() -> Functions {
    let mut functions = Functions::new();
    add_functions(&stack::root(), &mut functions);
    functions
}

/// Collects the names of the functions in all sources below a folder.
fn add_functions(folder: &Path, functions: &mut Functions) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if !["target", "node_modules", "build", ".git"].iter().any(|other| name == *other) {
                add_functions(&path, functions);
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Of macros that make tests, the names stand alone on their lines.
            let names = text.lines().map(str::trim).map(|line| {
                let declared = line.split("fn ").nth(1).unwrap_or(line);
                let end = declared.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                declared[..end.unwrap_or(declared.len())].to_owned()
            });
            let file = path.strip_prefix(stack::root()).unwrap().with_extension("");
            functions.insert(file.to_string_lossy().into_owned(), names.collect());
        }
    }
}

fn read(document: &str) -> String {
    fs::read_to_string(stack::root().join(document)).unwrap_or_default()
}
