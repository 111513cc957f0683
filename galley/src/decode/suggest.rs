//! "Did you mean": the known name nearest to an unknown one.

/// Longer than every name that could be meant.
const NAME_BYTES_MAX: usize = 256;

/// `did you mean "x"?` for the closest candidate, if one is close enough.
pub(crate) fn did_you_mean(name: &str, candidates: &[&str]) -> Option<String> {
    nearest(name, candidates.iter().copied()).map(|found| format!("did you mean \"{found}\"?"))
}

/// The candidate with the fewest edits, at most about a third of the name.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let edits_max = (name.len() / 3).clamp(1, 4);
    let folded = name.to_lowercase();
    let length = folded.chars().count();
    candidates
        .into_iter()
        // A comparison takes the product of the lengths, which need not differ by more than the edits.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= edits_max)
        .map(|candidate| (distance(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_name() {
        let fields = ["match", "route", "redirect", "retries", "timeout"];
        assert_eq!(nearest("mach", fields), Some("match"));
        assert_eq!(nearest("routes", fields), Some("route"));
        assert_eq!(nearest("retires", fields), Some("retries"));
        assert_eq!(nearest("TIMEOUT", fields), Some("timeout"));
    }

    #[test]
    fn says_nothing_when_nothing_is_near() {
        assert_eq!(did_you_mean("corsPolicy", &["match", "route"]), None);
    }
}
