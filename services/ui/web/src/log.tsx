/** A try's log: opened at the line that says why it failed, in the order in which it was written, as plain text. */
import { useSearchParams } from "@solidjs/router";
import { batch, createEffect, createSignal, For, on, onCleanup, Show } from "solid-js";
import { get, part, type Query, type Shapes } from "./base";
import { Fault, Nothing } from "./parts";
import { second } from "./time";

type Line = Shapes["UiLogLine"];
type Window = Shapes["UiLog"];

/** Lines that are kept on the page; those farthest from where one reads go first. */
const MOST = 4_000;
/** How often a log that grows is asked for more. */
const TAIL_MS = 700;

/** What is known of a log that grew: the tail of it counts only itself. */
function joined(was: Window | undefined, tail: Window): Window {
  if (!was || tail.line_count !== undefined) return tail;
  return {
    ...tail,
    error: was.error ?? null,
    line_count: (was.line_count ?? 0) + tail.lines.length,
    levels: [was.levels[0]! + tail.levels[0]!, was.levels[1]! + tail.levels[1]!],
  };
}

interface Numbered extends Line {
  n: number;
}

export function Log(props: { dag: string; run: string; task: string; map: number; number: number; over: boolean }) {
  const [query, setQuery] = useSearchParams<{ line?: string }>();
  const [lines, setLines] = createSignal<Numbered[]>([]);
  const [head, setHead] = createSignal<Window>();
  const [from, setFrom] = createSignal(0);
  const [to, setTo] = createSignal(0);
  const [fault, setFault] = createSignal<Error>();
  const [wrap, setWrap] = createSignal(localStorage.getItem("dagbok.wrap") !== "no");
  const [times, setTimes] = createSignal(localStorage.getItem("dagbok.times") === "yes");
  const [follow, setFollow] = createSignal(true);
  const [search, setSearch] = createSignal("");
  const [level, setLevel] = createSignal("");
  /** Whether lines are picked out of all: then they do not follow one another. */
  const picked = () => Boolean(search() || level());
  let box!: HTMLDivElement;
  let busy = false;
  // The last lines were asked for while others were on their way.
  let pending = false;

  const path = () => `dagbok/ui/logs/${part(props.dag)}/${part(props.run)}/${part(props.task)}/${props.number}`;
  const ask = (more: Query) => get<Window>(path(), { map_index: props.map >= 0 ? props.map : undefined, ...more });
  const numbered = (window: Window): Numbered[] => window.lines.map((line, at) => ({ ...line, n: (window.first_line ?? 1) + at }));

  const show = (window: Window, at?: number) => {
    batch(() => {
      setFault(undefined);
      setHead(window);
      setFrom(window.from);
      setTo(window.to);
      setLines(numbered(window));
    });
    queueMicrotask(() => {
      const line = at === undefined ? undefined : box?.querySelector(`[data-o="${at}"]`);
      // Only the log moves, not the page around it.
      if (line instanceof HTMLElement) box.scrollTop = line.offsetTop - box.offsetTop - box.clientHeight * 0.6;
      else if (at === undefined && box && !window.complete) box.scrollTop = box.scrollHeight;
    });
  };
  const start = async () => {
    // Lines of another try never stand under this one's name, nor do those that come late.
    const of = `${path()} ${props.map}`;
    const mine = () => of === `${path()} ${props.map}`;
    setLines([]);
    setHead(undefined);
    try {
      const line = Number(query.line);
      if (line > 0) {
        const window = await ask({ line });
        if (mine()) show(window, numbered(window).find((one) => one.n === line)?.o);
      } else {
        const window = await ask({ at: "error" });
        if (mine()) show(window, window.error ?? undefined);
      }
    } catch (error) {
      if (mine()) setFault(error as Error);
    }
  };
  createEffect(on(() => [path(), props.map], () => void start()));

  /** Puts other lines, and leaves the one that both have where it is on the screen. */
  const swap = (all: Numbered[], common: Numbered | undefined) => {
    const place = () => (common ? (box.querySelector<HTMLElement>(`[data-o="${common.o}"]`)?.offsetTop ?? 0) : 0);
    const was = place();
    setLines(all);
    box.scrollTop += place() - was;
  };
  const grow = async (which: "before" | "after", last = false) => {
    if (busy) pending ||= last;
    if (busy || picked()) return;
    const whole = to() >= (head()?.size ?? 0);
    if (which === "before" ? from() === 0 : whole && props.over && !last) return;
    busy = true;
    try {
      const window = await ask(which === "before" ? { before: from() } : { from: to() });
      if (picked()) return;
      const kept = lines();
      if (which === "before") {
        const all = [...numbered(window), ...kept];
        swap(all.slice(0, MOST), kept[0]);
        setFrom(window.from);
        // What is let go at the end begins with this line: it comes again when somebody goes there.
        const gone = all[MOST];
        if (gone) setTo(gone.o);
      } else {
        const end = kept[kept.length - 1];
        const first = window.first_line ?? (end ? end.n + 1 : 1);
        const fresh = window.lines.map((line, at) => ({ ...line, n: first + at })).filter((line) => !end || line.o > end.o);
        const stuck = follow() && box.scrollHeight - box.scrollTop - box.clientHeight < 40;
        const all = [...kept, ...fresh].slice(-MOST);
        if (fresh.length) swap(all, end);
        setFrom(all[0]?.o ?? 0);
        setTo(window.to);
        if (stuck && !props.over) box.scrollTop = box.scrollHeight;
      }
      setHead((was) => joined(was, window));
    } finally {
      busy = false;
      if (pending) {
        pending = false;
        void grow("after", true).catch(() => undefined);
      }
    }
  };
  const timer = setInterval(() => {
    // Whoever reads above what was let go is not moved by what is written below it.
    const full = lines().length >= MOST && box.scrollHeight - box.scrollTop - box.clientHeight >= 40;
    if (!props.over && !document.hidden && !full && to() >= (head()?.size ?? 0)) void grow("after").catch(() => undefined);
  }, TAIL_MS);
  onCleanup(() => clearInterval(timer));
  // At its end it is known which line says why.
  createEffect(on(() => props.over, (over) => over && void grow("after", true).catch(() => undefined), { defer: true }));

  const scrolled = () => {
    if (box.scrollTop < 200) void grow("before");
    if (box.scrollHeight - box.scrollTop - box.clientHeight < 200) void grow("after");
  };
  let waiting: number | undefined;
  const find = (text: string) => {
    setSearch(text);
    clearTimeout(waiting);
    waiting = window.setTimeout(pick, 200);
  };
  const pick = async () => {
    if (!picked()) return start();
    const of = `${search()} ${level()}`;
    const window = await ask({ grep: search() || undefined, level: level() || undefined });
    if (of !== `${search()} ${level()}`) return;
    setHead(window);
    setLines(window.lines.map((line) => ({ ...line, n: 0 })));
  };
  const whole = () => (setSearch(""), setLevel(""));
  const around = async (line: Numbered) => {
    clearTimeout(waiting);
    whole();
    const window = await ask({ from: Math.max(0, line.o - 8_192) });
    show(window, line.o);
  };
  const jump = async (where: "error" | "end" | "begin") => {
    whole();
    setQuery({ line: null }, { replace: true });
    if (where === "begin") {
      show(await ask({ from: 0 }), 0);
      box.scrollTop = 0;
    } else {
      const window = await ask({ at: where });
      show(window, where === "error" ? (window.error ?? undefined) : window.lines[window.lines.length - 1]?.o);
    }
  };
  const errors = () => head()?.levels[0] ?? 0;
  return (
    <div class="log">
      <div class="bar">
        <input type="search" aria-label="Search the log" placeholder={head()?.line_count ? `search ${(head()?.line_count ?? 0).toLocaleString("en")} ${head()?.line_count === 1 ? "line" : "lines"}` : "search"} value={search()} onInput={(event) => find(event.currentTarget.value)} />
        <select aria-label="How loud" value={level()} onChange={(event) => (setLevel(event.currentTarget.value), void pick())}>
          <option value="">all levels</option>
          <option value="info">info and louder</option>
          <option value="warning">warnings, errors</option>
          <option value="error">errors</option>
        </select>
        <span class="jumps">
          <Show when={head()?.error !== undefined && head()?.error !== null}><button type="button" class="small" onClick={() => void jump("error")}>error</button></Show>
          <button type="button" class="small" onClick={() => void jump("begin")}>begin</button>
          <button type="button" class="small" onClick={() => void jump("end")}>end</button>
        </span>
        <span class="dim">{errors() ? `${errors()} ${errors() === 1 ? "error" : "errors"}` : ""}{head()?.levels[1] ? ` ${head()?.levels[1]} warnings` : ""}</span>
        <label><input type="checkbox" checked={wrap()} onChange={(event) => (setWrap(event.currentTarget.checked), localStorage.setItem("dagbok.wrap", wrap() ? "yes" : "no"))} /> wrap</label>
        <label><input type="checkbox" checked={times()} onChange={(event) => (setTimes(event.currentTarget.checked), localStorage.setItem("dagbok.times", times() ? "yes" : "no"))} /> times</label>
        <Show when={!props.over}><label><input type="checkbox" checked={follow()} onChange={(event) => setFollow(event.currentTarget.checked)} /> follow</label></Show>
        <a class="small" href={`${new URL(`api/v2/dags/${part(props.dag)}/dagRuns/${part(props.run)}/taskInstances/${part(props.task)}/logs/${props.number}?full_content=true&map_index=${props.map}`, document.baseURI).href}`} download={`${props.task}-${props.number}.json`} target="_self">all</a>
      </div>
      <Show when={fault()}>
        {(error) => (
          // What is forgotten by the rules of what is kept is no failure.
          <Show when={error().message.endsWith("retention.logs")} fallback={<Fault what="The log can't be shown." error={error()} />}>
            <Nothing>{error().message.replace(/^./, (first) => first.toUpperCase())}.</Nothing>
          </Show>
        )}
      </Show>
      <div ref={box} class="lines" classList={{ wrap: wrap(), times: times() }} tabindex="0" role="region" aria-label="Log" onScroll={scrolled}>
        <Show when={!lines().length && head()}><Nothing>{search() ? "No line has that in it." : level() ? "No line is that loud." : props.over ? "It wrote nothing." : "Nothing is written yet."}</Nothing></Show>
        <For each={lines()}>
          {(line) => (
            <div
              class={`l ${line.l ?? ""}`}
              classList={{ here: line.o === head()?.error, sys: line.s === "system" }}
              data-o={line.o}
              data-n={line.n || ""}
              data-t={times() && line.t ? second(line.t) : ""}
              onDblClick={() => picked() && void around(line)}
            >
              {line.m || " "}
            </div>
          )}
        </For>
        <Show when={head()?.dropped}>{(count) => <p class="dim">{count().toLocaleString("en")} lines beyond the published limit were left out.</p>}</Show>
      </div>
    </div>
  );
}
