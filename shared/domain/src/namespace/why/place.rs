//! How many go before a task that is ready: by the order in which tasks are picked, were there room.
use dagbok_events::Timestamp;
use dagbok_protocol::{Place, WaitingLine};

use super::{COUNTED, Namespace, RunNo};
use crate::{
    namespace::{pick::Pick, room::Room},
    run::{InstanceNo, Run},
};

impl Namespace {
    /// Its place in line; nothing of what is not ready.
    pub(super) fn place(
        &self,
        number: RunNo,
        run: &Run,
        no: InstanceNo,
        now: Timestamp,
    ) -> Option<Place> {
        run.may_queue(no, now).filter(|_| !run.timed_out(now))?;
        let dag = self.dags.get(&run.key().dag_id)?;
        let (line_no, line) = run.line_of(no);
        let is_capped = line.cap.as_ref().is_some_and(|cap| self.is_full(&run.key().dag_id, cap));
        if is_capped || run.room_of_line(line_no) == 0 {
            let pool = Some((&line.pool, line.slots));
            return Some(self.place_within(run, (number, no), pool, WaitingLine::Task));
        }
        if dag.room() == 0 {
            return Some(self.place_within(run, (number, no), None, WaitingLine::Dag));
        }
        let mut room = Room::boundless_in(self, &line.pool);
        let mut pick = Pick::new(self, &mut room, now);
        let line = WaitingLine::Pool(line.pool.clone());
        let mut before = 0;
        while before < COUNTED {
            match pick.next(&mut room) {
                Some(picked) if picked == (number, no) => {
                    return Some(Place { before, at_least: false, line });
                }
                Some(_) => before += 1,
                // Only limits of the tasks before it keep it from being reached.
                None => return None,
            }
        }
        Some(Place { before, at_least: true, line })
    }

    /// Its place among what its own DAG has ready, of one pool and number of slots under its own cap, or of all.
    fn place_within(
        &self,
        run: &Run,
        (number, no): (RunNo, InstanceNo),
        of: Option<(&dagbok_events::PoolName, u32)>,
        line: WaitingLine,
    ) -> Place {
        let weight = std::cmp::Reverse(run.spec(no).priority_weight);
        let own_cap = run.line_of(no).1.cap.as_ref().map(|cap| &cap.task_id);
        let mut before = 0_u32;
        for (other, line_no) in self.index.lanes.lines_of(&run.key().dag_id, of) {
            let Some(other_run) = self.runs.get(&other) else { continue };
            let cap = other_run.version().line(line_no).cap.as_ref().map(|cap| &cap.task_id);
            if of.is_some() && cap != own_cap {
                continue;
            }
            let Some(queue) = other_run.waiting_in(line_no) else { continue };
            // Of the same weight the older run goes first.
            let up_to = match other.cmp(&number) {
                std::cmp::Ordering::Less => InstanceNo::MAX,
                std::cmp::Ordering::Equal => no,
                std::cmp::Ordering::Greater => 0,
            };
            before = before.saturating_add(queue.ready_before(weight, up_to));
            if before >= COUNTED {
                return Place { before: COUNTED, at_least: true, line };
            }
        }
        Place { before, at_least: false, line }
    }
}
