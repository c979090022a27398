//! Who may see what over xDS is changed while Tidegate runs.

use tidegate::builder::Tidegate;
use tidegate::publish::xds::{Kind, METHODS};

use crate::caller::{SERVER, everything, mk_node};
use crate::pki::{Authority, mk_client, mk_server, write_files};
use crate::rig::*;

fn mk_text(clients: &str) -> String {
    let tls = "{cert_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt}";
    let xds = format!("xds: {{address: 127.0.0.1:0, tls: {tls}, clients: [{clients}]}}");
    BASE.replace("xds: {address: 127.0.0.1:0}", &xds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_the_config_lets_in_is_served_without_a_restart_and_one_that_it_leaves_out_is_not() {
    let folder = tempfile::tempdir().unwrap();
    copy_demo(folder.path());
    let (own, clients) = (Authority::new(), Authority::new());
    write_files(folder.path(), &own.issue(&mk_server(SERVER)), &clients.pem());
    let [one, other] = ["one.example", "other.example"].map(|name| own.client(Some(&clients.issue(&mk_client(name)))));
    let entry = |name: &str| mk_text(&format!("{{identity: {name}, gateways: ['*']}}"));
    let file = folder.path().join("tidegate.yaml");
    following(&Tidegate::builder(), mk_loader(), &file, &entry("one.example"), async |app| {
        wait_until("the first model", || !app.model.get().virtual_hosts.is_empty()).await;
        let asked: &[(Kind, &[&str])] = &[(Kind::Cluster, &[])];
        let calls = async |tls| everything(app.xds_address.unwrap(), Some(tls), METHODS[0], mk_node(None), asked).await;
        assert!(calls(one.clone()).await.is_ok_and(|all| !all.is_empty()));
        assert!(calls(other.clone()).await.is_err_and(|reason| reason.contains("no entry of xds.clients")));

        replace(&file, &entry("other.example"));

        let deadline = tokio::time::Instant::now() + crate::caller::PATIENCE;
        while calls(other.clone()).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", app.problems.list());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(calls(one.clone()).await.is_err_and(|reason| reason.contains("no entry of xds.clients")));
        assert!(app.problems.list().is_empty(), "nothing waits for a restart: {:?}", app.problems.list());
    })
    .await;
}
