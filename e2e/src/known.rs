//! Cases that are known not to hold yet, each with its reason.
//!
//! Such a case still runs and its failure is still printed; it only does not fail the run. One that passes is
//! reported, so that its line is taken away.

use crate::args::DataPlane;

/// The list: `DATA-PLANE CASE REASON`, one a line.
const LIST: &str = include_str!("../known-failures.txt");

/// Why a case is known to fail with a data plane.
pub fn reason(case: &str, data_plane: DataPlane) -> Option<&'static str> {
    find(LIST, case, data_plane)
}

fn find<'a>(list: &'a str, case: &str, data_plane: DataPlane) -> Option<&'a str> {
    let entries = list.lines().filter(|line| !line.starts_with('#'));
    entries.into_iter().find_map(|line| {
        let rest = line.strip_prefix(data_plane.name())?.strip_prefix(' ')?;
        rest.strip_prefix(case)?.strip_prefix(' ')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    #[test]
    fn an_entry_is_for_one_case_and_one_data_plane() {
        let list = "# weft egress not this\nweft protocols because\n";
        assert_eq!(find(list, "protocols", DataPlane::Weft), Some("because"));
        assert_eq!(find(list, "protocols", DataPlane::Envoy), None);
        assert_eq!(find(list, "egress", DataPlane::Weft), None);
    }

    #[test]
    fn every_entry_names_a_case() {
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            let case = line.split(' ').nth(1).unwrap_or_default();
            assert!(cases::ALL.iter().any(|known| known.name == case), "{line}");
        }
    }
}
