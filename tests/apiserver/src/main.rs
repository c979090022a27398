//! The server as a program: prints its kubeconfig, and serves until it is ended. Faults and objects come over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use tidegate_apiserver::{ApiServer, Options};

/// A Kubernetes API server in one process, for tests of scale and of faults.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// A second address, which {"do": "freeze"} makes a stale replica.
    #[arg(long)]
    replica: Option<SocketAddr>,
    /// TLS, with HTTP/2.
    #[arg(long)]
    tls: bool,
    /// How many events of a type a watch can go back over.
    #[arg(long, default_value_t = 10_000)]
    window: usize,
    /// Refuse streaming lists, as older servers do.
    #[arg(long)]
    no_streaming_lists: bool,
    /// Where to write the kubeconfig; it goes to the output otherwise.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut options = Options { address: arguments.address, replica: arguments.replica, ..Options::default() };
    options.tls = arguments.tls;
    options.window = arguments.window;
    options.watch.streaming_lists = !arguments.no_streaming_lists;
    let server = ApiServer::start(options).await?;
    match &arguments.kubeconfig {
        Some(path) => std::fs::write(path, server.kubeconfig())
            .with_context(|| format!("could not write the kubeconfig to {}", path.display()))?,
        None => print!("{}", server.kubeconfig()),
    }
    eprintln!("serving on {}", server.url());
    tokio::signal::ctrl_c().await.context("could not wait for the end")
}
