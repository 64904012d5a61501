//! The processor: files that change, break, mend, go and come back, and the folder's code. It tells one
//! thing after the other, each until it is answered.
use std::collections::VecDeque;

use dagbok_events::{Actor, DagSpec, Timestamp, Timetable};
use dagbok_protocol::{Command, CommandBody, DagFile, ImportError};

use crate::{
    dags::{digest, file_name, file_of, some_answer, some_dag, unscheduled},
    world::{SECOND, World},
};

/// The processor.
#[derive(Debug)]
pub(crate) struct Processor {
    /// When the folder next changes.
    pub(crate) wake: i64,
    files: Vec<DagSpec>,
    bundle: u64,
    /// What is yet to be told, in order, and the next word's time where it was sent already.
    todo: VecDeque<Command>,
    again_at: Option<i64>,
}

impl Processor {
    /// With this many files, all told of.
    pub(crate) fn new(world: &mut World, count: usize) -> Self {
        let now = Timestamp(world.now);
        let files = (0..count).map(|n| some_dag(&mut world.rng, n, now, world.pace)).collect();
        let (todo, again_at) = (VecDeque::new(), None);
        let mut processor = Self { wake: world.now, files, bundle: 1, todo, again_at };
        for n in 0..count {
            processor.tell_of(world, n);
        }
        processor
    }

    pub(crate) fn step(&mut self, world: &mut World) {
        if world.chaos && self.todo.is_empty() && world.rng.chance(100) {
            self.change(world);
        }
        self.wake = world.now + SECOND / 4;
        let Some(command) = self.todo.front() else { return };
        if self.again_at.is_some() && world.answer_to(&command.id).is_some() {
            self.again_at = None;
            self.todo.pop_front();
            self.wake = world.now;
        } else if self.again_at.is_none_or(|at| at <= world.now) {
            world.send_once(command);
            self.again_at = Some(world.now + 2 * SECOND);
        }
    }

    /// Whether everything was told and heard.
    pub(crate) fn is_content(&self) -> bool {
        self.todo.is_empty()
    }

    fn change(&mut self, world: &mut World) {
        let n = world.rng.below(self.files.len());
        match world.rng.below(8) {
            0 => self.tell_of(world, n),
            1 => {
                self.files[n] = some_dag(&mut world.rng, n, Timestamp(world.now), world.pace);
                self.bundle += 1;
                self.tell_of(world, n);
            }
            2 => self.tell(world, CommandBody::DagFileGone { file: file_name(n) }),
            3 => {
                let mut broken = self.file(world, n);
                broken.dags.clear();
                broken.errors.push(ImportError {
                    line: Some(1),
                    exception: "SyntaxError".to_owned(),
                    message: "invalid syntax".to_owned(),
                    traceback: String::new(),
                });
                self.tell(world, CommandBody::DagFileRead(Box::new(broken)));
            }
            4 => {
                // The same DAG in another file, which is refused it.
                let mut copy = self.file(world, n);
                "copy.py".clone_into(&mut copy.file);
                self.tell(world, CommandBody::DagFileRead(Box::new(copy)));
            }
            _ => self.tell(
                world,
                CommandBody::PublishBundle { bundle: digest(self.bundle), folder: None },
            ),
        }
    }

    /// Ends every schedule, with every file in its place.
    pub(crate) fn settle(&mut self, world: &mut World) {
        self.tell(world, CommandBody::DagFileGone { file: "copy.py".to_owned() });
        for n in 0..self.files.len() {
            self.files[n] = unscheduled(self.files[n].clone());
            self.tell_of(world, n);
        }
    }

    fn file(&self, world: &mut World, n: usize) -> DagFile {
        let mut file = file_of(&self.files[n], self.bundle);
        for dag in &mut file.dags {
            if matches!(dag.spec.schedule.timetable, Timetable::Python { .. }) {
                let answer = some_answer(&mut world.rng, Timestamp(world.now), world.pace);
                // It may fail to answer, too.
                dag.foretold = world.rng.chance(900).then(|| Box::new(answer));
            }
        }
        file
    }

    fn tell_of(&mut self, world: &mut World, n: usize) {
        let file = self.file(world, n);
        self.tell(world, CommandBody::DagFileRead(Box::new(file)));
    }

    fn tell(&mut self, world: &mut World, body: CommandBody) {
        let command = world.command(Actor::Processor, body, true);
        self.todo.push_back(command);
    }
}
