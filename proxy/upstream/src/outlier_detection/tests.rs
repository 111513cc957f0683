use super::*;
use crate::config::cluster::outlier_detection::{FailurePercentage, SuccessRate};

const BASE: Duration = Duration::from_secs(30);

fn settings() -> OutlierSettings {
    OutlierSettings {
        interval: Duration::from_secs(10),
        base_ejection_time: BASE,
        max_ejection_time: Duration::from_secs(300),
        max_ejection_time_jitter: Duration::ZERO,
        max_ejection_percent: 100,
        always_eject_one_host: false,
        consecutive_5xx: Trigger {
            count: 3,
            enforcing: 100,
        },
        consecutive_gateway_failure: Trigger {
            count: 2,
            enforcing: 0,
        },
        consecutive_local_origin_failure: Trigger {
            count: 2,
            enforcing: 100,
        },
        split_external_local_origin_errors: false,
        success_rate: [SuccessRate {
            enforcing: 0,
            minimum_hosts: 5,
            request_volume: 100,
            stdev_factor: 1.9,
        }; 2],
        failure_percentage: [FailurePercentage {
            enforcing: 0,
            minimum_hosts: 5,
            request_volume: 50,
            threshold: 85.0,
        }; 2],
    }
}

fn detector(settings: OutlierSettings, hosts: usize) -> (OutlierDetection, Vec<Arc<HostMonitor>>) {
    let monitors: Vec<Arc<HostMonitor>> = (0..hosts).map(|_| Arc::default()).collect();
    let detector = OutlierDetection::new(settings);
    detector.set_hosts(monitors.iter().cloned());
    (detector, monitors)
}

#[test]
fn errors_in_a_row_eject_and_a_success_between_them_does_not() {
    let now = Instant::now();
    let (detector, hosts) = detector(settings(), 4);
    for status in [500, 500, 200, 500, 503] {
        detector.record(&hosts[0], Outcome::Response(status), now);
    }
    assert!(!hosts[0].ejected());
    assert_eq!(detector.generation(), 0);
    detector.record(&hosts[0], Outcome::Response(500), now);
    assert!(hosts[0].ejected());
    assert_eq!((detector.generation(), detector.ejections_active()), (1, 1));
}

/// Fails the host until it is ejected, then sweeps every second; returns for how many seconds it was away.
fn seconds_away(detector: &OutlierDetection, host: &HostMonitor, now: &mut Instant) -> u64 {
    (0..3).for_each(|_| detector.record(host, Outcome::Response(500), *now));
    assert!(host.ejected());
    let start = *now;
    while host.ejected() {
        sweep_after(detector, 1, now);
    }
    now.duration_since(start).as_secs()
}

fn sweep_after(detector: &OutlierDetection, seconds: u64, now: &mut Instant) {
    *now += Duration::from_secs(seconds);
    detector.sweep(*now);
}

fn growing() -> OutlierSettings {
    OutlierSettings {
        interval: Duration::from_secs(1),
        base_ejection_time: Duration::from_secs(2),
        max_ejection_time: Duration::from_secs(7),
        ..settings()
    }
}

#[test]
fn each_ejection_of_a_host_that_fails_at_once_lasts_longer() {
    let (detector, hosts) = detector(growing(), 1);
    let mut now = Instant::now();
    let away: Vec<u64> = (0..6)
        .map(|_| seconds_away(&detector, &hosts[0], &mut now))
        .collect();
    assert_eq!(
        away,
        [2, 4, 6, 7, 7, 7],
        "the n-th n times as long, up to the maximum"
    );
}

#[test]
fn ejection_times_shrink_by_each_interval_that_the_host_is_back() {
    let (detector, hosts) = detector(growing(), 1);
    let mut now = Instant::now();
    let mut away = |quiet_sweeps: u64| {
        (0..quiet_sweeps).for_each(|_| sweep_after(&detector, 1, &mut now));
        seconds_away(&detector, &hosts[0], &mut now)
    };
    assert_eq!([0, 0, 0].map(&mut away), [2, 4, 6]);
    assert_eq!([2, 1, 0, 9].map(&mut away), [4, 4, 6, 2]);
}

#[test]
fn a_sweep_before_the_host_is_back_for_an_interval_forgives_nothing() {
    let slow = OutlierSettings {
        interval: Duration::from_secs(10),
        ..growing()
    };
    let (detector, hosts) = detector(slow, 1);
    let mut now = Instant::now();
    assert_eq!(seconds_away(&detector, &hosts[0], &mut now), 2);
    sweep_after(&detector, 9, &mut now);
    assert_eq!(seconds_away(&detector, &hosts[0], &mut now), 4);
}

#[test]
fn an_endpoint_that_is_listed_twice_is_one_host() {
    let now = Instant::now();
    let (detector, hosts) = detector(settings(), 1);
    (0..3).for_each(|_| detector.record(&hosts[0], Outcome::Response(500), now));
    detector.set_hosts([hosts[0].clone(), hosts[0].clone()]);
    assert_eq!(detector.ejections_active(), 1);
    detector.sweep(now + BASE);
    assert!(!hosts[0].ejected());
}

#[test]
fn the_percentage_bounds_ejections() {
    let now = Instant::now();
    let limited = OutlierSettings {
        max_ejection_percent: 50,
        ..settings()
    };
    let (detector, hosts) = detector(limited, 3);
    for host in &hosts {
        (0..3).for_each(|_| detector.record(host, Outcome::Response(500), now));
    }
    let ejected: Vec<bool> = hosts.iter().map(|host| host.ejected()).collect();
    assert_eq!(ejected, [true, false, false], "two of three would be 67 %");
}

