//! How commands print: sentences and tables for people, JSON for programs.

use clap::ValueEnum;
use serde_json::Value;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON value.
    Json,
}

/// Prints results in one format.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
}

impl Output {
    /// Prints in `format`.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints an object: its members line by line, or as it is.
    pub fn object(&self, value: &Value) {
        match self.format {
            Format::Json => println!("{value:#}"),
            Format::Text => {
                let members = value.as_object().into_iter().flatten();
                for (name, value) in members.filter(|(_, value)| !value.is_null()) {
                    println!("{name:<28} {}", plain(value));
                }
            }
        }
    }

    /// Prints a list of objects as a table of some of their members, or as it is.
    pub fn list(&self, values: &[Value], columns: &[&str]) {
        if self.format == Format::Json {
            println!("{:#}", Value::from(values.to_vec()));
            return;
        }
        let rows: Vec<Vec<String>> =
            std::iter::once(columns.iter().map(ToString::to_string).collect())
                .chain(
                    values
                        .iter()
                        .map(|value| columns.iter().map(|column| plain(&value[*column])).collect()),
                )
                .collect();
        let widths: Vec<usize> = (0..columns.len())
            .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        for row in rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
