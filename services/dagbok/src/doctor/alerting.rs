//! Who is told of what goes wrong, and who notices when nobody can be told any more.
use dagbok_runtime::Clock;

use super::Finding;
use crate::{context::Context, services};

const CHECK: &str = "alerting";

/// The installation's configuration of alerting, where this machine has one.
pub(super) fn check(context: &Context) -> Option<Finding> {
    let home = context.home().ok()?;
    let file = services::alerting_file(&context.config, &home);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("nobody is told of what goes wrong: there is no {}", file.display());
            return Some(Finding::warning(
                CHECK,
                what,
                "write one: see \"Being told\" in the README",
            ));
        }
        Err(error) => {
            let what = format!("`{}` can't be read: {error}", file.display());
            return Some(Finding::error(CHECK, what, "let this user read it"));
        }
    };
    Some(match dagbok_alerting::load(&file, &text, Clock::system().now()) {
        Err(error) => {
            Finding::error(CHECK, error.to_string(), "mend it; `dagbok alerts check` checks it")
        }
        Ok(loaded) if loaded.policy.root.is_none() => {
            let what = format!("{} names nobody who is told", file.display());
            Finding::warning(CHECK, what, "name a receiver: see \"Being told\" in the README")
        }
        Ok(loaded) if !loaded.is_watched() => {
            let what = "nobody outside notices when alerting itself is gone: there is no dead man's switch";
            let next = "name the address of a check that alarms where no sign of life comes, as `[dead_mans_switch]` in alerting.toml";
            Finding::warning(CHECK, what, next)
        }
        Ok(loaded) => {
            let receivers = loaded.policy.receivers.len();
            Finding::ok(CHECK, format!("{receivers} receivers, and a dead man's switch"))
        }
    })
}