#[test]
fn a_small_percentage_of_few_hosts_is_none_unless_one_is_always_allowed() {
    let now = Instant::now();
    for (always_eject_one_host, expected) in [(false, false), (true, true)] {
        let limited = OutlierSettings {
            max_ejection_percent: 10,
            always_eject_one_host,
            ..settings()
        };
        let (detector, hosts) = detector(limited, 3);
        (0..3).for_each(|_| detector.record(&hosts[0], Outcome::Response(500), now));
        assert_eq!(hosts[0].ejected(), expected);
    }
}

#[test]
fn gateway_errors_have_a_count_of_their_own() {
    let now = Instant::now();
    let gateway = OutlierSettings {
        consecutive_5xx: Trigger {
            count: 0,
            enforcing: 0,
        },
        consecutive_gateway_failure: Trigger {
            count: 2,
            enforcing: 100,
        },
        ..settings()
    };
    let (detector, hosts) = detector(gateway, 2);
    for status in [503, 500, 502] {
        detector.record(&hosts[0], Outcome::Response(status), now);
    }
    assert!(!hosts[0].ejected(), "a 500 breaks the row");
    detector.record(&hosts[0], Outcome::LocalTimeout, now);
    assert!(hosts[0].ejected(), "a timeout counts as 504");
}

#[test]
fn local_failures_count_apart_when_split() {
    let now = Instant::now();
    let split = OutlierSettings {
        split_external_local_origin_errors: true,
        ..settings()
    };
    let (detector, hosts) = detector(split, 2);
    detector.record(&hosts[0], Outcome::LocalFailure, now);
    detector.record(&hosts[0], Outcome::Response(500), now);
    detector.record(&hosts[0], Outcome::Connected, now);
    detector.record(&hosts[0], Outcome::LocalFailure, now);
    assert!(!hosts[0].ejected());
    detector.record(&hosts[0], Outcome::LocalTimeout, now);
    assert!(hosts[0].ejected());
}

#[test]
fn counts_are_exact_over_workers() {
    let many = OutlierSettings {
        consecutive_5xx: Trigger {
            count: 2000,
            enforcing: 100,
        },
        ..settings()
    };
    let (detector, hosts) = detector(many, 2);
    let (detector, host) = (Arc::new(detector), hosts[0].clone());
    let fail = |times: usize| {
        let (detector, host) = (detector.clone(), host.clone());
        std::thread::spawn(move || {
            (0..times).for_each(|_| detector.record(&host, Outcome::Response(500), Instant::now()));
        })
    };
    for worker in [fail(1000), fail(999)] {
        worker.join().unwrap();
    }
    assert!(!host.ejected());
    fail(1).join().unwrap();
    assert!(host.ejected());
}

#[test]
fn a_host_that_left_frees_its_share() {
    let now = Instant::now();
    let limited = OutlierSettings {
        max_ejection_percent: 50,
        ..settings()
    };
    let (detector, hosts) = detector(limited, 2);
    (0..3).for_each(|_| detector.record(&hosts[0], Outcome::Response(500), now));
    assert!(hosts[0].ejected());
    let newcomer = Arc::<HostMonitor>::default();
    detector.set_hosts([hosts[1].clone(), newcomer.clone()]);
    assert_eq!(detector.ejections_active(), 0);
    (0..3).for_each(|_| detector.record(&newcomer, Outcome::Response(500), now));
    assert!(newcomer.ejected());
}

#[test]
fn the_success_rate_threshold_is_mean_less_deviations() {
    let rates: Vec<(usize, f64)> = [50.0, 100.0, 100.0, 100.0, 100.0]
        .into_iter()
        .enumerate()
        .collect();
    assert!((success_rate_threshold(&rates, 1.9) - 52.0).abs() < 1e-9);
}

#[test]
fn a_host_far_below_the_mean_is_ejected_at_the_sweep() {
    let now = Instant::now();
    let mut by_rate = settings();
    by_rate.consecutive_5xx.count = 0;
    by_rate.success_rate[EXTERNAL].enforcing = 100;
    let (detector, hosts) = detector(by_rate, 5);
    for (at, host) in hosts.iter().enumerate() {
        for n in 0..100 {
            let status = if at == 3 && n % 2 == 0 { 500 } else { 200 };
            detector.record(host, Outcome::Response(status), now);
        }
    }
    assert!(!hosts[3].ejected());
    detector.sweep(now);
    let ejected: Vec<bool> = hosts.iter().map(|host| host.ejected()).collect();
    assert_eq!(ejected, [false, false, false, true, false]);
}

#[test]
fn a_host_over_the_failure_percentage_is_ejected_at_the_sweep() {
    let now = Instant::now();
    let mut by_failure = settings();
    by_failure.consecutive_5xx.count = 0;
    by_failure.failure_percentage[EXTERNAL] = FailurePercentage {
        enforcing: 100,
        minimum_hosts: 1,
        request_volume: 10,
        threshold: 85.0,
    };
    let (detector, hosts) = detector(by_failure, 2);
    for n in 0..20 {
        detector.record(
            &hosts[0],
            Outcome::Response(if n < 17 { 500 } else { 200 }),
            now,
        );
        detector.record(
            &hosts[1],
            Outcome::Response(if n < 16 { 500 } else { 200 }),
            now,
        );
    }
    detector.sweep(now);
    assert!(hosts[0].ejected() && !hosts[1].ejected());
}
