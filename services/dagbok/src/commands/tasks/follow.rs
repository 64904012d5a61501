//! Lines of a try as they come, until it is over: also over a restart of the API, after which no line is told twice.
use std::time::{Duration, Instant};

use dagbok_api::shapes::{Health, LogLine, TryInstance};

use crate::{api::Api, codes::Code, failure::Failure};

/// The pause before an API that went away is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause: each time the try's log is read from its begin.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An API that is away or fails for so long does not come back by itself.
const PATIENCE: Duration = Duration::from_mins(30);

/// Which try.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub(super) dag_id: String,
    pub(super) run_id: String,
    pub(super) task_id: String,
    pub(super) map_index: i32,
    pub(super) number: u16,
}

impl Of {
    /// The try as the API shows it.
    pub(super) async fn shown(&self, api: &Api) -> Result<TryInstance, Failure> {
        let number = self.number.to_string();
        let path = ["dags", &self.dag_id, "dagRuns", &self.run_id, "taskInstances", &self.task_id];
        let path = [&path[..], &["tries", &number]].concat();
        api.get(&path, &[("map_index", self.map_index.to_string())]).await
    }

    /// Tells its lines until it is over; then how it ended, and how many lines there were.
    pub(super) async fn lines<F: Future<Output = ()>>(
        &self,
        api: &Api,
        away: impl Fn(),
        mut tell: impl FnMut(LogLine) -> F,
    ) -> Result<(TryInstance, usize), Failure> {
        let (mut told, mut known, mut said) = (0, false, false);
        let (mut pause, mut trouble) = (PAUSE, None);
        loop {
            let before = told;
            match self.once(api, &mut told, &mut tell).await {
                // A service that is stopped ends its streams in good order.
                Ok(shown) if shown.dagbok.ended.is_none() => (known, trouble) = (true, None),
                Ok(shown) => return Ok((shown, told)),
                Err(failure) if (known || told > 0) && passes(api, failure.code()).await => {
                    if told > before {
                        trouble = None;
                    }
                    let since = *trouble.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        return Err(failure);
                    }
                    if !said {
                        away();
                        said = true;
                    }
                }
                Err(failure) => return Err(failure),
            }
            pause = if told > before { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::time::sleep(pause).await;
        }
    }

    async fn once<F: Future<Output = ()>>(
        &self,
        api: &Api,
        told: &mut usize,
        tell: &mut impl FnMut(LogLine) -> F,
    ) -> Result<TryInstance, Failure> {
        let number = self.number.to_string();
        let path = ["dagbok", "logs", &self.dag_id, &self.run_id, &self.task_id, &number, "follow"];
        let mut lines = api.lines(&path, &[("map_index", self.map_index.to_string())]).await?;
        let mut seen = 0;
        while let Some(line) = lines.next::<LogLine>().await? {
            seen += 1;
            if seen > *told {
                *told = seen;
                tell(line).await;
            }
        }
        self.shown(api).await
    }
}

/// Whether it may be better in a moment: an API that is started again takes one, and knows at first less than before. Of
/// one that knows the whole log, what is not there is gone.
async fn passes(api: &Api, code: Code) -> bool {
    match code {
        Code::ApiUnreachable | Code::ApiFailed => true,
        Code::NotFound => match api.get::<Health>(&["monitor", "health"], &[]).await {
            Ok(health) => health.dagbok.projection.applied < health.dagbok.projection.last,
            Err(_) => true,
        },
        _ => false,
    }
}
