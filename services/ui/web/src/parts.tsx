/** Small parts that every view is made of. */
import { A, useLocation, useNavigate, useParams, useSearchParams } from "@solidjs/router";
import { For, type JSX, onCleanup, onMount, Show } from "solid-js";
import { part, prefix, type Shapes, whole } from "./base";
import { keys } from "./keys";
import type { Kept } from "./live";
import { look } from "./states";
import { ago, type Maybe, near, now, short, whole as both } from "./time";

/** A state: its colour, its glyph and, where there is room, its word. */
export function Mark(props: { state: string; word?: boolean; tries?: number }) {
  const of = () => look(props.state);
  const spoken = () => of().word + ((props.tries ?? 0) > 1 ? `, try ${props.tries}` : "");
  return (
    <span class="mark" title={spoken()}>
      <span class={`dot ${of().family}`} role={props.word ? undefined : "img"} aria-label={props.word ? undefined : spoken()} aria-hidden={props.word ? "true" : undefined}>
        {of().glyph}
      </span>
      <Show when={props.word}>
        <span class="word">{of().word}</span>
      </Show>
    </span>
  );
}

/** An instant; all of it on hover. */
export function Time(props: { at: Maybe<string>; ago?: boolean; full?: boolean }) {
  return (
    <Show when={props.at} fallback={<span class="dim">–</span>}>
      {(at) => (
        <time dateTime={at()} title={both(at())}>
          {props.ago && Math.abs(now() - Date.parse(at())) < 86_400_000 ? ago(at()) : props.full ? short(at()) : near(at())}
        </time>
      )}
    </Show>
  );
}

/** The parts of the path, as they were before they were escaped: the router leaves them escaped. */
export function useNames<T extends Record<string, string | undefined>>(): T {
  const raw = useParams();
  return new Proxy({} as T, {
    get: (_, name: string) => {
      const value = raw[name];
      return value === undefined ? undefined : whole(value);
    },
  });
}

/** What people call a run: its date and how it came about. */
export function runLabel(run: { logical_date?: string | null | undefined; run_after: string; run_type: string }): string {
  return `${short(run.logical_date ?? run.run_after)}`;
}

export const dagPath = (dag: string): string => `/dags/${part(dag)}`;
export const runPath = (dag: string, run: string): string => `${dagPath(dag)}/runs/${part(run)}`;
export function taskPath(dag: string, run: string, task: string, map = -1, query = ""): string {
  const copy = map >= 0 ? `/mapped/${map}` : "";
  return `${runPath(dag, run)}/tasks/${part(task)}${copy}${query}`;
}

/** A run's state of being told of, as one small mark. */
export function Told(props: { told: Shapes["UiTold"]; link?: string }) {
  const words = (): [string, string] => {
    const told = props.told;
    const to = (told.receivers ?? []).join(", ");
    switch (told.state) {
      case "acknowledged":
        return ["ok", `${to ? `told ${to} · ` : ""}in hand: ${person(told.by)}`];
      case "resolved":
        return ["quiet", to ? `told ${to} · over` : "over"];
      case "told":
        return ["warn", `told ${to}${told.at ? ` ${near(told.at)}` : ""} · not acknowledged`];
      case "sending":
        return ["quiet", "being sent"];
      case "silenced":
        return ["quiet", "silenced"];
      case "not_told":
        return ["bad", "NOT TOLD: every receiver turned it down"];
      case "no_receiver":
        return ["quiet", "no route leads to anybody"];
      default:
        return ["quiet", "no alert"];
    }
  };
  const body = () => <span class={`told ${words()[0]}`}>{words()[1]}</span>;
  return (
    <Show when={props.told.alert_id} fallback={body()}>
      {(id) => (
        <A class="plain" href={`/alerts/${id()}`}>
          {body()}
        </A>
      )}
    </Show>
  );
}

const person = (by: Maybe<string>): string => (by ?? "").replace(/^user:/, "") || "somebody";

/** Where you are; the last of it is the page's title. */
export function Crumbs(props: { of: { text: string; href?: string }[]; children?: JSX.Element }) {
  return (
    <nav class="crumbs" aria-label="Where you are">
      <ol>
        <For each={props.of}>
          {(one, at) => (
            <li>
              <Show when={at() < props.of.length - 1 && one.href} fallback={<h1 title={one.text}>{one.text}</h1>}>
                {(href) => <A href={href()}>{one.text}</A>}
              </Show>
            </li>
          )}
        </For>
      </ol>
      {props.children}
    </nav>
  );
}

/** Why there is nothing, and the one next step. */
export function Nothing(props: { children: JSX.Element }) {
  return <p class="nothing">{props.children}</p>;
}

/** How many rows of a list come before the page that the address names; its pages count from 1. */
export function useOffset(size: number): () => number {
  const [query] = useSearchParams<{ page?: string }>();
  return () => (Math.min(1e9, Math.max(1, Math.floor(Number(query.page ?? 1)) || 1)) - 1) * size;
}

