/** Instants and lengths of time in words. One zone for the whole page. */
import { createSignal } from "solid-js";
import { asOf } from "./live";

export type Zone = "local" | "UTC";
const [zone, setZoneSignal] = createSignal<Zone>(localStorage.getItem("dagbok.zone") === "UTC" ? "UTC" : "local");
export { zone };
export function setZone(to: Zone) {
  localStorage.setItem("dagbok.zone", to);
  setZoneSignal(to);
}

const made = new Map<string, Intl.DateTimeFormat>();
function format(options: Intl.DateTimeFormatOptions, of: Zone): Intl.DateTimeFormat {
  const key = JSON.stringify(options) + of;
  let found = made.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat("en-GB", { ...options, ...(of === "UTC" ? { timeZone: "UTC" } : {}), hourCycle: "h23" });
    made.set(key, found);
  }
  return found;
}

const DAY: Intl.DateTimeFormatOptions = { month: "short", day: "numeric" };
const MINUTE: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit" };
const SECOND: Intl.DateTimeFormatOptions = { ...MINUTE, second: "2-digit" };

function partsOf(at: Date, of: Zone): { day: string; month: string } {
  const parts = format(DAY, of).formatToParts(at);
  const find = (type: string) => parts.find((one) => one.type === type)?.value ?? "";
  return { day: find("day"), month: find("month") };
}

/** `Nov 19`. */
export function day(at: string | number | Date): string {
  const { day, month } = partsOf(new Date(at), zone());
  return `${month} ${day}`;
}
/** `02:00`. */
export const minute = (at: string | number | Date): string => format(MINUTE, zone()).format(new Date(at));
/** `02:00:03`. */
export const second = (at: string | number | Date): string => format(SECOND, zone()).format(new Date(at));
/** `Nov 19 02:00`. */
export const short = (at: string | number | Date): string => `${day(at)} ${minute(at)}`;
/** `02:00` today, else `Nov 19 02:00`. */
export const near = (at: string): string => (day(at) === day(now()) ? minute(at) : short(at));

/** Whole, in both zones, for titles. */
export function whole(at: string): string {
  const date = new Date(at);
  const local = `${partsOf(date, "local").month} ${partsOf(date, "local").day} ${format(SECOND, "local").format(date)} local`;
  return `${at.replace("T", " ").replace(/\.\d+Z$/, "Z").replace("Z", " UTC")} · ${local} · ${ago(at)}`;
}

/** The date that it is in a zone: `2026-11-19`. */
export function dateIn(of: string, at: number): string {
  let found = made.get(of);
  if (!found) {
    // Canada writes dates as ISO 8601 does.
    found = new Intl.DateTimeFormat("en-CA", { timeZone: of, year: "numeric", month: "2-digit", day: "2-digit" });
    made.set(of, found);
  }
  return found.format(at);
}

const [tick, setTick] = createSignal(Date.now());
setInterval(() => setTick(Date.now()), 1_000);
/** The server's clock as far as it is known: the browser's may be wrong. */
export function now(): number {
  return tick() + offset;
}
let offset = 0;
/** Learns the server's clock from a snapshot. */
export function learn() {
  const at = asOf();
  if (at) offset = Math.abs(Date.parse(at) - Date.now()) > 60_000 ? Date.parse(at) - Date.now() : 0;
}

/** `31 s`, `2 m 05 s`, `3 h 10 m`, `4 d 2 h`. */
export function length(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 0.9995) return `${Math.round(s * 1_000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} m ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ${String(Math.floor((s % 3_600) / 60)).padStart(2, "0")} m`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3_600)} h`;
}
const coarse = (seconds: number): string => length(seconds < 10 ? Math.max(1, Math.round(seconds)) : seconds).replace(".0 ", " ");

/** `5 m 02 s ago`, `in 3 h 10 m`. */
export function ago(at: string): string {
  const seconds = (now() - Date.parse(at)) / 1_000;
  return seconds >= 0 ? `${coarse(seconds)} ago` : `in ${coarse(-seconds)}`;
}

/** What may not be there: the API leaves it out or says null. */
export type Maybe<T> = T | null | undefined;

/** Seconds from one to the other, or until now. */
export function between(start: Maybe<string>, end: Maybe<string>): number | undefined {
  if (!start) return undefined;
  return ((end ? Date.parse(end) : now()) - Date.parse(start)) / 1_000;
}
