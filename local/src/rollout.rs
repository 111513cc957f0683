//! Which pods a workload should have: creation and deletion as a pure decision.
//!
//! A rolling update first adds up to a quarter more pods of the new revision and removes old ones
//! only when as many pods are ready as are wanted, so that no request has to find the service smaller.
//! Differs from Kubernetes, whose default lets a quarter be missing (`maxUnavailable: 25%`).

use std::time::Instant;

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::PodTemplateSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// How pods of a workload are named and replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// New pods first; at most this many more than wanted.
    Rolling {
        /// Additional pods during an update.
        surge: usize,
    },
    /// Old pods end before new ones start.
    Recreate,
    /// Pods have numbers, and are replaced one at a time from the last.
    Ordered,
}

/// What a workload wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Number of pods.
    pub replicas: usize,
    /// Hash of the template.
    pub revision: String,
    /// How to get there.
    pub strategy: Strategy,
}

/// A pod of the workload as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Pod name.
    pub name: String,
    /// Hash of the template it came from.
    pub revision: String,
    /// Whether it serves.
    pub ready: bool,
    /// Whether it is on its way out.
    pub terminating: bool,
    /// When it was made.
    pub created: Instant,
}

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// How many pods to create, or, for ordered ones, which numbers.
    pub create: Vec<usize>,
    /// Names of pods to delete.
    pub delete: Vec<String>,
}

/// Decides the next step.
pub fn plan(wanted: &Wanted, present: &[Present]) -> Actions {
    match wanted.strategy {
        Strategy::Rolling { surge } => rolling(wanted, present, surge),
        Strategy::Recreate => recreate(wanted, present),
        Strategy::Ordered => ordered(wanted, present),
    }
}

fn rolling(wanted: &Wanted, present: &[Present], surge: usize) -> Actions {
    let alive: Vec<_> = present.iter().filter(|pod| !pod.terminating).collect();
    let (mut new, mut old): (Vec<&Present>, Vec<&Present>) = alive
        .iter()
        .partition(|pod| pod.revision == wanted.revision);
    let room = (wanted.replicas + surge).saturating_sub(alive.len());
    let create = wanted.replicas.saturating_sub(new.len()).min(room);
    // Those that serve least go first, then the youngest.
    new.sort_by_key(|pod| (pod.ready, std::cmp::Reverse(pod.created)));
    old.sort_by_key(|pod| (pod.ready, pod.created));
    let mut delete: Vec<_> = new
        .iter()
        .take(new.len().saturating_sub(wanted.replicas))
        .map(|pod| pod.name.clone())
        .collect();
    let ready = alive
        .iter()
        .filter(|pod| pod.ready && !delete.contains(&pod.name))
        .count();
    let mut spare = ready.saturating_sub(wanted.replicas);
    for pod in old {
        if !pod.ready {
            delete.push(pod.name.clone());
        } else if spare > 0 {
            spare -= 1;
            delete.push(pod.name.clone());
        }
    }
    Actions {
        create: (0..create).collect(),
        delete,
    }
}

fn recreate(wanted: &Wanted, present: &[Present]) -> Actions {
    let old: Vec<_> = present
        .iter()
        .filter(|pod| pod.revision != wanted.revision)
        .collect();
    if old.is_empty() {
        return rolling(wanted, present, 0);
    }
    let delete = old
        .iter()
        .filter(|pod| !pod.terminating)
        .map(|pod| pod.name.clone())
        .collect();
    Actions {
        create: Vec::new(),
        delete,
    }
}

fn ordered(wanted: &Wanted, present: &[Present]) -> Actions {
    let number = |pod: &Present| {
        pod.name
            .rsplit_once('-')
            .and_then(|(_, number)| number.parse::<usize>().ok())
    };
    let at = |index| present.iter().find(|pod| number(pod) == Some(index));
    if let Some(pod) = present
        .iter()
        .rfind(|pod| number(pod).is_none_or(|n| n >= wanted.replicas))
    {
        let delete = if pod.terminating {
            vec![]
        } else {
            vec![pod.name.clone()]
        };
        return Actions {
            create: vec![],
            delete,
        };
    }
    // The first that is missing or not ready holds up all later ones.
    for index in 0..wanted.replicas {
        match at(index) {
            None => {
                return Actions {
                    create: vec![index],
                    delete: vec![],
                };
            }
            Some(pod) if pod.revision == wanted.revision && !pod.ready => {
                return Actions::default();
            }
            Some(_) => {}
        }
    }
    let outdated = (0..wanted.replicas)
        .rev()
        .filter_map(at)
        .find(|pod| pod.revision != wanted.revision && !pod.terminating);
    Actions {
        create: vec![],
        delete: outdated.map(|pod| pod.name.clone()).into_iter().collect(),
    }
}

