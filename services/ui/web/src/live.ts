/** Snapshots of views, kept up to date by patches that the server makes. Nothing is folded here. */
import { createEffect, createSignal, on, onCleanup } from "solid-js";
import { createStore, reconcile } from "solid-js/store";
import { ApiFault, apiUrl, get, part, type Query, type Shapes } from "./base";

/** A view and what it is of. */
export type Name =
  | ["home"]
  | ["expected"]
  | ["pools"]
  /** How many come before the page. */
  | ["executors", number]
  /** By which words, and how many come before the page. */
  | ["dags", string, number]
  | ["dag", string, number]
  | ["run", string, string]
  | ["task", string, string, string, number];

interface Of {
  home: Shapes["UiHome"];
  expected: Shapes["UiExpected"];
  pools: Shapes["UiPools"];
  executors: Shapes["UiExecutors"];
  dags: Shapes["UiDags"];
  dag: Shapes["UiDag"];
  run: Shapes["UiRun"];
  task: Shapes["UiTask"];
}
export type Snapshot<N extends Name> = Of[N[0]];

export type Link = "opening" | "live" | "lost";

const [link, setLink] = createSignal<Link>("opening");
const [asOf, setAsOf] = createSignal<string>();
const [seq, setSeq] = createSignal(0);
/** How the stream of this tab stands, up to when and to which record. */
export { asOf, link, seq };

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A JSON merge patch (RFC 7396), without touching what was. */
export function merged(target: Json | undefined, patch: Json): Json {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const base = target !== null && typeof target === "object" && !Array.isArray(target) ? target : {};
  const made: { [name: string]: Json } = { ...base };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete made[name];
    else made[name] = merged(made[name], value);
  }
  return made;
}

/** The snapshot that came with the page, once. */
function fromPage(name: Name): { data?: Json; error?: { status: number; detail: unknown } } | undefined {
  const element = document.getElementById("snapshot");
  if (!element) return undefined;
  element.remove();
  const page = JSON.parse(element.textContent ?? "{}") as { of: unknown; data?: Json; error?: never };
  return JSON.stringify(page.of) === JSON.stringify(name) ? page : undefined;
}

function restPath(name: Name): [string, Query] {
  switch (name[0]) {
    case "home":
      return ["dagbok/ui/home", {}];
    case "expected":
    case "pools":
      return [`dagbok/ui/${name[0]}`, {}];
    case "executors":
      return ["dagbok/ui/executors", { offset: name[1] || undefined }];
    case "dags":
      return ["dagbok/ui/dags", { q: name[1], offset: name[2] || undefined }];
    case "dag":
      return [`dagbok/ui/dags/${part(name[1])}`, { runs: name[2] || undefined }];
    case "run":
      return [`dagbok/ui/runs/${part(name[1])}/${part(name[2])}`, {}];
    case "task":
      return [`dagbok/ui/tasks/${part(name[1])}/${part(name[2])}/${part(name[3])}`, { map_index: name[4] }];
  }
}

function streamQuery(name: Name): Query {
  switch (name[0]) {
    case "home":
    case "expected":
    case "pools":
      return { view: name[0] };
    case "executors":
      return { view: "executors", offset: name[1] || undefined };
    case "dags":
      return { view: "dags", q: name[1], offset: name[2] || undefined };
    case "dag":
      return { view: "dag", dag_id: name[1], runs: name[2] || undefined };
    case "run":
      return { view: "run", dag_id: name[1], run_id: name[2] };
    case "task":
      return { view: "task", dag_id: name[1], run_id: name[2], task_id: name[3], map_index: name[4] };
  }
}

export interface Held<T> {
  data: T | undefined;
  error: ApiFault | undefined;
  /** Whether it is another page of the list than the one that is asked for: it may be looked at until that is there. */
  old: boolean;
}

/** How long a hidden tab goes on listening. */
const HIDDEN_MS = 30_000;
/** How long a broken connection rests before it is tried again. */
const AGAIN_MS = 1_000;

