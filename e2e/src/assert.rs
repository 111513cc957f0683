//! What cases judge reports by.

use anyhow::{Context, Result, ensure};

use crate::traffic::Report;

/// How far counts may be from their weights: one run in 15,000 is farther by chance.
const STANDARD_DEVIATIONS: f64 = 4.0;

/// Every request was answered with `status`.
pub fn all(report: &Report, status: &str) -> Result<()> {
    let counted = report.statuses.get(status).copied().unwrap_or(0);
    ensure!(
        counted == report.sent && report.sent > 0,
        "{counted} of {} requests got {status}: statuses {:?}, errors {:?}, first failure {:?}",
        report.sent,
        report.statuses,
        report.errors,
        report
            .first_failure
            .as_ref()
            .map(|answer| answer.body.trim())
    );
    Ok(())
}

/// Every request was answered with success by one of `groups`, and each of them answered.
pub fn only(report: &Report, groups: &[&str]) -> Result<()> {
    all(report, "200")?;
    let mut seen: Vec<&str> = report.groups.keys().map(String::as_str).collect();
    let mut expected = groups.to_vec();
    seen.sort_unstable();
    expected.sort_unstable();
    ensure!(
        seen == expected,
        "{expected:?} should answer: {:?}",
        report.groups
    );
    Ok(())
}

/// Success everywhere, and counts within four standard deviations of the weights (in percent).
pub fn weights(report: &Report, weights: &[(&str, f64)]) -> Result<()> {
    all(report, "200")?;
    let answered = report.answered as f64;
    let mut known = 0;
    for (group, percent) in weights {
        let share = percent / 100.0;
        let counted = report.groups.get(*group).copied().unwrap_or(0);
        known += counted;
        let expected = answered * share;
        let tolerance = STANDARD_DEVIATIONS * (answered * share * (1.0 - share)).sqrt();
        ensure!(
            (counted as f64 - expected).abs() <= tolerance,
            "{group} answered {counted} of {answered}, expected {expected:.0} \u{b1} {tolerance:.0}"
        );
    }
    ensure!(
        known == report.answered,
        "others answered too: {:?}",
        report.groups
    );
    Ok(())
}

/// `text` contains `part`.
pub fn contains(text: &str, part: &str) -> Result<()> {
    let shown: String = text.chars().take(600).collect();
    ensure!(text.contains(part), "\"{part}\" is missing in: {shown}");
    Ok(())
}

/// `text` does not contain `part`.
pub fn lacks(text: &str, part: &str) -> Result<()> {
    match text.lines().find(|line| line.contains(part)) {
        Some(line) => anyhow::bail!("\"{part}\" should not be there: {line}"),
        None => Ok(()),
    }
}

/// The value of the first sample in Prometheus' text format whose name is `name` and that has all `labels`.
pub fn metric(text: &str, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .find(|line| {
            let has = |(key, value): &(&str, &str)| line.contains(&format!("{key}=\"{value}\""));
            labels.iter().all(has)
        })
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .with_context(|| {
            let same_name: Vec<_> = text
                .lines()
                .filter(|line| line.starts_with(name))
                .take(5)
                .collect();
            format!("no sample {name} with {labels:?}; there are {same_name:#?}")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(groups: &[(&str, u64)]) -> Report {
        let sent = groups.iter().map(|(_, count)| count).sum();
        Report {
            sent,
            answered: sent,
            statuses: [("200".to_owned(), sent)].into(),
            groups: groups
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            ..Report::default()
        }
    }

    #[test]
    fn counts_near_their_weights_pass() {
        let split = [("v1", 90.0), ("v2", 10.0)];
        assert!(weights(&report(&[("v1", 1790), ("v2", 210)]), &split).is_ok());
        assert!(weights(&report(&[("v1", 1700), ("v2", 300)]), &split).is_err());
        assert!(weights(&report(&[("v1", 1800), ("v2", 190), ("v3", 10)]), &split).is_err());
    }

    #[test]
    fn one_wrong_version_is_too_many() {
        assert!(only(&report(&[("v1", 200)]), &["v1"]).is_ok());
        assert!(only(&report(&[("v1", 199), ("v2", 1)]), &["v1"]).is_err());
        assert!(only(&report(&[("v1", 200)]), &["v1", "v2"]).is_err());
    }

    #[test]
    fn metrics_are_found_by_labels_in_any_order() {
        let text = "# TYPE a counter\na_b{x=\"1\"} 9\na{y=\"2\",x=\"1\"} 3\n";
        assert_eq!(metric(text, "a", &[("x", "1"), ("y", "2")]).unwrap(), 3.0);
        assert!(metric(text, "a", &[("x", "2")]).is_err());
    }
}