/// The strategy a Deployment asks for.
pub fn deployment_strategy(deployment: &Deployment, replicas: usize) -> Strategy {
    let strategy = deployment.spec.strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return Strategy::Recreate;
    }
    let surge = strategy
        .and_then(|strategy| strategy.rolling_update.as_ref())
        .and_then(|rolling| rolling.max_surge.clone());
    let surge = match surge {
        Some(IntOrString::Int(count)) => usize::try_from(count).unwrap_or(0),
        Some(IntOrString::String(text)) => {
            share(replicas, text.trim_end_matches('%').parse().unwrap_or(25))
        }
        None => share(replicas, 25),
    };
    // Without any surge and with nothing allowed to be missing, an update could never begin.
    Strategy::Rolling {
        surge: surge.max(1),
    }
}

fn share(replicas: usize, percent: usize) -> usize {
    (replicas * percent).div_ceil(100)
}

/// A short name for a template: equal templates have equal names.
pub fn revision(template: &PodTemplateSpec) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = serde_json::to_string(template).unwrap_or_default();
    // FNV-1a: stable across runs, and collisions only cost an update that is not noticed.
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut name = String::new();
    for _ in 0..9 {
        let index = usize::try_from(hash % ALPHABET.len() as u64).unwrap_or(0);
        name.push(char::from(ALPHABET[index]));
        hash /= ALPHABET.len() as u64;
    }
    name
}

/// A random suffix for a pod's name.
pub fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(replicas: usize, strategy: Strategy) -> Wanted {
        Wanted {
            replicas,
            revision: "new".into(),
            strategy,
        }
    }

    /// `name:revision:state`, state r(eady), s(tarting) or t(erminating).
    fn pods(list: &[&str]) -> Vec<Present> {
        let now = Instant::now();
        let pod = |text: &&str| {
            let parts: Vec<_> = text.split(':').collect();
            Present {
                name: parts[0].into(),
                revision: parts[1].into(),
                ready: parts[2] == "r",
                terminating: parts[2] == "t",
                created: now,
            }
        };
        list.iter().map(pod).collect()
    }

    fn check(wanted: &Wanted, present: &[&str], create: &[usize], delete: &[&str]) {
        let expected = Actions {
            create: create.to_vec(),
            delete: delete.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(plan(wanted, &pods(present)), expected, "{present:?}");
    }

    #[test]
    fn a_rolling_update_never_has_fewer_ready_pods() {
        let wanted = wanted(2, Strategy::Rolling { surge: 1 });
        check(&wanted, &[], &[0, 1], &[]);
        check(&wanted, &["a:old:r", "b:old:r"], &[0], &[]);
        check(&wanted, &["a:old:r", "b:old:r", "c:new:s"], &[], &[]);
        check(&wanted, &["a:old:r", "b:old:r", "c:new:r"], &[], &["a"]);
        check(&wanted, &["a:old:t", "b:old:r", "c:new:r"], &[0], &[]);
        check(&wanted, &["b:old:r", "c:new:r", "d:new:r"], &[], &["b"]);
        check(&wanted, &["c:new:r", "d:new:r"], &[], &[]);
    }

    #[test]
    fn pods_that_do_not_serve_go_at_once() {
        let wanted = wanted(1, Strategy::Rolling { surge: 1 });
        check(&wanted, &["a:old:s"], &[0], &["a"]);
        check(&wanted, &["a:new:r", "b:new:s"], &[], &["b"]);
    }

    #[test]
    fn recreate_waits_for_the_old_pods_to_be_gone() {
        let wanted = wanted(1, Strategy::Recreate);
        check(&wanted, &["a:old:r"], &[], &["a"]);
        check(&wanted, &["a:old:t"], &[], &[]);
        check(&wanted, &[], &[0], &[]);
    }

    #[test]
    fn ordered_pods_come_one_after_the_other_and_are_replaced_from_the_last() {
        let wanted = wanted(2, Strategy::Ordered);
        check(&wanted, &[], &[0], &[]);
        check(&wanted, &["w-0:new:s"], &[], &[]);
        check(&wanted, &["w-0:new:r"], &[1], &[]);
        check(&wanted, &["w-0:old:r", "w-1:old:r"], &[], &["w-1"]);
        check(&wanted, &["w-0:old:r", "w-1:new:s"], &[], &[]);
        check(&wanted, &["w-0:old:r", "w-1:new:r"], &[], &["w-0"]);
        check(
            &wanted,
            &["w-0:new:r", "w-1:new:r", "w-2:new:r"],
            &[],
            &["w-2"],
        );
    }
}