/** Holds a view's snapshot and keeps it up to date; another name takes another view. One stream a tab. */
export function live<N extends Name>(name: () => N): Held<Snapshot<N>> {
  const [held, setHeld] = createStore<{ data?: Json | undefined; error?: ApiFault | undefined; old: boolean }>({ old: false });
  createEffect<string>((before?: string) => {
    const now = name();
    const key = JSON.stringify(now);
    if (key === before) return key;
    let raw: Json | undefined;
    const put = (data: Json) => {
      raw = data;
      const head = data as { seq: number; as_of: string };
      setAsOf(head.as_of);
      setSeq(head.seq);
      setHeld({ error: undefined, old: false });
      // A row of the list stays its DAG's, wherever that comes to stand.
      setHeld("data", reconcile(data, { merge: false, key: now[0] === "dags" ? "dag_id" : "id" }));
    };
    const page = fromPage(now);
    if (page?.data) put(page.data);
    else if (page?.error) setHeld("error", new ApiFault(page.error.status, page.error.detail));
    else if ((now[0] === "dags" || now[0] === "executors") && before?.startsWith(`["${now[0]}"`) && held.data !== undefined) setHeld({ error: undefined, old: true });
    else setHeld({ data: undefined, error: undefined, old: false });
    const [path, query] = restPath(now);
    onCleanup(
      follow({
        known: page?.data !== undefined,
        ask: async (signal) => put(await get<Json>(path, query, signal)),
        refused: (error) => setHeld(held.old ? { data: undefined, error, old: false } : { error }),
        // The stream goes on from what is at hand, and brings the whole where that is not the same any more.
        url: () => {
          const { seq, mark } = (raw ?? {}) as { seq?: number; mark?: string };
          return apiUrl("dagbok/ui/stream", { ...streamQuery(now), seq, mark });
        },
        whole: put,
        change: (patch) => put(merged(raw, patch)),
      }),
    );
    return key;
  });
  return held as Held<Snapshot<N>>;
}

/** Of a page that asks for what it shows by itself: how the log stands, and whether anybody answers. */
export function pulse(): void {
  live(() => ["executors", 0] as ["executors", number]);
}

interface Ways {
  /** Whether the view is at hand already. */
  known: boolean;
  /** Asks for the whole. */
  ask: (signal: AbortSignal) => Promise<void>;
  /** Is told that there is no such view. */
  refused: (error: ApiFault) => void;
  /** Where the stream is, that goes on from what is at hand. */
  url: () => string;
  whole: (data: Json) => void;
  change: (patch: Json) => void;
}

/**
 * One thing after the other: the whole is asked for, and only once it is there the stream is opened that goes on from
 * it. So no answer that comes late can overwrite what the stream brought since. A stream that breaks begins anew.
 */
function follow(ways: Ways): () => void {
  let source: EventSource | undefined;
  let timer: number | undefined;
  let asking: AbortController | undefined;
  const shut = () => {
    clearTimeout(timer);
    asking?.abort();
    asking = undefined;
    source?.close();
    source = undefined;
  };
  const again = () => {
    shut();
    timer = window.setTimeout(() => void begin(), AGAIN_MS);
  };
  const begin = async () => {
    clearTimeout(timer);
    if (source || asking) return;
    const mine = new AbortController();
    asking = mine;
    try {
      await ways.ask(mine.signal);
      if (!mine.signal.aborted) listen();
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof ApiFault) ways.refused(error);
      else setLink("lost");
      if (!(error instanceof ApiFault) || error.status >= 500) again();
    } finally {
      if (asking === mine) asking = undefined;
    }
  };
  const listen = () => {
    source = new EventSource(ways.url());
    source.onopen = () => setLink("live");
    source.addEventListener("snapshot", (event) => ways.whole(JSON.parse(event.data as string) as Json));
    source.addEventListener("patch", (event) => {
      const { seq, as_of, patch } = JSON.parse(event.data as string) as { seq: number; as_of: string; patch: object };
      ways.change({ ...(patch as { [name: string]: Json }), seq, as_of });
    });
    source.onerror = () => {
      // The browser would come back by itself, but not where the answer was an error, and never hears which.
      setLink("lost");
      again();
    };
  };
  const seen = () => {
    clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(shut, HIDDEN_MS);
    else if (!source) void begin();
  };
  document.addEventListener("visibilitychange", seen);
  if (ways.known) listen();
  else void begin();
  return () => {
    document.removeEventListener("visibilitychange", seen);
    shut();
  };
}

