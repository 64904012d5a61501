/** A DAG's file as it was published, with the lines that tries failed at; and what differs between two versions of it. */
import { A, useSearchParams } from "@solidjs/router";
import { createEffect, createMemo, createSignal, For, Match, onCleanup, onMount, Show, Switch, untrack } from "solid-js";
import { get, part, type Shapes } from "../base";
import { kept } from "../live";
import { Copy, Nothing, Read, taskPath } from "../parts";
import { short } from "../time";
import { coloured, differs, type Piece } from "./python";

type Code = Shapes["UiCode"];
type Failed = Shapes["UiCodeError"];
/** Lines that are alike are shown so many before and after what differs. */
const AROUND = 4;

/** What of a version a choice says: `3`, or nothing for what is published now. */
const asked = (version: string | undefined) => (version && /^\d+$/.test(version) ? { version } : {});

/** Versions that the server names, the newest. */
const NAMED = 200;

export default function CodeView(props: { dag: string; mark: string }) {
  const [query, setQuery] = useSearchParams<{ version?: string; run?: string; against?: string; file?: string; line?: string }>();
  const path = () => `dagbok/ui/dags/${part(props.dag)}/code`;
  const of = () => [props.dag, query.version, query.run, query.file];
  let had: { of: string; code: Code } | undefined;
  /** A text is asked for once: while the DAG runs, only which lines failed, and whether the text is another by now. */
  const read = async (signal: AbortSignal): Promise<Code> => {
    const key = JSON.stringify(of());
    const which = { ...(query.run ? { run_id: query.run } : asked(query.version)), file: query.file };
    if (had?.of === key) {
      const found = await get<Code>(path(), { ...which, text: false }, signal);
      const { version, bundle, content, whole } = had.code;
      if (found.version === version && found.bundle === bundle) return content === undefined ? found : { ...found, content, whole };
    }
    const code = await get<Code>(path(), which, signal);
    had = { of: key, code: { ...code } };
    return code;
  };
  const code = kept(of, read, { whose: () => [props.dag, query.file], when: () => props.mark });
  const choose = (which: "version" | "against") => (event: { currentTarget: HTMLSelectElement }) => setQuery({ [which]: event.currentTarget.value || null, run: null, line: null }, { replace: true });
  return (
    <Read of={code} what="The code can't be shown.">
      {(it) => (
        <>
          <div class="filter padded">
            <label class="pick">As of{" "}
              <select value={query.run ? "run" : (query.version ?? "")} onChange={choose("version")}>
                <Show when={query.run}><option value="run">the run, version {it().version}</option></Show>
                <option value="">now</option>
                <For each={it().versions}>{(one) => <option value={String(one.version)}>version {one.version}, {short(one.since)}</option>}</For>
                <Show when={it().versions.length >= NAMED && it().versions.at(-1)}>{(last) => <option disabled>older than version {last().version}: by the address, ?version={last().version - 1}</option>}</Show>
              </select>
            </label>
            <label class="pick">Against{" "}
              <select value={query.against ?? ""} onChange={choose("against")}>
                <option value="">nothing</option>
                <option value="now">now</option>
                <For each={it().versions}>{(one) => <option value={String(one.version)}>version {one.version}, {short(one.since)}</option>}</For>
                <Show when={it().versions.length >= NAMED && it().versions.at(-1)}>{(last) => <option disabled>older than version {last().version}: by the address, ?version={last().version - 1}</option>}</Show>
              </select>
            </label>
            <Copy text={it().file} label="the file's path" />
            <Show when={it().errors.length}><span class="bad">{it().errors.length} of the newest runs failed in this text</span></Show>
          </div>
          <Show when={it().content !== undefined && it().content !== null} fallback={<Nothing>{query.file ? <>The archive that it ran has no such file, or is not kept any more. <button type="button" class="link" onClick={() => setQuery({ file: null, line: null })}>The DAG's own file</button></> : "The text of this version is not kept any more."}</Nothing>}>
            <Switch>
              <Match when={query.against}>
                {(against) => <Changes dag={props.dag} which={query.run ? { run_id: query.run } : asked(query.version)} against={against()} file={query.file ?? it().file} />}
              </Match>
              <Match when={true}><Text code={it()} line={Number(query.line ?? 0)} /></Match>
            </Switch>
            <Show when={!it().whole}><p class="foot dim">The first mebibyte of the file.</p></Show>
          </Show>
        </>
      )}
    </Read>
  );
}

/** Lines that stand in one element: an element for each would be too many of a long file. */
const BLOCK = 200;

/** Lines that look alike, one after the other. */
interface Block {
  kind: string;
  lines: string[];
  pieces: Piece[][];
  /** Their numbers, and in a difference those in the old text. */
  now: number[];
  old?: number[];
}
const numbers = (of: number[]) => of.map((n) => (n > 0 ? n : "")).join("\n");

/** A block of lines as one text, so that it is copied as it stands; colours are laid over it. */
function Lines(props: { of: Block; words?: string }) {
  const text = document.createTextNode(`${props.of.lines.join("\n")}\n`);
  onMount(() => onCleanup(paint(text, props.of.pieces)));
  return (
    <span class={`l ${props.of.kind}`} data-n={numbers(props.of.now)} data-o={props.of.old && numbers(props.of.old)} style={{ "contain-intrinsic-height": `auto ${props.of.lines.length * 18}px` }}>
      <Show when={props.words}><span class="unseen">{props.words}</span></Show>
      {text}
    </span>
  );
}

/** Colours the pieces of a text without an element for any; gives the way to take that back. */
function paint(text: Text, lines: Piece[][]): () => void {
  const put: [Highlight, AbstractRange][] = [];
  let at = 0;
  for (const pieces of lines) {
    for (const piece of pieces) {
      if (piece.kind !== "plain") {
        const range = new StaticRange({ startContainer: text, startOffset: at, endContainer: text, endOffset: at + piece.text.length });
        const colour = colourOf(piece.kind);
        if (colour) put.push([colour.add(range), range]);
      }
      at += piece.text.length;
    }
    at++;
  }
  return () => put.forEach(([colour, range]) => colour.delete(range));
}
function colourOf(kind: string): Highlight | undefined {
  // A browser that has none shows the text all the same.
  if (!("highlights" in CSS)) return undefined;
  const known = CSS.highlights.get(`py-${kind}`) ?? new Highlight();
  CSS.highlights.set(`py-${kind}`, known);
  return known;
}

/** The text of a file. Its lines are copied as they stand. */
function Text(props: { code: Code; line: number }) {
  let box!: HTMLPreElement;
  const pieces = createMemo(() => coloured(props.code.content ?? ""));
  const failed = createMemo(() => {
    const found = new Map<number, Failed[]>();
    for (const one of props.code.errors) found.set(one.line, [...(found.get(one.line) ?? []), one]);
    return found;
  });
  const marks = createMemo(() => JSON.stringify([props.line, ...failed().keys()]));
  /** A line that is looked for, or that failed, stands by itself. */
  const blocks = createMemo((): Block[] => {
    marks();
    const at = untrack(failed);
    const made: Block[] = [];
    // A text that ends its last line has none after it.
    const all = pieces().length > 1 && !pieces()[pieces().length - 1]?.length ? pieces().slice(0, -1) : pieces();
    for (const [place, line] of all.entries()) {
      const n = place + 1;
      const kind = `${at.has(n) ? "bad" : ""} ${untrack(() => props.line) === n ? "sought" : ""}`.trim();
      const last = made[made.length - 1];
      const block = last && !kind && !last.kind && last.lines.length < BLOCK ? last : (made.push({ kind, lines: [], pieces: [], now: [] }), made[made.length - 1] as Block);
      block.lines.push(line.map((piece) => piece.text).join(""));
      block.pieces.push(line);
      block.now.push(n);
    }
    return made;
  });
  createEffect(() => {
    if (props.line > 0 && blocks().length) box.querySelector(`[data-n="${props.line}"]`)?.scrollIntoView({ block: "center" });
  });
  return (
    <pre ref={box} class="code" tabindex="0" role="region" aria-label={`Text of ${props.code.file}`}>
      <For each={blocks()}>
        {(block) => (
          <>
            <Lines of={block} />
            <Show when={failed().get(block.now[0] ?? 0)}>{(here) => <Said dag={props.code.dag_id} of={here()} />}</Show>
          </>
        )}
      </For>
    </pre>
  );
}

/** What tries said that failed at a line: the newest, and how many more. */
function Said(props: { dag: string; of: Failed[] }) {
  const newest = () => props.of[0] as Failed;
  return (
    <span class="said">
      ✕ {newest().words} · <A href={taskPath(props.dag, newest().run_id, newest().task_id, newest().map_index)}>{newest().task_id} in {newest().run_id}</A>{props.of.length > 1 ? ` and ${props.of.length - 1} more` : ""}
    </span>
  );
}

type Which = { run_id?: string; version?: string };
const KINDS: Record<string, string> = { changed: "changed", added: "new", removed: "gone" };

/** The files that differ between two archives; the text of each is asked for when it is opened. */
function Changes(props: { dag: string; which: Which; against: string; file: string }) {
  const of = () => [props.dag, props.which, props.against];
  const found = kept(of, (signal) => get<Shapes["UiChanges"]>(`dagbok/ui/dags/${part(props.dag)}/changes`, { ...props.which, against: asked(props.against).version }, signal), { whose: of });
  return (
    <Read of={found} what="What differs can't be shown.">
      {(it) => (
        <Show when={it().kept} fallback={<Nothing>What one of the two was read from is not kept any more, so nothing can be compared.</Nothing>}>
          <Show when={it().files.length} fallback={<Nothing>The two are alike: no file of Python in the DAG folder differs.</Nothing>}>
            <p class="foot dim">
              {it().total.toLocaleString("en")} {it().total === 1 ? "file" : "files"} of Python in the DAG folder {it().total === 1 ? "differs" : "differ"}{it().files.some((one) => one.file === it().file) ? "" : `; ${it().file}, which the DAG is made in, does not`}
              {it().files.length < it().total ? `; the first ${it().files.length} are named` : ""}{it().complete ? "" : "; there are more files than are compared"}.
            </p>
            <For each={it().files}>
              {(one, at) => <Changed dag={props.dag} which={props.which} against={props.against} of={one} open={it().files.some((other) => other.file === props.file) ? one.file === props.file : at() === 0} />}
            </For>
          </Show>
        </Show>
      )}
    </Read>
  );
}

/** One file that differs: its lines once it is opened. */
function Changed(props: { dag: string; which: Which; against: string; of: Shapes["UiChange"]; open: boolean }) {
  const [is, setIs] = createSignal(props.open);
  const path = () => `dagbok/ui/dags/${part(props.dag)}/code`;
  const of = () => [props.dag, props.which, props.against, props.of.file];
  const both = kept(
    () => (is() ? of() : undefined),
    async (signal) => {
      const side = (which: Which) => get<Code>(path(), { ...which, file: props.of.file }, signal);
      const [old, now] = await Promise.all([side(asked(props.against)), side(props.which)]);
      return { old, now };
    },
    { whose: of },
  );
  return (
    <details class="changed" open={props.open} onToggle={(event) => setIs(event.currentTarget.open)}>
      <summary><code>{props.of.file}</code> <b class={props.of.kind === "added" ? "come" : props.of.kind === "removed" ? "gone" : ""}>{KINDS[props.of.kind]}</b><Show when={props.of.of_others}> <span class="dim">other DAGs are made in it</span></Show></summary>
      <Show when={is()}>
        <Read of={both} what="The two texts can't be shown.">{(it) => <Difference old={it().old} now={it().now} />}</Read>
      </Show>
    </details>
  );
}

/** The lines that differ with some around them; those that are alike are folded. */
function Difference(props: { old: Code; now: Code }) {
  const [whole, setWhole] = createSignal(false);
  // A file that is not there has no line, where an empty one has one.
  const texts = createMemo(() => [props.old, props.now].map((code) => (typeof code.content === "string" ? code.content.split("\n") : [])) as [string[], string[]]);
  const rows = createMemo(() => differs(...texts()));
  const colours = createMemo(() => [coloured(props.old.content ?? ""), coloured(props.now.content ?? "")] as const);
  const count = (kind: string) => (rows() ?? []).filter((row) => row.kind === kind).length;
  /** Blocks of lines, or how many are alike and not shown. */
  const shown = createMemo((): (Block | number)[] => {
    const all = rows() ?? [];
    const near = new Uint8Array(all.length).fill(whole() ? 1 : 0);
    for (const [at, row] of all.entries()) if (row.kind !== "same") near.fill(1, Math.max(0, at - AROUND), at + AROUND + 1);
    const made: (Block | number)[] = [];
    for (const [at, row] of all.entries()) {
      const last = made[made.length - 1];
      if (!near[at]) {
        if (typeof last === "number") made[made.length - 1] = last + 1;
        else made.push(1);
        continue;
      }
      const open = typeof last === "object" && last.kind === row.kind && last.lines.length < BLOCK;
      const block: Block = open ? last : { kind: row.kind, lines: [], pieces: [], now: [], old: [] };
      if (!open) made.push(block);
      const [side, place] = row.kind === "gone" ? [0 as const, row.old] : [1 as const, row.now];
      block.lines.push(texts()[side][place] ?? "");
      block.pieces.push(colours()[side][place] ?? []);
      block.now.push(row.kind === "gone" ? 0 : row.now + 1);
      block.old?.push(row.kind === "come" ? 0 : row.old + 1);
    }
    return made;
  });
  const alike = () => props.old.content === props.now.content;
  const name = (code: Code) => (code.content === undefined || code.content === null ? `version ${code.version}, which has it not,` : `version ${code.version}`);
  const words = (block: Block) => (block.kind === "same" ? "" : `${block.lines.length} ${block.lines.length === 1 ? "line" : "lines"} ${block.kind === "come" ? "more" : "fewer"}: `);
  return (
    <Show when={!alike()} fallback={<Nothing>As far as they are shown the two texts are alike.</Nothing>}>
      <Show when={rows()} fallback={<Nothing>Nearly all of it differs: the two are read better one after the other.</Nothing>}>
        <p class="filter padded">
          <span>From {name(props.old)} to {name(props.now)}: <b class="come">{count("come")} {count("come") === 1 ? "line" : "lines"} more</b>, <b class="gone">{count("gone")} fewer</b></span>
          <label><input type="checkbox" checked={whole()} onChange={(event) => setWhole(event.currentTarget.checked)} /> all lines</label>
        </p>
        <pre class="code difference" tabindex="0" role="region" aria-label="What differs">
          <For each={shown()}>
            {(block) => (
              typeof block === "number"
                ? <span class="alike">{block.toLocaleString("en")} {block === 1 ? "line is" : "lines are"} alike</span>
                : <Lines of={block} words={words(block)} />
            )}
          </For>
        </pre>
      </Show>
    </Show>
  );
}
