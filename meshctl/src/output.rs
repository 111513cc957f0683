//! Everything that is printed: tables, JSON, YAML, findings and errors.
//!
//! Colours obey `NO_COLOR` and pipes. Answers go to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{Table, presets};
use mesh_api::diagnostic::{Diagnostic, Severity};
use serde::Serialize;

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For files.
    Yaml,
}

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();

/// How a word is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Not yet, or not quite.
    Doubtful,
    /// Broken.
    Bad,
    /// Less important.
    Faint,
}

/// Colours a word.
pub fn tone(tone: Tone, text: &str) -> String {
    let style = match tone {
        Tone::Good => GOOD,
        Tone::Doubtful => DOUBTFUL,
        Tone::Bad => BAD,
        Tone::Faint => FAINT,
    };
    format!("{style}{text}{style:#}")
}

/// Prints a line.
pub fn line(text: &str) -> Result<()> {
    ignore_closed_pipe(writeln!(anstream::stdout(), "{text}"))
}

/// Prints bytes as they are.
pub fn raw(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    ignore_closed_pipe(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Prints `text` over the `drawn` lines printed before.
pub fn redraw(text: &str, drawn: usize) -> Result<()> {
    let mut out = anstream::stdout().lock();
    let up = if drawn > 0 {
        format!("\x1b[{drawn}A\x1b[J")
    } else {
        String::new()
    };
    ignore_closed_pipe(writeln!(out, "{up}{text}").and_then(|()| out.flush()))
}

/// Prints bytes as they are to standard error.
pub fn raw_error(bytes: &[u8]) -> Result<()> {
    ignore_closed_pipe(io::stderr().lock().write_all(bytes))
}

/// Prints to standard error what is no part of the answer.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints an error with its causes.
pub fn error(error: &anyhow::Error) {
    note(&format!("{}: {error:#}", tone(Tone::Bad, "error")));
}

/// Whether somebody is looking.
pub fn is_interactive() -> bool {
    io::stdout().is_terminal()
}

/// Prints a value as JSON or YAML.
pub fn structured(format: Format, value: &impl Serialize) -> Result<()> {
    match format {
        Format::Yaml => raw(serde_saphyr::to_string(value)
            .context("cannot write YAML")?
            .as_bytes()),
        Format::Json | Format::Table => line(&serde_json::to_string_pretty(value)?),
    }
}

/// A table without borders, as wide as its content.
pub fn table(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heading.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    let text = table.to_string();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A finding with its severity in colour.
pub fn finding(finding: &Diagnostic) -> String {
    let word = finding.severity.to_string();
    let style = match finding.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Doubtful,
        Severity::Info => Tone::Faint,
    };
    let toned = format!(": {}[", tone(style, &word));
    finding
        .to_string()
        .replacen(&format!(": {word}["), &toned, 1)
}

/// A reader that has seen enough is no error.
fn ignore_closed_pipe(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = vec![
            vec!["default".into(), "a".into()],
            vec!["x".into(), "long-name".into()],
        ];
        assert_eq!(
            table(&["NAMESPACE", "POD"], rows),
            "NAMESPACE   POD\ndefault     a\nx           long-name"
        );
    }
}
