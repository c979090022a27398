//! The plain manifests, looked at alone.

use serde_json::Value;

use crate::files::{
    assert_valid_config, config_of, documents, in_repository, name, of_kind, plain, strings, text, tidegate,
};

/// Where Tidegate has its certificate, and the example's Envoy.
const OWN: &str = "/etc/tidegate-xds";
const PROXYS: &str = "/etc/envoy-xds";

/// What the script for certificates makes.
fn mk_certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut script = std::process::Command::new(in_repository("config/deploy/certificates.sh"));
    let output = script.arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_certificates_of_the_script_the_examples_proxy_is_let_in_and_nobody_else() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let pki = mk_certificates();
    let objects = plain();
    let mut config: Value = serde_saphyr::from_str(&config_of(of_kind(&objects, "ConfigMap")[0])).unwrap();
    let named = |name: &str| pki.path().join(name);
    config["xds"]["tls"] = serde_json::json!({
        "cert_file": named("tidegate.crt"), "key_file": named("tidegate.key"), "client_ca_file": named("ca.crt"),
    });
    config["xds"]["address"] = "127.0.0.1:0".into();
    config["admin"]["address"] = "127.0.0.1:0".into();
    config["sources"] = serde_json::json!([]);
    config["data_dir"] = named("data").display().to_string().into();
    let loader = tidegate::config::Loader::new(tidegate::config::Registry::default());
    let config = loader.parse(&config.to_string(), &named("tidegate.yaml")).unwrap();
    let builder = tidegate::builder::Tidegate::builder();
    let env = tidegate_actors::env::Env::system();
    let app = tidegate::app::App::start(&builder, &config, &tidegate::app::Hooks::default(), env).await.unwrap();
    let address = app.xds_address.unwrap();

    let pem = |name: &str| std::fs::read(named(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem("ca.crt")).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let connect = async |own: &str| {
        let tls = rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let tls = tls.unwrap().with_root_certificates(roots.clone());
        let chain = vec![CertificateDer::from_pem_slice(&pem(&format!("{own}.crt"))).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&pem(&format!("{own}.key"))).unwrap();
        let mut tls = tls.with_client_auth_cert(chain, key).unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = tokio::net::TcpStream::connect(address).await?;
        let name = rustls::pki_types::ServerName::try_from("tidegate.tidegate.svc").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, stream).await?;
        // A server that lets us in begins with its settings; one that does not says so by an alert.
        tokio::io::AsyncReadExt::read_u8(&mut stream).await
    };
    connect("envoy").await.unwrap();
    assert!(connect("tidegate").await.is_err(), "a server's certificate is no client's");
    assert!(connect("ca").await.is_err(), "nor is the authority's own");
    app.supervisor.shutdown(std::time::Duration::from_secs(5)).await;
}

#[test]
fn the_config_of_the_manifests_is_accepted() {
    let objects = plain();
    let configs = of_kind(&objects, "ConfigMap");
    assert_eq!(configs.len(), 1);
    assert_valid_config(&config_of(configs[0]));
}

#[test]
fn the_bootstrap_of_the_example_is_what_the_command_prints() {
    let envoy = text("config/deploy/envoy.yaml");
    let line = envoy.lines().find_map(|line| line.trim().strip_prefix("# What `tidegate ")).unwrap();
    let command = line.split('`').next().unwrap();
    let (good, printed) = tidegate(&command.split(' ').collect::<Vec<_>>());
    assert!(good, "{printed}");
    let objects = documents(&envoy);
    let stands = of_kind(&objects, "ConfigMap")[0]["data"]["bootstrap.yaml"].as_str().unwrap();
    assert_eq!(stands, printed, "write it anew: tidegate {command}");
}

