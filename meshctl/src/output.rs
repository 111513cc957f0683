//! Printing: the only place that writes to the terminal.

#![allow(clippy::print_stdout, reason = "this is where a command line prints")]

use std::fmt::Display;

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A line.
pub fn line(text: impl Display) {
    anstream::println!("{text}");
}

/// A line for people, beside the output.
pub fn note(text: impl Display) {
    anstream::eprintln!("{text}");
}

/// What went wrong, with its causes.
pub fn error(error: &anyhow::Error) {
    anstream::eprintln!("error: {error:#}");
}

/// Rows under a heading, two spaces between columns.
pub fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    anstream::println!(
        "{}",
        table
            .to_string()
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

/// A value as JSON or YAML.
///
/// # Errors
/// The value cannot be written.
pub fn document(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    match format {
        Format::Yaml => anstream::print!("{}", serde_saphyr::to_string(value)?),
        Format::Json | Format::Table => {
            anstream::println!("{}", serde_json::to_string_pretty(value)?)
        }
    }
    Ok(())
}
