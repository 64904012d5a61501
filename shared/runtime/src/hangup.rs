//! SIGHUP, by which services are told to look at their configuration again.
use std::io::IsTerminal as _;

use tokio::signal::unix;

/// Hears SIGHUP. A process that somebody runs at a terminal ends with it, as ever.
#[derive(Debug)]
pub struct Hangups(Option<unix::Signal>);

impl Hangups {
    /// Begins to hear them, where this process belongs to no terminal.
    pub fn listen() -> Self {
        let apart = !std::io::stdin().is_terminal();
        Self(apart.then(|| unix::signal(unix::SignalKind::hangup()).ok()).flatten())
    }

    /// The next of them; never where none is heard.
    pub async fn next(&mut self) {
        let heard = match &mut self.0 {
            Some(signal) => signal.recv().await.is_some(),
            None => false,
        };
        if !heard {
            std::future::pending::<()>().await;
        }
    }
}
