//! Why a schedule cannot be used, in words for the person who wrote it.

/// A schedule that no run could be planned from. Says which part, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// One field of a cron expression is not croniter's dialect.
    #[error("cron expression `{expression}`: {field} field `{text}`: {reason}")]
    CronField {
        /// The expression as written.
        expression: String,
        /// Which field: `minute`, `hour`, `day-of-month`, `month`, `day-of-week`, `second` or `year`.
        field: &'static str,
        /// That field as written.
        text: String,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// A cron expression with a wrong number of fields.
    #[error(
        "cron expression `{expression}` has {found} fields: write five (minute, hour, day of month, month, \
         day of week), a sixth for seconds, a seventh for years, or a preset such as `@daily`"
    )]
    CronFields {
        /// The expression as written.
        expression: String,
        /// How many fields it has.
        found: usize,
    },
    /// A row of cron expressions without any.
    #[error("a timetable of cron expressions needs at least one")]
    NoCron,
    /// A time zone that is neither in the tz database nor an offset.
    #[error(
        "time zone `{zone}` is not known: write an IANA name such as `Europe/Zurich`, `UTC`, \
         or an offset such as `+02:00`"
    )]
    Zone {
        /// The zone as written.
        zone: String,
    },
    /// A delta that does not move time forward.
    #[error("schedule interval must be positive, not {months} months and {micros} microseconds")]
    Delta {
        /// Calendar months.
        months: i32,
        /// Fixed part.
        micros: i64,
    },
}
