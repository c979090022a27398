//! The arguments of commands that ask a running Tidegate: where it is, and the token.

use std::path::PathBuf;

use clap::Args;
use tidegate_actors::env::Env;

use super::client::Client;
use super::error::CliError;
use crate::admin::token;
use crate::config::{Config, Loader, Token};

/// Where a running Tidegate is.
#[derive(Debug, Args)]
pub struct Remote {
    /// Its admin address, host:port; without it, the one in the config, or the default.
    #[arg(long, global = true, env = "TIDEGATE_ADMIN", value_name = "ADDRESS")]
    address: Option<String>,

    /// Its config file, for the address and the token.
    #[arg(short, long, global = true, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// A file that holds the admin token; TIDEGATE_TOKEN holds the token itself.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Remote {
    /// A client that can look.
    pub(super) fn looking(&self, loader: &Loader) -> Result<Client, CliError> {
        Ok(Client::new(&self.host(&self.config(loader)?), None))
    }

    /// A client that can change things.
    pub(super) fn changing(&self, loader: &Loader) -> Result<Client, CliError> {
        let config = self.config(loader)?;
        let env = Env::system();
        let given = std::env::var("TIDEGATE_TOKEN").ok().filter(|token| !token.is_empty());
        let token = match (&self.token_file, given, &config.admin.token, &config.admin.token_file) {
            (Some(path), ..) => token::read(path, &env)?,
            (None, Some(given), ..) => Token::new(given),
            (None, None, Some(token), _) => token.clone(),
            (None, None, None, Some(path)) => token::read(path, &env)?,
            // Never made here: only the running one knows whether there is none yet.
            (None, None, None, None) if self.config.is_some() => {
                token::read(&config.data_dir.join(token::FILE_NAME), &env)?
            }
            _ => {
                let reason = "this needs the admin token: name the running one's --config, or a --token-file, or set \
                              TIDEGATE_TOKEN";
                return Err(CliError::Usage(reason.to_owned()));
            }
        };
        Ok(Client::new(&self.host(&config), Some(token)))
    }

    fn config(&self, loader: &Loader) -> Result<Config, CliError> {
        match &self.config {
            Some(path) => Ok(loader.load(path)?),
            None => Ok(loader.parse("", std::path::Path::new("(defaults)"))?),
        }
    }

    fn host(&self, config: &Config) -> String {
        let mut address = config.admin.address;
        if address.ip().is_unspecified() {
            // Whoever listens everywhere also listens here.
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        self.address.clone().unwrap_or_else(|| address.to_string())
    }
}

/// Waits for an answer. Ctrl-C ends the process as usual, since nothing is to be put in order here.
pub(super) fn wait<T>(answer: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(answer)
}
