//! From a section of the config to a source, its scanner a supervised child.

use std::sync::Arc;

use tidegate_actors::supervisor::{BoxError, ChildSpec, TaskContext};

use super::{DirectorySource, Options, WatchMode};
use crate::builder::{SourceContext, SourceParts};
use crate::config::{self, Directory};

/// Makes a directory source of its section.
///
/// # Errors
/// When the path is relative and there is no working directory to complete it with.
pub fn make(section: &Directory, context: &SourceContext<'_>) -> Result<SourceParts, BoxError> {
    let mut options = Options::new(context.name.clone(), section.path.clone());
    options.watch = match section.watch {
        config::WatchMode::Auto => WatchMode::Auto,
        config::WatchMode::Poll => WatchMode::Poll,
    };
    options.poll_interval = *section.poll;
    options.rescan_interval = *section.rescan;
    options.settle = *section.settle;
    options.max_files = section.max_files;
    options.max_depth = section.max_depth;
    options.max_file_bytes = context.limits.file_size.bytes();
    options.max_object_bytes = usize::try_from(context.limits.object_size.bytes()).unwrap_or(usize::MAX);
    let catalogue = context.catalogue.as_ref().clone();
    let (source, scanner) = DirectorySource::new(options, context.env.clone(), context.problems.clone(), catalogue)?;
    let scanner = Arc::new(scanner);
    let scan = ChildSpec::task(format!("scanner-{}", context.name), move |task: TaskContext| {
        let scanner = scanner.clone();
        async move { Ok(scanner.run(async move { task.stop.stopped().await }).await?) }
    });
    Ok(SourceParts { source, children: vec![scan], registrars: Vec::new(), status: None, events: None })
}
