/** A DAG's file as it was published, with the lines that tries failed at; and what differs between two versions of it. */
import { A, useSearchParams } from "@solidjs/router";
import { createEffect, createMemo, createSignal, For, Match, Show, Switch } from "solid-js";
import { get, part, type Shapes } from "../base";
import { kept } from "../live";
import { Copy, Nothing, Read, taskPath } from "../parts";
import { short } from "../time";
import { coloured, type Differs, differs, type Piece } from "./python";

type Code = Shapes["UiCode"];
type Failed = Shapes["UiCodeError"];
/** Lines that are alike are shown so many before and after what differs. */
const AROUND = 4;

/** What of a version a choice says: `3`, or nothing for what is published now. */
const asked = (version: string | undefined) => (version && /^\d+$/.test(version) ? { version } : {});

export default function CodeView(props: { dag: string; mark: string }) {
  const [query, setQuery] = useSearchParams<{ version?: string; run?: string; against?: string; line?: string }>();
  const path = () => `dagbok/ui/dags/${part(props.dag)}/code`;
  const code = kept(() => [props.dag, query.version, query.run], (signal) => get<Code>(path(), query.run ? { run_id: query.run } : asked(query.version), signal), { when: () => props.mark });
  const other = kept(() => query.against && [props.dag, query.against], (signal) => get<Code>(path(), asked(query.against), signal));
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
              </select>
            </label>
            <label class="pick">Against{" "}
              <select value={query.against ?? ""} onChange={choose("against")}>
                <option value="">nothing</option>
                <option value="now">now</option>
                <For each={it().versions}>{(one) => <option value={String(one.version)}>version {one.version}, {short(one.since)}</option>}</For>
              </select>
            </label>
            <Copy text={it().file} label="the file's path" />
            <Show when={it().errors.length}><span class="bad">{it().errors.length} of the newest runs failed in this text</span></Show>
          </div>
          <Show when={it().content !== undefined && it().content !== null} fallback={<Nothing>The text of this version is not kept any more.</Nothing>}>
            <Switch>
              <Match when={query.against}>
                <Read of={other} what="The other version can't be shown.">
                  {(second) => (
                    <Show when={second().content !== undefined && second().content !== null} fallback={<Nothing>The text of the version to compare with is not kept any more.</Nothing>}>
                      <Difference old={second()} now={it()} />
                    </Show>
                  )}
                </Read>
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

const Line = (props: { pieces: Piece[] }) => <For each={props.pieces}>{(one) => (one.kind === "plain" ? one.text : <span class={`py-${one.kind}`}>{one.text}</span>)}</For>;

/** The text of a file. Its lines are copied as they stand. */
function Text(props: { code: Code; line: number }) {
  let box!: HTMLPreElement;
  const lines = createMemo(() => coloured(props.code.content ?? ""));
  const failed = createMemo(() => {
    const found = new Map<number, Failed[]>();
    for (const one of props.code.errors) found.set(one.line, [...(found.get(one.line) ?? []), one]);
    return found;
  });
  createEffect(() => {
    if (props.line > 0 && lines().length) box.querySelector(`[data-n="${props.line}"]`)?.scrollIntoView({ block: "center" });
  });
  return (
    <pre ref={box} class="code" tabindex="0" role="region" aria-label={`Text of ${props.code.file}`}>
      <For each={lines()}>
        {(pieces, at) => (
          <>
            <span class="l" data-n={at() + 1} classList={{ bad: failed().has(at() + 1), sought: props.line === at() + 1 }}><Show when={pieces.length} fallback={<br />}><Line pieces={pieces} /></Show></span>
            <Show when={failed().get(at() + 1)}>{(here) => <Said dag={props.code.dag_id} of={here()} />}</Show>
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

interface Row extends Differs {
  pieces: Piece[];
}

/** The lines that differ with some around them; those that are alike are folded. */
function Difference(props: { old: Code; now: Code }) {
  const [whole, setWhole] = createSignal(false);
  const rows = createMemo((): Row[] | undefined => {
    const [old, now] = [props.old.content ?? "", props.now.content ?? ""];
    const found = differs(old.split("\n"), now.split("\n"));
    if (!found) return undefined;
    const [before, after] = [coloured(old), coloured(now)];
    return found.map((row) => ({ ...row, pieces: (row.kind === "gone" ? before[row.old] : after[row.now]) ?? [] }));
  });
  const count = (kind: string) => (rows() ?? []).filter((row) => row.kind === kind).length;
  /** Rows, or how many of them are alike and not shown. */
  const shown = createMemo((): (Row | number)[] => {
    const all = rows() ?? [];
    if (whole()) return all;
    const near = new Uint8Array(all.length);
    for (const [at, row] of all.entries()) if (row.kind !== "same") near.fill(1, Math.max(0, at - AROUND), at + AROUND + 1);
    const made: (Row | number)[] = [];
    for (const [at, row] of all.entries()) {
      if (near[at]) made.push(row);
      else if (typeof made[made.length - 1] === "number") made[made.length - 1] = (made[made.length - 1] as number) + 1;
      else made.push(1);
    }
    return made;
  });
  const alike = () => props.old.content === props.now.content;
  const name = (code: Code) => `version ${code.version}`;
  return (
    <Show when={!alike()} fallback={<Nothing>The two texts are alike{props.old.version === props.now.version ? "" : ": what differs between these versions is in another file that the DAG is made from"}.</Nothing>}>
      <Show when={rows()} fallback={<Nothing>Nearly all of it differs: the two are read better one after the other.</Nothing>}>
        <p class="filter padded">
          <span>From {name(props.old)} to {name(props.now)}: <b class="come">{count("come")} {count("come") === 1 ? "line" : "lines"} more</b>, <b class="gone">{count("gone")} fewer</b></span>
          <label><input type="checkbox" checked={whole()} onChange={(event) => setWhole(event.currentTarget.checked)} /> all lines</label>
        </p>
        <pre class="code difference" tabindex="0" role="region" aria-label="What differs">
          <For each={shown()}>
            {(row) => (
              typeof row === "number"
                ? <span class="alike">{row.toLocaleString("en")} {row === 1 ? "line is" : "lines are"} alike</span>
                : <span class={`l ${row.kind}`} data-o={row.kind === "come" ? "" : row.old + 1} data-n={row.kind === "gone" ? "" : row.now + 1}><span class="unseen">{row.kind === "come" ? "more: " : row.kind === "gone" ? "fewer: " : ""}</span><Show when={row.pieces.length} fallback={<br />}><Line pieces={row.pieces} /></Show></span>
            )}
          </For>
        </pre>
      </Show>
    </Show>
  );
}