/** The address as it is, but for the page of its list. */
function usePages(): (page: number) => string {
  const here = useLocation();
  return (page) => {
    const query = new URLSearchParams(here.search);
    if (page > 1) query.set("page", String(page));
    else query.delete("page");
    const text = query.toString();
    return `${here.pathname.slice(prefix.length) || "/"}${text && `?${text}`}`;
  };
}

interface Pages {
  /** How many rows come before those that are shown, how many are shown, of how many, and how many a page has. */
  from: number;
  shown: number;
  total: number;
  size: number;
  /** There may be more than are counted. */
  least?: boolean;
  /** What way the list goes. */
  words?: readonly [back: string, on: string];
  /** The same stands above the list: that one has the keys, and is read out when it changes. */
  below?: boolean;
}

/** Which rows of a list are shown, of how many, and the way to the others. */
export function Pages(props: Pages) {
  const path = usePages();
  const navigate = useNavigate();
  const page = () => Math.floor(props.from / props.size) + 1;
  const last = () => Math.max(1, Math.ceil(props.total / props.size));
  const words = () => props.words ?? ["previous", "next"];
  const of = () => `${props.shown ? `${(props.from + 1).toLocaleString("en")}–${(props.from + props.shown).toLocaleString("en")}` : "0"} of ${props.least ? "at least " : ""}${props.total.toLocaleString("en")}`;
  const ways = (): [word: string, page: number, key?: string][] => [["first", 1], [words()[0], page() - 1, "<"], [words()[1], page() + 1, ">"], ...(props.least ? [] : [["last", last()] as [string, number]])];
  const leads = (to: number) => to >= 1 && to <= last() && to !== page();
  const go = (by: number) => leads(page() + by) && navigate(path(page() + by));
  if (!props.below) keys({ "<": () => go(-1), ">": () => go(1) });
  return (
    <Show when={last() > 1} fallback={<span class="pages dim">{of()}</span>}>
      <nav class="pages" aria-label={props.below ? "Pages, below the list" : "Pages"}>
        <span class="dim" role={props.below ? undefined : "status"}>{of()}</span>
        <For each={ways()}>{([word, to, key]) => <Show when={leads(to)} fallback={<span class="dim" aria-hidden="true">{word}</span>}><A href={path(to)} title={key && `the key ${key}`}>{word}</A></Show>}</For>
      </nav>
    </Show>
  );
}

/** That a list ends before the page that the address names. */
export function Beyond(props: { total: number; size: number }) {
  const path = usePages();
  return <Nothing>The list has no such page: it has {props.total.toLocaleString("en")} {props.total === 1 ? "row" : "rows"}. <A href={path(Math.ceil(props.total / props.size))}>The last page</A></Nothing>;
}

/** What went wrong in this part of the page. */
export function Fault(props: { error: Error; what: string }) {
  return (
    <div class="fault" role="alert">
      <strong>{props.what}</strong>
      <span>{props.error.message}</span>
    </div>
  );
}

/** What was asked for, as soon as it is there; what went wrong stands above what was known before. */
export function Read<T>(props: { of: Kept<T>; what: string; children: (it: () => T) => JSX.Element }) {
  // What is drawn may still be asked something while it goes: it has what it had.
  let last: T | undefined;
  const it = () => {
    const now = props.of.latest;
    if (now !== undefined) last = now;
    return last as T;
  };
  return (
    <>
      <Show when={props.of.error}>{(error) => <Fault what={props.what} error={error()} />}</Show>
      <Show when={props.of.latest !== undefined} fallback={<Show when={!props.of.error}><p class="coming" aria-busy="true">asked for…</p></Show>}>
        <div class="held" aria-busy={props.of.old}>{props.children(it)}</div>
      </Show>
    </>
  );
}

/** Acts that are not needed often, behind one button; a choice, Escape or a click beside it closes it. */
export function Menu(props: { of: { text: string; go: () => unknown }[] }) {
  let element!: HTMLDetailsElement;
  const shut = (event: Event) => {
    if (!element.contains(event.target as Node)) element.open = false;
  };
  onMount(() => document.addEventListener("pointerdown", shut));
  onCleanup(() => document.removeEventListener("pointerdown", shut));
  return (
    <details ref={element} class="menu" onKeyDown={(event) => event.key === "Escape" && element.open && (event.preventDefault(), (element.open = false), element.querySelector("summary")?.focus())}>
      <summary class="button">More</summary>
      <div>
        <For each={props.of}>{(one) => <button type="button" onClick={() => ((element.open = false), one.go())}>{one.text}</button>}</For>
      </div>
    </details>
  );
}

/** A key as it is pressed. */
export const Key = (props: { children: JSX.Element }) => <kbd>{props.children}</kbd>;

/** Text that is copied when it is clicked. */
export function Copy(props: { text: string; label: string }) {
  return (
    <button type="button" class="copy" title={`copy ${props.label}`} onClick={() => void navigator.clipboard.writeText(props.text)}>
      <code>{props.text}</code>
    </button>
  );
}
