//! xDS from the outside.

#[path = "support/xds_envoy.rs"]
mod xds_envoy;
#[path = "support/xds_model.rs"]
mod xds_model;

mod envoy {
    use super::xds_envoy::*;
    use super::xds_model::*;
    use tidegate::publish::xds::{Options, XdsPublisher, XdsServer};
    use tidegate_actors::env::Env;
    use tidegate_actors::problem::Problems;
    use tokio_util::sync::CancellationToken;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs envoy: run by cargo xtask test"]
    async fn explore() {
        for api in ["DELTA_GRPC", "GRPC"] {
        let problems = Problems::default();
        let options = Options { tcp: Some("127.0.0.1:0".parse().unwrap()), ..Options::default() };
        let publisher = XdsPublisher::new(options, problems.clone(), Env::system());
        let server = XdsServer::bind(&publisher).await.unwrap();
        let address = server.tcp_address().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        let a = Backend::start("a").await;
        let b = Backend::start("b").await;
        let (p1, p2) = (free_port(), free_port());
        publisher.apply(&Update::to(1).listener(mk_http_listener(p1, &["public"])).service("a", &[a.address])
            .host(mk_host(&mk_table(p1), "a.example.com", [mk_route_to("a")])).0);
        let started = std::time::Instant::now();
        let envoy = Envoy::start(address, "one", api);
        let answer = get_until(p1, "a.example.com", "/x", |a| a.status == 200).await;
        eprintln!("{api} {:?} {answer:?}", started.elapsed());
        let t = std::time::Instant::now();
        publisher.apply(&Update::to(2).service("b", &[b.address])
            .host(mk_host(&mk_table(p1), "b.example.com", [mk_route_to("b")])).0);
        let answer = get_until(p1, "b.example.com", "/x", |a| a.status != 404).await;
        eprintln!("second host {:?} {answer:?}", t.elapsed());
        let t = std::time::Instant::now();
        publisher.apply(&Update::to(3).listener(mk_http_listener(p2, &["public"])).host(mk_host(&mk_table(p2), "b.example.com", [mk_route_to("b")])).0);
        let answer = get_until(p2, "b.example.com", "/x", |a| a.status == 200).await;
        eprintln!("second listener {:?} {answer:?}", t.elapsed());
        let p3 = free_port();
        let t = std::time::Instant::now();
        publisher.apply(&Update::to(4).listener(mk_http_listener(p3, &["public"])).0);
        let answer = get_until(p3, "b.example.com", "/x", |a| a.status == 404).await;
        eprintln!("empty listener {:?} {answer:?}", t.elapsed());
        for c in publisher.clients() { for t in c.types { eprintln!("{t:?}"); } }
        eprintln!("{:#?}", problems.list());
        eprintln!("{}", envoy.log());
        }
    }
}
