//! What keeps a try that is offered to executors, in words.
use dagbok_protocol::Reason;

use super::text::{full, joined, new};
use crate::shapes::WhyReason;

/// What keeps a try that is offered.
pub(super) fn of_offer(it: &Reason) -> WhyReason {
    match it {
        Reason::NoExecutor { queue, others } => {
            let others = match others {
                0 => "; no executor is there at all".to_owned(),
                1 => "; 1 pulls from others".to_owned(),
                others => format!("; {others} pull from others"),
            };
            let message = format!("no executor pulls from the queue {queue}{others}");
            WhyReason { name: Some(queue.to_string()), ..new("no_executor", message) }
        }
        Reason::TooLarge { queue, executors, lacks } => {
            let who = match executors {
                1 => "the executor that pulls".to_owned(),
                executors => format!("any of the {executors} executors that pull"),
            };
            let message = format!(
                "it asks for more than {who} from the queue {queue} could ever give: {lacks}"
            );
            WhyReason { name: Some(queue.to_string()), ..new("too_large", message) }
        }
        Reason::Cordoned { queue, executors, names, more, since, reason } => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
            let why = reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            let who = match executors {
                1 => "the executor that pulls".to_owned(),
                executors => {
                    format!("of the {executors} executors that pull, every one that could take it")
                }
            };
            let message = format!(
                "{who} from the queue {queue} is cordoned{since}{why}: {}; `dagbok executors uncordon` lets it take work again",
                joined(&names, *more)
            );
            WhyReason { name: Some(queue.to_string()), ..new("cordoned", message) }
        }
        Reason::Resources { queue, executors, lacks, holders } => {
            let what = format!(
                "what it asks for is in use on the executors that pull from the queue {queue}: {lacks}"
            );
            let it = full("resources", *executors, &what, holders);
            WhyReason { name: Some(queue.to_string()), most: None, ..it }
        }
        Reason::ExecutorsFull { queue, executors, before, holders } => {
            let line = match before {
                0 => String::new(),
                before => format!("; {before} tries were queued there before it"),
            };
            let what = format!(
                "all {executors} executors that pull from the queue {queue} are full{line}"
            );
            let it = full("executors_full", *executors, &what, holders);
            WhyReason { name: Some(queue.to_string()), most: None, ..it }
        }
        Reason::Offered { queue, executors } => {
            let message = format!(
                "it is offered on the queue {queue}, and {executors} executors that pull from it have not begun it yet"
            );
            WhyReason { name: Some(queue.to_string()), ..new("offered", message) }
        }
        _ => unreachable!("only asked of what is offered"),
    }
}
