//! What the demo prints when it is ready.

use crate::app::App;
use crate::config::Config;

/// Waits until the gateway answers, then prints what to try.
pub async fn announce(app: &App, config: &Config) {
    app.xds.ready().await;
    let _ = config;
    println!("ready: admin http://{}", app.admin);
}
