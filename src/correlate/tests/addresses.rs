//! Endpoints whose addresses lead where no endpoint is.

use super::*;
use crate::correlate::AllowedBackends;

/// A gateway whose one route leads to a Service with endpoints of these addresses.
fn rig_of(kind: &str, addresses: &[&str], allowed: AllowedBackends) -> Rig {
    let mut rig = rig_with(Settings { allowed, ..Settings::default() });
    rig.set(&types::gateway_class(), &mk_class());
    rig.set(&types::gateway(), &mk_gateway("web", &json!([mk_listener("http", None, 8080)])));
    rig.set(&types::service(), &mk_service("app", "s", &[80]));
    rig.set(&types::http_route(), &mk_route("r", None, "/", ("app", "s")));
    rig.set(&types::endpoint_slice(), &mk_slice_of(kind, addresses));
    rig.commit();
    rig
}

fn mk_slice_of(kind: &str, addresses: &[&str]) -> Value {
    let mut slice = mk_slice("app", "s", "s", "10.0.0.1");
    slice["addressType"] = kind.into();
    slice["endpoints"] = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    slice
}

fn served(rig: &Rig) -> Vec<String> {
    let all = rig.graph.list(rig.outputs.endpoints);
    all.iter().flat_map(|(_, of)| of.endpoints.iter().map(|endpoint| endpoint.address.to_string())).collect()
}

fn said(rig: &Rig) -> Vec<String> {
    rig.problems.list().iter().map(|(scope, problem)| format!("{scope}: {problem}")).collect()
}

#[test]
fn endpoints_on_the_proxys_own_machine_or_segment_get_no_traffic_are_named_and_harm_no_other() {
    let bad_v4 = ["127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255"];
    let bad_v6 = [
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "64:ff9b::a9fe:a9fe",
    ];
    for (kind, good, bad) in [("IPv4", "10.0.0.1", &bad_v4[..]), ("IPv6", "fd00::1", &bad_v6)] {
        for address in bad {
            let mut rig = rig_of(kind, &[good, address], AllowedBackends::default());
            assert_eq!(served(&rig), [good], "{address}");
            let said_of = said(&rig);
            assert_eq!(said_of.len(), 1, "{address}: {said_of:?}");
            let start = "correlation/refused endpoints: EndpointSlice src:app/s: endpoints[1].addresses[0]: ";
            assert!(said_of[0].starts_with(start) && said_of[0].contains("it gets no traffic"), "{said_of:?}");

            rig.set(&types::endpoint_slice(), &mk_slice_of(kind, &[good]));
            rig.commit();
            assert_eq!((served(&rig), said(&rig)), (vec![good.to_owned()], Vec::new()), "{address}: it is mended");
        }
    }
    let rig = rig_of("IPv4", &["127.0.0.1", "10.0.0.1", "127.0.0.2", "127.0.0.3"], AllowedBackends::default());
    assert!(said(&rig)[0].ends_with("add loopback to gateway.allow_backends; it gets no traffic; 2 more like it"));
}

#[test]
fn what_the_config_allows_is_served_and_nothing_beside_it() {
    let all = ["10.0.0.1", "127.0.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1"];
    let cases = [
        (AllowedBackends { loopback: true, link_local: false }, &["10.0.0.1", "127.0.0.1"]),
        (AllowedBackends { loopback: false, link_local: true }, &["10.0.0.1", "169.254.1.1"]),
    ];
    for (allowed, expected) in cases {
        let rig = rig_of("IPv4", &all, allowed);
        assert_eq!(served(&rig), expected);
        assert!(said(&rig)[0].ends_with("2 more like it"), "{:?}", said(&rig));
    }
    let rig = rig_of("IPv4", &all, AllowedBackends { loopback: true, link_local: true });
    assert_eq!(served(&rig), all[..3], "and nobody is an endpoint at no address, or at that of a group");
}

#[test]
fn names_lead_nowhere_since_nobody_resolves_them() {
    // By a slice of the type FQDN, and by a Service that is an alias: what a name resolves to is for others to say.
    let rig = rig_of("FQDN", &["localhost", "metadata.google.internal"], AllowedBackends::default());
    assert_eq!(served(&rig), Vec::<String>::new());
    let mut rig = rig_of("IPv4", &["10.0.0.1"], AllowedBackends::default());
    let mut alias = mk_service("app", "s", &[80]);
    alias["spec"]["type"] = "ExternalName".into();
    alias["spec"]["externalName"] = "localhost".into();
    rig.set(&types::service(), &alias);
    rig.commit();
    let told = format!("{:?}", rig.graph.list(rig.outputs.statuses));
    assert!(told.contains("is of the type ExternalName, which is not supported"), "{told}");
    assert_eq!(rig.graph.list(rig.outputs.clusters).len(), 0, "no route leads there");
}
