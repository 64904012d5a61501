//! Questions that tasks ask people, and from when on one counts as forgotten.
use dagbok_events::{DagId, MapIndex, Micros, RunKey, TaskId, Timestamp, TryDeferred};
use dagbok_protocol::text;
use serde::{Deserialize, Serialize};

use super::{
    Watch,
    dues::{Due, shift},
    times::last_of,
};
use crate::{Rule, limits};

/// One that nobody has answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Question {
    /// Until when it can be answered, where it has an end.
    until: Option<Timestamp>,
    /// From when on it counts as forgotten, and since when it is asked.
    due: Due,
}

impl Question {
    /// What was asked later than the clock shows now was asked now.
    pub(super) fn clock_back(&mut self, to: Timestamp) {
        self.due = shift(self.due.clone(), to);
    }
}

impl Watch {
    /// A task asks.
    pub(super) fn asked(&mut self, seq: u64, at: Timestamp, run: &RunKey, it: &TryDeferred) {
        let Some(ask) = &it.ask else { return };
        let copy = if it.map_index.is_unmapped() {
            String::new()
        } else {
            format!(" of copy {}", it.map_index.0)
        };
        let end = match (it.timeout_at, ask.defaults.as_ref().filter(|it| !it.is_empty())) {
            (None, _) => String::new(),
            (Some(until), None) => format!("; at {until} the task fails"),
            (Some(until), Some(chosen)) => format!("; at {until} `{}` counts", chosen.join(", ")),
        };
        // It stands in titles, which are of one line.
        let subject: String = ask
            .subject
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        let what = format!("\"{}\"{copy}{end}", text::cut(&subject, limits::QUESTION_BYTES));
        let what = text::cut(&what, 2 * limits::QUESTION_BYTES);
        let (run_id, task_id) = (Some(run.run_id.clone()), Some(it.task_id.clone()));
        let due = Due { at, seq, run_id, task_id, from: Some(at), what, is_configured: true };
        self.answered(run, &it.task_id, it.map_index, 0);
        self.wait_for(run, it.map_index, Question { until: it.timeout_at, due });
    }

    /// Sets from when on a question counts as forgotten: after what the configuration allows, or once a quarter is left of
    /// the time that it has.
    fn wait_for(&mut self, run: &RunKey, map_index: MapIndex, mut question: Question) {
        let (Some(dag), Some(task_id)) = (self.dags.get(&run.dag_id), &question.due.task_id) else {
            return;
        };
        let copy = (task_id.clone(), map_index);
        let asked = question.due.from.unwrap_or(question.due.at);
        let patience = self.heeded(&run.dag_id, dag).answer_within;
        let most = question.until.map(|until| until.since(asked).0.max(0) / 4 * 3);
        question.due.at = asked.plus(Micros(most.unwrap_or(i64::MAX).min(patience.0)));
        let due = question.due.clone();
        let Some(known) = self.runs.get_mut(run) else { return };
        known.questions.insert(copy, question);
        self.put_due(Rule::QuestionWaiting, &run.dag_id, due);
    }

    /// Copies of a task wait for nobody's answer, from `first` on and `further` after it.
    pub(super) fn answered(
        &mut self,
        run: &RunKey,
        task_id: &TaskId,
        first: MapIndex,
        further: u32,
    ) {
        let Some(known) = self.runs.get_mut(run).filter(|known| !known.questions.is_empty()) else {
            return;
        };
        let span = (task_id.clone(), first)..=(task_id.clone(), last_of(first, further));
        let gone: Vec<_> = known.questions.range(span).map(|(copy, _)| copy.clone()).collect();
        let gone: Vec<Question> =
            gone.iter().filter_map(|copy| known.questions.remove(copy)).collect();
        self.forget_questions(&run.dag_id, &gone);
    }

    /// Nobody waits for these any more.
    pub(super) fn forget_questions<'a>(
        &mut self,
        dag_id: &DagId,
        gone: impl IntoIterator<Item = &'a Question>,
    ) {
        for question in gone {
            self.drop_due(Rule::QuestionWaiting, dag_id, &question.due);
        }
    }

    /// Sets anew from when on a run's questions count as forgotten.
    pub(super) fn reckon_questions(&mut self, run: &RunKey) {
        let Some(known) = self.runs.get_mut(run) else { return };
        let all = std::mem::take(&mut known.questions);
        self.forget_questions(&run.dag_id, all.values());
        for ((_, map_index), question) in all {
            self.wait_for(run, map_index, question);
        }
    }
}
