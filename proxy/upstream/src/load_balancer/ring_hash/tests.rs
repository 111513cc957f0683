//! Known answers are those of Envoy's own test of its ring (six hosts, ports 90 to 95, twelve places).

use proptest::prelude::*;

use super::*;

const OPTIONS: RingHashOptions = RingHashOptions {
    minimum_size: 12,
    maximum_size: 8 * 1024 * 1024,
    use_hostname: false,
};

fn keys(weights: &[f64]) -> Vec<(String, f64)> {
    let sum: f64 = weights.iter().sum();
    let hosts = weights.iter().enumerate();
    hosts
        .map(|(n, weight)| (format!("127.0.0.1:{}", 90 + n), weight / sum))
        .collect()
}

#[test]
fn the_ring_is_envoys() {
    assert_eq!(
        build(&keys(&[1.0; 6]), OPTIONS),
        [
            (833437586790550860, 4),
            (928266305478181108, 2),
            (1033482794131418490, 0),
            (3551244743356806947, 5),
            (3851675632748031481, 3),
            (5583722120771150861, 1),
            (6311230543546372928, 1),
            (7700377290971790572, 3),
            (13144177310400110813, 5),
            (13444792449719432967, 2),
            (15516499411664133160, 4),
            (16117243373044804889, 0),
        ]
    );
}

#[test]
fn a_hash_belongs_to_the_next_place() {
    let ring = build(&keys(&[1.0; 6]), OPTIONS);
    let host = |hash| ring[position(&ring, hash).unwrap()].1;
    assert_eq!(host(0), 4);
    assert_eq!(host(u64::MAX), 4, "behind the last place comes the first");
    assert_eq!(host(3551244743356806947), 5);
    assert_eq!(host(3551244743356806948), 3);
    assert_eq!(position(&[], 1), None);
}

#[test]
fn weights_share_the_ring() {
    let ring = build(
        &keys(&[1.0, 2.0, 3.0]),
        RingHashOptions {
            minimum_size: 6,
            ..OPTIONS
        },
    );
    let places = |host| ring.iter().filter(|(_, of)| *of == host).count();
    assert_eq!([places(0), places(1), places(2)], [1, 2, 3]);
}

#[test]
fn the_maximum_scales_the_ring_down() {
    let small = RingHashOptions {
        minimum_size: 1,
        maximum_size: 6,
        ..OPTIONS
    };
    assert_eq!(build(&keys(&[1.0; 4]), small).len(), 4);
    let smaller = RingHashOptions {
        minimum_size: 12,
        maximum_size: 6,
        ..OPTIONS
    };
    let ring = build(&keys(&[1.0; 4]), smaller);
    let places = |host| ring.iter().filter(|(_, of)| *of == host).count();
    assert_eq!([places(0), places(1), places(2), places(3)], [2, 1, 2, 1]);
}

proptest! {
    #[test]
    fn a_host_that_leaves_moves_only_its_own_keys(
        hosts in 2_usize..12,
        gone in 0_usize..12,
        hashes in proptest::collection::vec(any::<u64>(), 1..50),
    ) {
        let gone = gone % hosts;
        let options = RingHashOptions { minimum_size: 64 * hosts as u64, ..OPTIONS };
        let all = keys(&vec![1.0; hosts]);
        let mut left = all.clone();
        left.remove(gone);
        left.iter_mut().for_each(|(_, weight)| *weight = 1.0 / (hosts - 1) as f64);
        let fewer = RingHashOptions { minimum_size: 64 * (hosts as u64 - 1), ..OPTIONS };
        let (before, after) = (build(&all, options), build(&left, fewer));
        for hash in hashes {
            let old = &all[before[position(&before, hash).unwrap()].1 as usize].0;
            let new = &left[after[position(&after, hash).unwrap()].1 as usize].0;
            prop_assert!(*old == all[gone].0 || old == new);
        }
    }
}
