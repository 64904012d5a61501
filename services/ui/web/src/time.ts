/** Instants and lengths of time in words. One zone for the whole page. */
import { createEffect, createMemo, createSignal, onCleanup } from "solid-js";
import { asOf } from "./live";

/** This machine's, UTC, or that of the DAG which is looked at. */
export type Zone = "local" | "UTC" | "DAG";
const ZONES: Zone[] = ["local", "UTC", "DAG"];
const chosen = ZONES.find((one) => one === localStorage.getItem("dagbok.zone")) ?? "local";
const [wanted, setZoneSignal] = createSignal<Zone>(chosen);
const [dagZone, setDagZone] = createSignal<string>();
/** What zone times are in: where no DAG is looked at its own is UTC. */
export const zone = (): Zone => (wanted() === "DAG" && !dagZone() ? "UTC" : wanted());
/** What that is called. */
export const zoneName = (): string => (zone() === "DAG" ? (dagZone() ?? "") : zone());
/** The next of them, where a DAG is looked at with its own. */
export function turnZone() {
  const all = dagZone() && dagZone() !== "UTC" ? ZONES : ZONES.slice(0, 2);
  setZone(all[(all.indexOf(zone()) + 1) % all.length] ?? "local");
}
const zones = new Map<string, string>();
/** A DAG's zone where this browser knows it, else UTC: Python may know more. */
export function knownZone(name: string): string {
  let found = zones.get(name);
  if (found === undefined) {
    try {
      new Intl.DateTimeFormat("en-GB", { timeZone: name });
      found = name;
    } catch {
      found = "UTC";
    }
    zones.set(name, found);
  }
  return found;
}
/** Has the page's DAG be one of this zone, as long as whoever calls is drawn. */
export function inZoneOf(of: () => string | undefined) {
  const named = createMemo(() => {
    const name = of();
    return name ? knownZone(name) : undefined;
  });
  createEffect(() => {
    setDagZone(named());
    onCleanup(() => setDagZone(undefined));
  });
}
export function setZone(to: Zone) {
  localStorage.setItem("dagbok.zone", to);
  setZoneSignal(to);
}

const made = new Map<string, Intl.DateTimeFormat>();
function format(options: Intl.DateTimeFormatOptions, of: Zone): Intl.DateTimeFormat {
  const named = of === "local" ? undefined : of === "UTC" ? "UTC" : dagZone();
  const key = `${JSON.stringify(options)}${named ?? "local"}`;
  let found = made.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat("en-GB", { ...options, ...(named ? { timeZone: named } : {}), hourCycle: "h23" });
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

/** Whole, in each zone, for titles. */
export function whole(at: string): string {
  const date = new Date(at);
  const said = (of: Zone, name: string) => ` · ${partsOf(date, of).month} ${partsOf(date, of).day} ${format(SECOND, of).format(date)} ${name}`;
  const own = dagZone();
  return `${at.replace("T", " ").replace(/\.\d+Z$/, "Z").replace("Z", " UTC")}${said("local", "local")}${own && own !== "UTC" ? said("DAG", own) : ""} · ${ago(at)}`;
}

/** The date that it is in a zone: `2026-11-19`. */
export function dateIn(of: string, at: number): string {
  let found = made.get(of);
  if (!found) {
    // Canada writes dates as ISO 8601 does.
    found = new Intl.DateTimeFormat("en-CA", { timeZone: knownZone(of), year: "numeric", month: "2-digit", day: "2-digit" });
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
