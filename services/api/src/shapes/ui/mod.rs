//! What the web UI draws: one snapshot for each view. Each says up to which record it is folded (`seq`) and when
//! that was (`as_of`); what has nothing to say is left out.
mod code;
mod dag;
mod home;
mod log;
mod operate;
mod past;
mod question;
mod run;

pub use code::{UiChange, UiChangeKind, UiChanges, UiCode, UiCodeError, UiCodeVersion};
pub use dag::{UiColumn, UiDag, UiDagRow, UiDags, UiGridTask, UiLastRun, UiParam};
pub use home::{
    UiAlert, UiExpected, UiFailedRun, UiHome, UiImportError, UiLate, UiNext, UiTold, UiVerdict,
    UiWaiting,
};
pub use log::{UiLog, UiLogLine};
pub use operate::{UiExecutors, UiPool, UiPoolTask, UiPools};
pub use past::{UiDay, UiPast, UiPoint, UiTaskPast};
pub use question::{UiAnswer, UiAsk, UiQuestion};
pub use run::{UiFailure, UiRun, UiRunTask, UiTask, UiTryBar, UiXCom};
