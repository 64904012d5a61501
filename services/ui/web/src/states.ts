/** Airflow's states: their family, which has the colour, and their glyph. */
export type Family = "done" | "failed" | "knock" | "running" | "retry" | "waiting" | "none" | "notrun";

interface Look {
  family: Family;
  glyph: string;
  word: string;
}

const LOOKS: Record<string, Look> = {
  success: { family: "done", glyph: "✓", word: "success" },
  failed: { family: "failed", glyph: "✕", word: "failed" },
  cancelled: { family: "notrun", glyph: "■", word: "cancelled" },
  upstream_failed: { family: "knock", glyph: "↥", word: "upstream failed" },
  running: { family: "running", glyph: "▸", word: "running" },
  up_for_retry: { family: "retry", glyph: "↺", word: "up for retry" },
  queued: { family: "waiting", glyph: "≡", word: "queued" },
  scheduled: { family: "waiting", glyph: "◷", word: "scheduled" },
  up_for_reschedule: { family: "waiting", glyph: "⟳", word: "up for reschedule" },
  deferred: { family: "waiting", glyph: "☾", word: "deferred" },
  skipped: { family: "notrun", glyph: "–", word: "skipped" },
  removed: { family: "notrun", glyph: "⌀", word: "removed" },
  none: { family: "none", glyph: "", word: "no state yet" },
  cleared: { family: "none", glyph: "", word: "no state yet" },
};
const UNKNOWN: Look = { family: "none", glyph: "", word: "unknown" };

/** A run's state for eyes: Airflow has one word, `failed`, for what failed and what somebody cancelled. */
export const stands = (state: string, ended?: string | null): string => (state === "failed" && ended === "cancelled" ? "cancelled" : state);

export const look = (state: string): Look => LOOKS[state] ?? { ...UNKNOWN, word: state };

/** The states by the digits of a grid's cell. */
export const DIGITS = [
  "none", "scheduled", "queued", "running", "success", "failed",
  "up_for_retry", "skipped", "upstream_failed", "removed", "up_for_reschedule", "none", "deferred",
] as const;