#[test]
fn the_example_is_let_in_and_asks_where_xds_is_served() {
    let objects = [plain(), documents(&text("config/deploy/envoy.yaml"))].concat();
    let policy = of_kind(&objects, "NetworkPolicy")[0];
    let peer = &policy["spec"]["ingress"][0]["from"][0];
    let matches = |wanted: &Value, labels: &Value| {
        let wanted = wanted["matchLabels"].as_object().unwrap();
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    let namespaces = of_kind(&objects, "Namespace").into_iter();
    let allowed: Vec<&str> = namespaces
        .filter(|namespace| matches(&peer["namespaceSelector"], &namespace["metadata"]["labels"]))
        .map(name)
        .collect();
    assert_eq!(allowed, ["tidegate-proxies"]);
    let deployments = of_kind(&objects, "Deployment");
    let template = |name_of: &str| {
        let deployment = deployments.iter().find(|deployment| name(deployment) == name_of).unwrap();
        &deployment["spec"]["template"]
    };
    assert!(matches(&peer["podSelector"], &template("envoy")["metadata"]["labels"]));
    assert!(!matches(&peer["podSelector"], &template("tidegate")["metadata"]["labels"]));

    let services = of_kind(&objects, "Service");
    let service = services.iter().find(|service| name(service) == "tidegate").unwrap();
    assert!(text("config/deploy/envoy.yaml").contains("--xds tidegate.tidegate.svc:18000`"));
    assert_eq!(service["metadata"]["namespace"], "tidegate");
    assert_eq!(service["spec"]["ports"][0]["port"], 18000);
    let config: Value = serde_saphyr::from_str(&config_of(of_kind(&objects, "ConfigMap")[0])).unwrap();
    assert_eq!(config["xds"]["address"], "0.0.0.0:18000");
    // Each side finds its certificate where its Deployment mounts a Secret.
    let mounts = |of: &str| {
        let pod = &template(of)["spec"];
        let all = pod["containers"][0]["volumeMounts"].as_array().unwrap().iter();
        let secret = |mount: &&Value| {
            let mut volumes = pod["volumes"].as_array().unwrap().iter();
            volumes.any(|volume| volume["name"] == mount["name"] && volume["secret"]["secretName"].is_string())
        };
        all.filter(secret).map(|mount| mount["mountPath"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((mounts("tidegate"), mounts("envoy")), (vec![OWN.to_owned()], vec![PROXYS.to_owned()]));
    let tls = &config["xds"]["tls"];
    for (key, file) in [("cert_file", "tls.crt"), ("key_file", "tls.key"), ("client_ca_file", "ca.crt")] {
        assert_eq!(tls[key], format!("{OWN}/{file}"));
    }
    // And the proxies may see the Gateway that they are there for, by the name that the script gives them.
    let script = text("config/deploy/certificates.sh");
    let identity = config["xds"]["clients"][0]["identity"].as_str().unwrap();
    assert!(script.contains(&format!("certificate envoy {identity} clientAuth")), "{identity}");
    assert!(script.contains("certificate tidegate tidegate.tidegate.svc serverAuth"));
    let gateway = of_kind(&objects, "Gateway")[0];
    let namespace = gateway["metadata"]["namespace"].as_str().unwrap();
    assert_eq!(strings(&config["xds"]["clients"][0]["gateways"]), [format!("{namespace}/*")]);
    let hosts = strings(&config["admin"]["allowed_hosts"]);
    assert!(hosts.contains(&"tidegate.tidegate.svc".to_owned()), "{hosts:?}");
}

#[test]
#[ignore = "needs envoy: run by cargo xtask test"]
fn envoy_takes_the_example_as_it_would_be_started() {
    let objects = documents(&text("config/deploy/envoy.yaml"));
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap.yaml");
    let pki = mk_certificates();
    for (from, to) in [("envoy.crt", "tls.crt"), ("envoy.key", "tls.key")] {
        std::fs::copy(pki.path().join(from), pki.path().join(to)).unwrap();
    }
    let text = of_kind(&objects, "ConfigMap")[0]["data"]["bootstrap.yaml"].as_str().unwrap();
    std::fs::write(&bootstrap, text.replace(PROXYS, &pki.path().display().to_string())).unwrap();
    let container = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    let arguments = strings(&container["args"]).into_iter().map(|argument| match &*argument {
        "/etc/envoy/bootstrap.yaml" => bootstrap.display().to_string(),
        _ => argument,
    });
    let mut envoy = std::process::Command::new(crate::support::envoy::envoy_binary());
    let output = envoy.args(["--mode", "validate"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
