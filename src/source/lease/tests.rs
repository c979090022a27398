//! Replicas over a record in memory, in virtual time: by hand, and at random from a seed.

use parking_lot::Mutex;
use tidegate_actors::env::{Rng as _, SeededRng};
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tidegate_actors::testing;
use tokio::time::sleep;

use super::*;

/// The registry.
#[derive(Clone, Default)]
struct Registry {
    record: Arc<Mutex<Option<Record>>>,
}

/// One replica's way to it.
struct Wire {
    registry: Registry,
    trouble: Arc<Mutex<Trouble>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Trouble {
    #[default]
    None,
    Cut,
    /// Answers come so late.
    Slow(Duration),
    /// Writes arrive, their answers do not.
    Deaf,
}

impl Wire {
    async fn pass(&self) -> Result<(), LeaseError> {
        let trouble = *self.trouble.lock();
        match trouble {
            Trouble::None | Trouble::Deaf => Ok(()),
            Trouble::Cut => Err(LeaseError::Failed("cut".into())),
            Trouble::Slow(by) => {
                sleep(by).await;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl LeaseRecord for Wire {
    async fn read(&self) -> Result<Option<Record>, LeaseError> {
        self.pass().await?;
        Ok(self.registry.record.lock().clone())
    }

    async fn write(&self, record: &Record) -> Result<Record, LeaseError> {
        self.pass().await?;
        let written = {
            let mut held = self.registry.record.lock();
            let version = held.as_ref().map_or("", |held| &held.version);
            if version != record.version {
                return Err(LeaseError::Conflict);
            }
            let next: u64 = version.parse().unwrap_or(0) + 1;
            held.insert(Record { version: next.to_string(), ..record.clone() }).clone()
        };
        if *self.trouble.lock() == Trouble::Deaf {
            sleep(Duration::from_secs(60)).await;
        }
        Ok(written)
    }
}

struct Replica {
    leadership: Leadership,
    trouble: Arc<Mutex<Trouble>>,
    path: String,
}

struct Rig {
    registry: Registry,
    supervisor: Supervisor,
    replicas: Vec<Replica>,
}

async fn mk_rig(replicas: usize, seed: u64) -> Rig {
    let (env, _) = testing::env(seed);
    let supervisor = Supervisor::start("test", Strategy::OneForOne, env.clone()).await.unwrap();
    let registry = Registry::default();
    let mut rig = Rig { registry: registry.clone(), supervisor, replicas: Vec::new() };
    for at in 0..replicas {
        let (leadership, trouble) = (Leadership::new(&env), Arc::new(Mutex::new(Trouble::None)));
        let wire = Arc::new(Wire { registry: registry.clone(), trouble: trouble.clone() });
        let path = format!("lease-{at}");
        let spec = leadership.spec(&path, &format!("replica-{at}"), wire, LeaseOptions::default());
        rig.supervisor.add(spec).await.unwrap();
        rig.replicas.push(Replica { leadership, trouble, path });
    }
    rig
}

impl Rig {
    fn leaders(&self) -> Vec<usize> {
        (0..self.replicas.len()).filter(|at| self.replicas[*at].leadership.is_leading()).collect()
    }

    async fn leader_within(&self, seconds: u64, not: Option<usize>) -> usize {
        for _ in 0..seconds * 10 {
            sleep(Duration::from_millis(100)).await;
            let leaders = self.leaders();
            assert!(leaders.len() <= 1, "{leaders:?}");
            if let Some(leader) = leaders.first().filter(|leader| Some(**leader) != not) {
                return *leader;
            }
        }
        panic!("no leader within {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_several_leads_and_goes_on_leading() {
    let rig = mk_rig(3, 1).await;
    let leader = rig.leader_within(1, None).await;
    for _ in 0..600 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.leaders(), [leader]);
    }
    let record = rig.registry.record.lock().clone().unwrap();
    assert_eq!((record.holder, record.transitions), (format!("replica-{leader}"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_killed_is_followed_within_the_lease_and_one_retry() {
    let rig = mk_rig(3, 2).await;
    let first = rig.leader_within(1, None).await;
    *rig.replicas[first].trouble.lock() = Trouble::Cut;
    rig.supervisor.get(&rig.replicas[first].path).unwrap().kill();
    let second = rig.leader_within(18, Some(first)).await;
    assert_ne!(first, second);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_ends_in_order_is_followed_by_the_next_look() {
    let rig = mk_rig(2, 3).await;
    let first = rig.leader_within(1, None).await;
    let path = rig.replicas[first].path.clone();
    rig.supervisor.remove(&path).await.unwrap();
    assert!(!rig.replicas[first].leadership.is_leading());
    rig.leader_within(3, Some(first)).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_anybody_follows() {
    let rig = mk_rig(2, 4).await;
    let first = rig.leader_within(1, None).await;
    *rig.replicas[first].trouble.lock() = Trouble::Cut;
    sleep(Duration::from_secs(11)).await;
    assert_eq!(rig.leaders(), Vec::<usize>::new(), "the rest of the lease is for writes that were under way");
    assert!(!*rig.replicas[first].leadership.watch().borrow());
    assert_ne!(rig.leader_within(8, None).await, first);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_was_lost_is_looked_up_and_the_lead_goes_on() {
    let rig = mk_rig(2, 5).await;
    let leader = rig.leader_within(1, None).await;
    let version = || rig.registry.record.lock().as_ref().unwrap().version.parse::<u64>().unwrap();
    let before = version();
    *rig.replicas[leader].trouble.lock() = Trouble::Deaf;
    sleep(Duration::from_secs(6)).await;
    *rig.replicas[leader].trouble.lock() = Trouble::None;
    assert!(version() > before, "it was written");
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.leaders(), [leader]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_alone_leads() {
    let (env, _) = testing::env(1);
    let alone = Leadership::alone(&env);
    sleep(Duration::from_secs(86_400)).await;
    assert!(alone.is_leading() && *alone.watch().borrow());
}

/// So many random histories.
const SEEDS: u64 = 60;

#[test]
fn whatever_happens_at_most_one_leads_and_in_the_end_one_does() {
    for seed in 0..SEEDS {
        testing::run(async move {
            let rig = mk_rig(3, seed).await;
            let rng = SeededRng::new(seed);
            for _ in 0..60 {
                let replica = &rig.replicas[rng.below(3) as usize];
                match rng.below(8) {
                    0 | 1 => *replica.trouble.lock() = Trouble::Cut,
                    2 => *replica.trouble.lock() = Trouble::Deaf,
                    3 => *replica.trouble.lock() = Trouble::Slow(Duration::from_millis(rng.below(8_000))),
                    // Unless it is down already.
                    4 => drop(rig.supervisor.get(&replica.path).map(|child| child.kill())),
                    _ => *replica.trouble.lock() = Trouble::None,
                }
                for _ in 0..rng.below(200) {
                    sleep(Duration::from_millis(50)).await;
                    let leaders = rig.leaders();
                    assert!(leaders.len() <= 1, "seed {seed}: {leaders:?} lead");
                }
            }
            rig.replicas.iter().for_each(|replica| *replica.trouble.lock() = Trouble::None);
            // A killed one may be in its longest backoff.
            rig.leader_within(600, None).await;
        });
    }
}
