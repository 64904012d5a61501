//! `--watch`: a list, a show or `status` asked again and again. On a terminal it is drawn in place; elsewhere each line
//! that is new is printed as it comes, and with JSON each state that is another.
use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use crate::{
    cli::Cli,
    codes::Code,
    commands::once,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Held, rows, unwritable},
};

/// Another screen, so that what was on the terminal is there again afterwards; and back.
const SCREEN: (&str, &str) = ("\x1b[?1049h", "\x1b[?1049l");
/// The begin of the screen, and nothing after it.
const HOME: &str = "\x1b[H\x1b[J";

/// Asks until somebody ends it, which is how it ends well.
pub(crate) async fn watch(mut cli: Cli, every: u64) -> Outcome {
    let held: &'static Held = Box::leak(Box::default());
    cli.global.held = Some(held);
    let out = cli.global.out();
    let mut shown =
        Shown { on_screen: std::io::stdout().is_terminal() && !out.is_json(), ..Shown::default() };
    let stop = dagbok_runtime::stop_signals();
    tokio::pin!(stop);
    let ended = loop {
        let asked = tokio::select! {
            asked = Box::pin(once(&cli)) => asked,
            _ = &mut stop => break Ok(Exit::Ok),
        };
        let lines = held.take();
        match asked {
            Ok(_) => shown.show(lines, out.is_json()),
            // One that was there comes back.
            Err(failure) if shown.any && passes(&failure) => shown.show_trouble(&failure),
            Err(failure) => break Err(failure),
        }
        if cli.global.home.is_some() && cli.global.api.is_none() {
            // Nothing comes to a log that nobody writes.
            break Ok(Exit::Ok);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(every)) => {}
            _ = &mut stop => break Ok(Exit::Ok),
        }
    };
    shown.leave();
    ended
}

fn passes(failure: &Failure) -> bool {
    matches!(failure.code(), Code::ApiUnreachable | Code::ApiFailed)
}

#[derive(Default)]
struct Shown {
    /// Whether it is drawn in place.
    on_screen: bool,
    any: bool,
    lines: Vec<String>,
    trouble: bool,
}

impl Shown {
    fn show(&mut self, lines: Vec<String>, whole: bool) {
        if self.on_screen {
            self.draw(&lines);
        } else if whole {
            if lines != self.lines {
                put(&format!("{}\n", lines.join("\n")));
            }
        } else {
            for line in added(&self.lines, &lines) {
                put(&format!("{line}\n"));
            }
        }
        (self.lines, self.any, self.trouble) = (lines, true, false);
    }

    /// As much as the terminal has room for.
    fn draw(&self, lines: &[String]) {
        let room = rows().unwrap_or(usize::MAX).saturating_sub(1).max(1);
        let begin = if self.any { HOME.to_owned() } else { format!("{}{HOME}", SCREEN.0) };
        let text = if lines.len() > room {
            let more = lines.len() - room + 1;
            format!("{begin}{}\n… {more} more lines", lines[..room - 1].join("\n"))
        } else {
            format!("{begin}{}", lines.join("\n"))
        };
        put_raw(&text);
    }

    fn show_trouble(&mut self, failure: &Failure) {
        if self.on_screen {
            let mut lines = self.lines.clone();
            lines.insert(0, format!("error: {failure}; this is how it was:"));
            self.draw(&lines);
        } else if !self.trouble {
            let _ = writeln!(std::io::stderr(), "note: {failure}; waiting for it");
        }
        self.trouble = true;
    }

    /// What was seen last stays on the terminal.
    fn leave(&self) {
        if self.on_screen && self.any {
            put_raw(&format!("{}{}\n", SCREEN.1, self.lines.join("\n")));
        }
    }
}

/// The lines of `now` that `before` does not have, each as often as it is there.
fn added(before: &[String], now: &[String]) -> Vec<String> {
    let mut left: Vec<&String> = before.iter().collect();
    let mut new = Vec::new();
    for line in now {
        match left.iter().position(|it| *it == line) {
            Some(at) => drop(left.swap_remove(at)),
            None => new.push(line.clone()),
        }
    }
    new
}

fn put(text: &str) {
    let mut out = anstream::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        unwritable(&error);
    }
}

/// With what moves the cursor, which `anstream` hands on to a terminal.
fn put_raw(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        unwritable(&error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_printed_and_each_as_often_as_it_comes() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(added(&[], &lines("a b")), lines("a b"));
        assert_eq!(added(&lines("a b"), &lines("a b c")), lines("c"));
        assert_eq!(added(&lines("a"), &lines("a a")), lines("a"));
        assert!(added(&lines("a b"), &lines("b a")).is_empty());
    }
}
