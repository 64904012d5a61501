/** Words by which runs are looked for: `state:failed dag:reco* since:7d lr=0.001 nov 19`, and parts of ids. */
import type { Query } from "./base";
import { now, zone } from "./time";

/** What the words ask of the API, and those that mean nothing. */
export interface Search {
  query: Query;
  /** Whether more than parts of an id was asked for. */
  keyed: boolean;
  odd: string[];
}

const STATES = ["queued", "running", "success", "failed", "cancelled"];
const TYPES = ["manual", "scheduled", "backfill", "asset_triggered"];
/** Words before a colon that mean something; any other is a part of an id, as Airflow's own ids have colons. */
const KEYS = ["state", "type", "dag", "by", "id", "since", "until"];
const MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
const UNITS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 };

/** `7d` before now, or the begin of `2026-11-19`; or its end. */
function instant(text: string, end = false): string | undefined {
  const ago = /^(\d+)([mhdw])$/.exec(text);
  if (ago) return new Date(now() - Number(ago[1]) * (UNITS[ago[2] ?? ""] ?? 0)).toISOString();
  const [, year, month, date] = (/^(\d{4})-(\d{1,2})-(\d{1,2})$/.exec(text) ?? []).map(Number);
  return isDay(year, month, date) ? day(Number(year), Number(month) - 1, Number(date), end) : undefined;
}
/** Whether there is such a day; months count from 1. */
const isDay = (year = 0, month = 0, date = 0): boolean => month >= 1 && month <= 12 && date >= 1 && date <= new Date(Date.UTC(year, month, 0)).getUTCDate();

/** Which month a word is: its name, or the first three letters of it. */
const monthOf = (word: string): number => MONTHS.findIndex((name) => name === word.toLowerCase() || name.slice(0, 3) === word.toLowerCase());

/** The year in which a day was last; no leap day is farther than eight years. */
function lastYear(month: number, date: number): number | undefined {
  const year = new Date(now()).getFullYear();
  for (let at = year; at >= year - 8; at--) if (isDay(at, month + 1, date) && Date.parse(day(at, month, date, false)) <= now()) return at;
  return undefined;
}

/** The first moment of a day in the page's zone, or its last. */
function day(year: number, month: number, date: number, end: boolean): string {
  const parts = [year, month, date, end ? 23 : 0, end ? 59 : 0, end ? 59 : 0] as const;
  return new Date(zone() === "UTC" ? Date.UTC(...parts) : new Date(...parts).getTime()).toISOString();
}

export function search(text: string): Search {
  const found: Search = { query: {}, keyed: false, odd: [] };
  const { query } = found;
  const conf: string[] = [];
  const ids: string[] = [];
  const words = text.match(/(?:[^\s"]|"[^"]*")+/g) ?? [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    const [, key = "", value = ""] = /^([a-z_]+):(.+)$/i.exec(word) ?? [];
    const plain = value.replaceAll('"', "");
    const since = key === "since" || key === "until" ? instant(plain, key === "until") : undefined;
    const month = monthOf(word);
    const date = Number(words[at + 1]);
    if (key === "state" && STATES.includes(plain)) query["state"] = plain;
    else if (key === "type" && TYPES.includes(plain)) query["run_type"] = plain;
    else if (key === "dag") query["dag_id_pattern"] = plain.replaceAll("*", "%");
    else if (key === "by") query["triggering_user_name_pattern"] = plain.replaceAll("*", "%");
    else if (key === "id") query["run_id_pattern"] = plain.replaceAll("*", "%");
    else if (since) query[key === "since" ? "run_after_gte" : "run_after_lte"] = since;
    else if (/^[\w.-]+=/.test(word)) conf.push(word.replaceAll('"', ""));
    else if (month >= 0 && /^\d{1,2}$/.test(words[at + 1] ?? "")) {
      at++;
      const year = lastYear(month, date);
      if (year === undefined) {
        found.odd.push(`${word} ${date}`);
        continue;
      }
      query["run_after_gte"] = day(year, month, date, false);
      query["run_after_lte"] = day(year, month, date, true);
    } else if (KEYS.includes(key)) found.odd.push(word);
    else ids.push(word.replaceAll("*", "%"));
  }
  if (conf.length) query["conf"] = conf;
  found.keyed = Object.keys(query).length > 0;
  if (ids.length) query["run_id_pattern"] = ids.join("%");
  return found;
}
