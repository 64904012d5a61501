//! Examples at the end of commands' help and of their man pages: each is a command line that is read by a test.
use clap::Command;

/// Examples by the words of their command.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("status", &["dagbok status", "dagbok status --watch"]),
    (
        "standalone",
        &[
            "dagbok standalone --dags ~/dags",
            "dagbok standalone --dags ~/dags --home /srv/dagbok --listen 0.0.0.0:8793",
        ],
    ),
    (
        "dags list",
        &["dagbok dags list", "dagbok dags list -o name", "dagbok dags list -o wide --watch=5"],
    ),
    ("dags show", &["dagbok dags show etl", "dagbok dags show dags/etl.py"]),
    (
        "dags test",
        &[
            "dagbok dags test dags/etl.py",
            "dagbok dags test dags/etl.py --logical-date 2026-01-31 --conf '{\"day\": 3}'",
            "dagbok dags test dags/etl.py --answer approve=Approve",
        ],
    ),
    (
        "dags trigger",
        &["dagbok dags trigger etl --wait", "dagbok dags trigger etl train --conf @conf.json"],
    ),
    ("dags delete", &["dagbok dags delete old --dry-run", "dagbok dags delete old --yes"]),
    ("dags pause", &["dagbok dags pause etl train"]),
    ("dags unpause", &["dagbok dags unpause etl --dry-run"]),
    ("runs list", &["dagbok runs list etl --since 2h --state failed", "dagbok runs list -o json"]),
    ("runs show", &["dagbok runs show etl latest --watch"]),
    ("runs why", &["dagbok runs why", "dagbok runs why etl latest"]),
    (
        "runs logs",
        &["dagbok runs logs etl latest --failed", "dagbok runs logs etl latest --follow"],
    ),
    ("runs wait", &["dagbok runs wait etl latest --timeout 1h"]),
    ("runs retry", &["dagbok runs retry etl scheduled__2026-01-31T00:00:00+00:00 --yes"]),
    ("runs clear", &["dagbok runs clear etl manual__1 --task load --downstream --dry-run"]),
    ("tasks list", &["dagbok tasks list etl latest --state running"]),
    ("tasks logs", &["dagbok tasks logs etl latest load --follow"]),
    (
        "xcom get",
        &["dagbok xcom get etl latest load", "dagbok xcom get etl latest load rows --map-index 2"],
    ),
    ("why", &["dagbok why etl", "dagbok why etl latest load --at 2026-11-28T05:30:00Z"]),
    ("events", &["dagbok events --tail 20", "dagbok events --dag etl --since 2h --follow"]),
    ("doctor", &["dagbok doctor", "dagbok doctor --nats nats://127.0.0.1:4222 --namespace team"]),
    ("backup", &["dagbok backup /backup/2026-11-29", "dagbok backup verify /backup/2026-11-29"]),
    ("restore", &["dagbok restore /backup/2026-11-29 --home ~/.dagbok"]),
    ("prune", &["dagbok prune --older-than 2160h --dry-run"]),
    ("namespaces list", &["dagbok namespaces list --nats nats://127.0.0.1:4222"]),
    ("config show", &["dagbok config show", "dagbok config show scheduler --all"]),
];

/// The command with an example or two in the help of those that have some.
pub(crate) fn with_examples(mut root: Command) -> Command {
    for (words, lines) in EXAMPLES {
        let words: Vec<&str> = words.split(' ').collect();
        root = with(root, &words, lines);
    }
    root
}

fn with(command: Command, words: &[&str], lines: &[&str]) -> Command {
    let Some((word, rest)) = words.split_first() else {
        let after = command.get_after_help().map(|it| format!("\n\n{it}")).unwrap_or_default();
        return command.after_help(format!("Examples:\n  {}{after}", lines.join("\n  ")));
    };
    command.mut_subcommand(word, |inner| with(inner, rest, lines))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_example_is_a_command_line_that_can_be_read() {
        for (words, lines) in EXAMPLES {
            for line in *lines {
                let bare = line.replace('\'', "").replace("{\"day\": 3}", "{}");
                assert!(line.starts_with(&format!("dagbok {words}")), "{line}");
                Cli::try_parse_from(bare.split(' '))
                    .unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
        let help = with_examples(Cli::command())
            .try_get_matches_from(["dagbok", "dags", "trigger", "--help"]);
        let help = help.unwrap_err().to_string();
        assert!(help.contains("Examples:\n  dagbok dags trigger etl --wait"), "{help}");
        assert!(help.contains("With every command:") && help.contains("With --json"), "{help}");
    }

    #[test]
    fn the_command_line_holds_together() {
        with_examples(Cli::command()).debug_assert();
    }
}
