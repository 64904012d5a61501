//! What is not over yet and takes long, as spans of its own: a run of hours is seen before it ends, and its tries are.
use dagbok_events::{Micros, Timestamp};
use dagbok_protocol::trace::under_way_span;

use super::{Copy, Run, Span, Spans};

/// What is under way for so long is said to be.
const LONG: Micros = Micros::from_secs(600);

impl Spans {
    /// Says what has been under way for ten minutes at `now` and was not said to be: a span of those ten minutes, within
    /// the one that follows once it is over. It is the same whenever it is said.
    pub fn pass(&mut self, now: Timestamp, say: &mut Vec<Span>) {
        for (key, run) in &mut self.runs {
            if !run.is_sampled {
                continue;
            }
            let (trace_id, span_id) = (run.trace_id, run.span_id(key));
            let long = |from: Timestamp| from.plus(LONG) <= now;
            if !run.is_said && long(run.begun) {
                run.is_said = true;
                let of = (trace_id, span_id, format!("run {}", key.dag_id));
                say.push(said(of, run.begun, Run::attributes(key)));
            }
            for (task_id, copies) in &mut run.copies {
                for (map_index, copy) in copies {
                    let Some((number, started)) = copy.begun.filter(|(_, at)| long(*at)) else {
                        continue;
                    };
                    copy.begun = None;
                    let token = (task_id.clone(), *map_index, number.0, number.1);
                    let of_try = Run::span_of_try(key, run.due, &token);
                    let mut attributes = Run::attributes_of_try(key, &token);
                    attributes.extend(where_it_is(copy));
                    say.push(said((trace_id, of_try, task_id.to_string()), started, attributes));
                }
            }
        }
    }
}

fn where_it_is(copy: &Copy) -> [(&'static str, String); 2] {
    [("dagbok.executor", copy.executor.clone()), ("host.name", copy.host.clone())]
}

fn said(
    (trace_id, span_id, name): ([u8; 16], [u8; 8], String),
    start: Timestamp,
    mut attributes: Vec<(&'static str, String)>,
) -> Span {
    attributes.push(("dagbok.state", "running".to_owned()));
    Span {
        trace_id,
        span_id: under_way_span(span_id),
        parent: Some(span_id),
        name: format!("{name} is under way"),
        start,
        end: start.plus(LONG),
        attributes,
        error: None,
        links: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use dagbok_events::{Leg, MapIndex, RunId, RunKey, TaskId, TryNumber};

    use super::*;
    use crate::spans::{End, leg_ended};

    #[test]
    fn a_try_is_said_apart_from_its_run_and_not_once_it_is_over() {
        let key = RunKey { dag_id: "etl".parse().unwrap(), run_id: RunId::new("r").unwrap() };
        let (task, index): (TaskId, _) = ("train".parse().unwrap(), MapIndex(3));
        let mut run = Run {
            trace_id: [1; 16],
            is_sampled: true,
            begun: Timestamp(5),
            due: Timestamp(3),
            is_said: true,
            ..Run::default()
        };
        let number = (TryNumber::new(2).unwrap(), Leg(0));
        let copy = run.copy(&task, index);
        copy.begun = Some((number, Timestamp(9)));
        (copy.executor, copy.host) = ("local".to_owned(), "n1".to_owned());
        let other = run.copy(&task, MapIndex(4));
        (other.begun, other.started) = (Some((number, Timestamp(9))), Some(Timestamp(9)));
        let token = (task.clone(), MapIndex(4), number.0, number.1);
        let end = End { token, at: Timestamp(69), result: "success", error: None };
        leg_ended(&mut run, &key, end, false).unwrap();
        let mut spans = Spans::default();
        spans.runs.insert(key.clone(), run);
        let (mut early, mut say) = (Vec::new(), Vec::new());
        let then = Timestamp(9).plus(LONG);
        spans.pass(then.plus(Micros(-1)), &mut early);
        assert_eq!(early, []);
        spans.pass(then, &mut say);
        spans.pass(then.plus(LONG), &mut say);
        let [span] = say.as_slice() else { panic!("{say:?}") };
        assert_eq!(
            (span.name.as_str(), span.start, span.end),
            ("train is under way", Timestamp(9), then)
        );
        let token = (task, index, number.0, number.1);
        assert_eq!(span.parent, Some(Run::span_of_try(&key, Timestamp(3), &token)));
        for (name, value) in [
            ("dagbok.task_id", "train"),
            ("dagbok.try_number", "2"),
            ("dagbok.map_index", "3"),
            ("dagbok.executor", "local"),
            ("host.name", "n1"),
            ("dagbok.state", "running"),
        ] {
            assert!(span.attributes.contains(&(name, value.to_owned())), "{name}: {span:?}");
        }
    }

    #[test]
    fn what_takes_long_is_said_once_and_the_same_each_time() {
        let key = RunKey { dag_id: "etl".parse().unwrap(), run_id: RunId::new("r").unwrap() };
        let mut spans = Spans::default();
        let run = Run {
            trace_id: [1; 16],
            is_sampled: true,
            begun: Timestamp(5),
            due: Timestamp(3),
            ..Run::default()
        };
        spans.runs.insert(key.clone(), run);
        let said = |spans: &mut Spans, now| {
            let mut say = Vec::new();
            spans.pass(now, &mut say);
            say
        };
        let then = Timestamp(5).plus(LONG);
        assert_eq!(said(&mut spans, then.plus(Micros(-1))), []);
        let again = said(&mut spans.clone(), then.plus(LONG));
        let once = said(&mut spans, then);
        assert_eq!(once, again, "whenever it is said");
        let [span] = once.as_slice() else { panic!("{once:?}") };
        assert_eq!((span.start, span.end), (Timestamp(5), then));
        assert_eq!(span.parent, Some(spans.runs[&key].span_id(&key)));
        assert_eq!(span.name, "run etl is under way");
        assert_eq!(said(&mut spans, then.plus(LONG)), []);
    }
}