/** What was asked for beside the stream. */
export interface Kept<T> {
  /** The last answer. It stays while it is asked for again, and where that fails. */
  readonly latest: T | undefined;
  readonly error: Error | undefined;
  /** Whether the last answer is one to what was asked before: it may be looked at, and is not what the page names. */
  readonly old: boolean;
  /** Asks at once: something was done that changes it. */
  again: () => void;
}

interface How {
  /** The member by which a row of it is the same row: what is drawn of it stays, and with it focus and selection. */
  key?: string;
  /** Whose it is: of another nothing stays, not even for a moment. What else is asked by another key stays, marked as old. */
  whose?: () => unknown;
  /** What tells that it may be another by now, such as the log's last record. */
  when?: () => unknown;
  /** It may be another without a word: so many ms. */
  every?: number;
  /** Questions follow each other no faster than this, in ms. */
  apart?: number;
}

/** How long it rests where the server, or the way to it, is at fault. */
const REST_MS = 4_000;

/**
 * Asks for what no stream brings, and again when it may be another: no faster than `apart`, not while the tab is hidden,
 * and always once more after the last word. Nothing waits for it: a view is drawn around what is not there yet.
 */
export function kept<T>(of: () => unknown, read: (signal: AbortSignal) => Promise<T>, how: How = {}): Kept<T> {
  const [held, setHeld] = createStore<{ latest?: T; error?: Error | undefined; old: boolean }>({ old: false });
  const apart = how.apart ?? 2_000;
  let asking: AbortController | undefined;
  let timer: number | undefined;
  let ended = 0;
  let stale = false;
  let wanted: string | undefined;
  let shown: string | undefined;
  let begins = false;
  const ask = async () => {
    clearTimeout(timer);
    timer = undefined;
    // What else tells so in the same turn is answered by this.
    begins = true;
    queueMicrotask(() => (begins = false));
    asking?.abort();
    const mine = new AbortController();
    asking = mine;
    stale = false;
    try {
      const value = await read(mine.signal);
      if (mine.signal.aborted) return;
      shown = wanted;
      setHeld({ error: undefined, old: false } as never);
      setHeld("latest" as never, reconcile(value, { key: how.key ?? null, merge: how.key === undefined }) as never);
    } catch (error) {
      if (mine.signal.aborted) return;
      // What is at hand may be of something else: it must not stand under the name of what can't be had.
      if (shown !== wanted) setHeld("latest", undefined);
      setHeld({ error: error as Error, old: false } as never);
      if (!(error instanceof ApiFault) || error.status >= 500) timer = window.setTimeout(rested, REST_MS);
    } finally {
      if (asking === mine) {
        asking = undefined;
        ended = Date.now();
        if (stale) soon();
      }
    }
  };
  const rested = () => {
    timer = undefined;
    if (document.hidden) stale = true;
    else void ask();
  };
  const soon = () => {
    if (begins) return;
    if (asking || document.hidden) stale = true;
    else timer ??= window.setTimeout(() => void ask(), Math.max(0, ended + apart - Date.now()));
  };
  createEffect<[key: string | undefined, whose: string | undefined]>(
    ([before, other]) => {
      const now = of();
      const key = now === undefined ? undefined : JSON.stringify(now);
      const whose = how.whose && JSON.stringify(how.whose());
      wanted = key;
      if (whose !== other) setHeld("latest", undefined);
      if (key !== undefined && key !== before) {
        setHeld({ error: undefined, old: shown !== undefined && key !== shown } as never);
        void ask();
      }
      return [key, whose];
    },
    [undefined, undefined],
  );
  if (how.when) createEffect(on(how.when, () => of() !== undefined && soon(), { defer: true }));
  const beat = how.every ? setInterval(() => !document.hidden && of() !== undefined && soon(), how.every) : undefined;
  const seen = () => !document.hidden && stale && soon();
  document.addEventListener("visibilitychange", seen);
  onCleanup(() => {
    clearTimeout(timer);
    clearInterval(beat);
    asking?.abort();
    document.removeEventListener("visibilitychange", seen);
  });
  return {
    get latest() {
      return held.latest;
    },
    get error() {
      return held.error;
    },
    get old() {
      return held.old;
    },
    again: () => void ask(),
  };
}
