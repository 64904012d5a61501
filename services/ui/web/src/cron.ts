/** A schedule in a few words: `daily 20:00 UTC` of `0 20 * * *`. What has no few words stays as it was written. */

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const NAMED: Record<string, string> = { "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *" };
const NEVER = "never, only when triggered";

const two = (text: string): string => text.padStart(2, "0");
/** The days of a week that a field names, as `Mon–Fri`; nothing of one that says more than that. */
function days(field: string): string | undefined {
  const names = field.split(",").map((one) => {
    const [, from = "", to] = /^(\w{1,3})(?:-(\w{1,3}))?$/.exec(one) ?? [];
    const name = (text: string) => (/^[0-7]$/.test(text) ? DAYS[Number(text)] : DAYS.find((day) => day.toUpperCase() === text.toUpperCase()));
    const [first, last] = [name(from), to === undefined ? "" : name(to)];
    return first === undefined || last === undefined ? undefined : last ? `${first}–${last}` : first;
  });
  return names.includes(undefined) ? undefined : names.join(", ");
}

/** Whether steps of a field are even: those that do not fill it, as 5 hours a day of 24, begin anew with it. */
const isEven = (step: string, field: number): boolean => field % Number(step) === 0;

function ofCron(text: string): { words: string; timed: boolean } | undefined {
  const [minute = "", hour = "", day, month, weekday = "", ...more] = text.trim().split(/\s+/);
  if (more.length || month !== "*") return undefined;
  const always = day === "*" && weekday === "*";
  const [, minutes] = /^\*\/(\d+)$/.exec(minute) ?? [];
  if (always && hour === "*" && minute === "*") return { words: "every minute", timed: false };
  if (always && hour === "*" && minutes && isEven(minutes, 60)) return { words: `every ${minutes} minutes`, timed: false };
  if (!/^\d+$/.test(minute)) return undefined;
  const [, hours] = /^\*\/(\d+)$/.exec(hour) ?? [];
  if (always && hour === "*") return { words: `hourly at :${two(minute)}`, timed: false };
  if (always && hours && isEven(hours, 24)) return { words: `every ${hours} hours at :${two(minute)}`, timed: true };
  const times = hour.split(",");
  if (times.length > 4 || !times.every((one) => /^\d+$/.test(one))) return undefined;
  const at = times.map((one) => `${two(one)}:${two(minute)}`).join(", ");
  if (always) return { words: `daily ${at}`, timed: true };
  if (day === "*") {
    const named = days(weekday);
    return named ? { words: `${named} ${at}`, timed: true } : undefined;
  }
  return weekday === "*" && /^\d+$/.test(day ?? "") ? { words: `monthly on the ${day}., ${at}`, timed: true } : undefined;
}

/** Of a DAG's schedule as it was written, and all that is known of it in words. */
export function schedule(text: string | null | undefined, words: string): string | undefined {
  const found = text ? ofCron(NAMED[text] ?? text) : undefined;
  // The zone stands in what is known of it.
  const [, zone] = /` in ([^\s,]+)/.exec(words) ?? [];
  if (found) return `${found.words}${found.timed && zone ? ` ${zone}` : ""}`;
  return text ?? (words === NEVER ? undefined : words);
}
