//! An executor that runs each try in a pod of Kubernetes.
//!
//! It pulls work as every executor does, makes a pod for each item and passes the delivery on: in the pod the same program is an
//! executor of that one try (`dagbok executor one`), which reports, renews, streams its log and acknowledges by itself. So a
//! pod goes on while whoever made it is away. What is here watches the pods, and tells what the one in the pod can't: that it was
//! killed for memory, evicted, preempted, deleted, or never began, and why.
//!
//! It decides nothing of tries; and of what it must know after a restart it keeps nothing but what its pods say.
mod api;
mod book;
mod end;
mod late;
mod merge;
mod names;
mod service;
mod settings;
mod shared;
mod spec;
mod standing;
mod status;
mod take;
mod template;
mod watch;

pub use service::{PodsError, run};
pub use settings::{FATAL_REASONS, PodsSettings};
pub use spec::{CLAIM_VARIABLE, EXECUTOR_VARIABLE, MAKER_VARIABLE, QUEUE_VARIABLE, TRY_VARIABLE};
pub use template::{Template, TemplateError};
