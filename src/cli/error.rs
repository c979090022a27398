//! How a command ends: the exit codes, and errors that say what, where and what to do.

use std::fmt;

use crate::config::ConfigErrors;

/// How a command ended. The process ends with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// It did its work and found something wrong.
    Problems = 1,
    /// It was called the wrong way.
    Usage = 2,
    /// It could not do its work.
    Failure = 3,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It was called the wrong way.
    #[error("{0}")]
    Usage(String),
    /// The config is wrong.
    #[error("{0}")]
    Config(ConfigErrors),
    /// A running Tidegate could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] super::client::ClientError),
    /// There is no token.
    #[error(transparent)]
    Token(#[from] crate::admin::token::TokenError),
    /// Nothing can be logged.
    #[error(transparent)]
    Log(#[from] super::logging::LogError),
    /// No bootstrap can be made of what was asked for.
    #[error(transparent)]
    Bootstrap(#[from] crate::proxy::bootstrap::BootstrapError),
    /// The answer cannot be printed.
    #[error("write to standard output")]
    Output(#[from] std::io::Error),
    /// The service itself failed.
    #[error(transparent)]
    App(Box<dyn std::error::Error + Send + Sync>),
}

impl From<ConfigErrors> for CliError {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl CliError {
    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Bootstrap(_) => Exit::Usage,
            Self::Config(_) => Exit::Problems,
            // Whoever pipes us into `head` has what they wanted.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
            _ => Exit::Failure,
        }
    }

    /// What to print on standard error; nothing if nothing is wrong.
    pub fn report(&self) -> Option<Report<'_>> {
        (self.exit() != Exit::Ok).then_some(Report(self))
    }
}

/// An error with everything that caused it, for people.
pub struct Report<'a>(&'a CliError);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let CliError::Config(errors) = self.0 {
            let count = errors.problems.len();
            let things = if count == 1 { "a problem" } else { "problems" };
            return write!(
                f,
                "{errors}\nerror: the config has {things}; mend it and check with `tidegate validate FILE`"
            );
        }
        write!(f, "error: {}", self.0)?;
        let mut cause = std::error::Error::source(self.0);
        while let Some(inner) = cause {
            write!(f, ": {inner}")?;
            cause = inner.source();
        }
        Ok(())
    }
}
