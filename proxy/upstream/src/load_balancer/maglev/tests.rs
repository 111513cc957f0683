//! Known answers are those of Envoy's own test of its table (six hosts, ports 90 to 95, seven places).

use proptest::prelude::*;

use super::*;

fn keys(weights: &[f64]) -> Vec<(String, f64)> {
    let sum: f64 = weights.iter().sum();
    let hosts = weights.iter().enumerate();
    hosts
        .map(|(n, weight)| (format!("127.0.0.1:{}", 90 + n), weight / sum))
        .collect()
}

#[test]
fn the_table_is_envoys() {
    assert_eq!(build(&keys(&[1.0; 6]), 7), [2, 4, 0, 1, 5, 0, 3]);
}

#[test]
fn weights_share_the_table() {
    let table = build(&keys(&[1.0, 2.0]), 17);
    let places = |host| table.iter().filter(|of| **of == host).count();
    assert_eq!([places(0), places(1)], [6, 11]);
    assert_eq!(table[..7], [1, 0, 0, 1, 0, 1, 1]);
}

#[test]
fn no_hosts_make_no_table() {
    assert_eq!(build(&[], 7), Vec::<u32>::new());
}

proptest! {
    #[test]
    fn every_host_has_its_share(hosts in 1_usize..20) {
        let table = build(&keys(&vec![1.0; hosts]), 251);
        for host in 0..hosts as u32 {
            let places = table.iter().filter(|of| **of == host).count();
            prop_assert!(places == 251 / hosts || places == 251 / hosts + 1);
        }
    }
}
