//! The source under the engine: a store that follows a scripted server through trouble.

use std::sync::Arc;

use tidegate_actors::env::Env;
use tidegate_actors::informer::{Informer, InformerFactory, RegisterOptions};
use tidegate_actors::supervisor::{Strategy, Supervisor};

use crate::rig::{PATIENCE, Rig, things};
use crate::server::{Reply, event, status, thing};

async fn until(informer: &Informer, wanted: &[&str]) {
    let names = || informer.lister().list().iter().map(|object| object.key().name.to_string()).collect::<Vec<_>>();
    let reached = async {
        while names() != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "there are {:?}, and should be {wanted:?}", names());
}

#[tokio::test]
async fn a_store_follows_the_server_through_cuts_lost_history_and_broken_objects() {
    let rig = Rig::new().await;
    rig.server.then_list("7", &[&thing("a", "3"), &thing("b", "4"), &thing("c", "5")]);
    let watch = rig.server.then_watch();
    let env = Env::system();
    let supervisor = Supervisor::start("kubernetes-test", Strategy::OneForOne, env.clone()).await.unwrap();
    let factory = InformerFactory::new(env, supervisor, rig.problems.clone());
    factory.add_source(Arc::new(rig.source.clone())).unwrap();
    let informer = factory.register("c", things(), RegisterOptions::default()).await.unwrap();
    factory.start().await.unwrap();
    until(&informer, &["a", "b", "c"]).await;

    let resumed = rig.server.then_watch();
    watch.say(event("ADDED", &thing("d", "8")));
    until(&informer, &["a", "b", "c", "d"]).await;
    watch.cut();
    resumed.say(event("DELETED", &thing("a", "9")));
    until(&informer, &["b", "c", "d"]).await;
    assert!(rig.server.asked().last().unwrap().ends_with("resourceVersion=8"));

    // History is gone; meanwhile `b` was deleted, and `c` cannot be read any more.
    let broken = thing("c", "20").replace(r#""uid":"u-c""#, r#""labels":{"x":[]}"#);
    rig.server.then_list("30", &[&broken, &thing("d", "8"), &thing("e", "21")]);
    let _watch = rig.server.then_watch();
    resumed.say(event("ERROR", &status(410, "Expired", "too old resource version")));
    until(&informer, &["c", "d", "e"]).await;
    assert_eq!(informer.lister().list()[0].resource_version(), Some("5"), "the last good version stays");
    assert!(rig.problems()[0].ends_with("LastGood"), "{:?}", rig.problems());
    factory.shutdown().await;
}

#[tokio::test]
async fn the_engine_retries_and_the_source_does_not() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        rig.server.then(Reply::new(503, ""));
    }
    rig.server.then_list("7", &[&thing("a", "3")]);
    let _watch = rig.server.then_watch();
    let env = Env::system();
    let supervisor = Supervisor::start("kubernetes-retry", Strategy::OneForOne, env.clone()).await.unwrap();
    let factory = InformerFactory::new(env, supervisor, rig.problems.clone());
    factory.add_source(Arc::new(rig.source.clone())).unwrap();
    let informer = factory.register("c", things(), RegisterOptions::default()).await.unwrap();
    factory.start().await.unwrap();
    until(&informer, &["a"]).await;
    factory.shutdown().await;
}
