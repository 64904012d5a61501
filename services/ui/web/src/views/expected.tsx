/** The expected board, and the files that can't be read: what should be here and is not. */
import { A } from "@solidjs/router";
import { For, Show } from "solid-js";
import { get, type Shapes } from "../base";
import { kept, live, pulse } from "../live";
import { Beyond, Crumbs, dagPath, Fault, Nothing, Pages, Read, Time, useOffset } from "../parts";
import { Places } from "./places";
import { lateWords, Strip, WaitingRow } from "./home";

/** What is late, what was missed, and what comes. */
export function ExpectedView() {
  const held = live(() => ["expected"] as ["expected"]);
  return (
    <>
      <Crumbs of={[{ text: "Expected" }]} />
      <Show when={held.error}>{(error) => <Fault what="What is expected can't be shown." error={error()} />}</Show>
      <Show when={held.data}>
        {(board) => (
          <>
            <div class="padded"><Strip home={board()} /></div>
            <Show when={board().late.length} fallback={<Nothing>No promised run is late, and none was missed since yesterday at this time.</Nothing>}>
              <table class="list">
                <thead><tr><th scope="col">DAG</th><th scope="col">What</th><th scope="col">Due</th><th scope="col">Owner</th></tr></thead>
                <tbody>
                  <For each={board().late}>
                    {(late) => (
                      <tr data-row>
                        <td class="name"><A href={dagPath(late.dag_id)}>{late.dag_id}</A></td>
                        <td>{lateWords(late)}</td>
                        <td><Time at={late.due ?? late.logical_date} full /></td>
                        <td class="owner">{late.owner}</td>
                      </tr>
                    )}
                  </For>
                </tbody>
              </table>
              <Show when={board().late_count > board().late.length}><p class="foot dim">The first {board().late.length} of {board().late_count.toLocaleString("en")}.</p></Show>
            </Show>
            <section class="group padded" aria-label="Waiting long">
              <h2>Waiting long <span class="count">{board().waiting_is_exact ? "" : "at least "}{board().waiting_count.toLocaleString("en")}</span><span class="hint">no word of them for a minute or more</span></h2>
              <Show when={board().waiting.length} fallback={<Nothing>No run waits without a word.</Nothing>}>
                <div class="rows"><For each={board().waiting}>{(run) => <WaitingRow run={run} />}</For></div>
                <Show when={board().waiting_count > board().waiting.length}><p class="foot dim">The first {board().waiting.length.toLocaleString("en")}.</p></Show>
              </Show>
            </section>
          </>
        )}
      </Show>
    </>
  );
}

/** How often the list is asked for. */
const AGAIN_MS = 5_000;
const PAGE = 100;

/** Where in the file it is: the last frame that is of it, and the line beneath that. Another file may have raised it. */
function place(of: Shapes["ImportErrorResponse"]): { line: number | undefined; source: string | undefined } {
  const lines = of.stack_trace.split("\n");
  const frame = /^\s*File "(.*)", line (\d+)/;
  // Of a folder that has a name the file's path stands behind it.
  const path = of.filename.split("//").at(-1) ?? of.filename;
  const own = (one: string) => frame.exec(one)?.[1]?.endsWith(path) && (!of.dagbok.line || one.includes(`, line ${of.dagbok.line}`));
  const at = lines.findLastIndex(own);
  const next = lines[at + 1]?.trim();
  return {
    line: of.dagbok.line ?? (Number(frame.exec(lines[at] ?? "")?.[2]) || undefined),
    source: at < 0 || !next || frame.test(next) ? undefined : next,
  };
}

/** Files that can't be read, each with what is wrong, where, and its traceback. */
export function ImportErrorsView() {
  pulse();
  const offset = useOffset(PAGE);
  const page = kept(
    offset,
    async (signal) => {
      const from = offset();
      return { ...(await get<Shapes["ImportErrorCollection"]>("importErrors", { limit: PAGE, offset: from }, signal)), from };
    },
    { key: "import_error_id", every: AGAIN_MS },
  );
  return (
    <>
      <Crumbs of={[{ text: "Files that can't be read" }]}><Show when={page.latest?.total_entries ? page.latest : undefined}>{(it) => <Pages from={it().from} shown={it().import_errors.length} total={it().total_entries} size={PAGE} />}</Show></Crumbs>
      <Places here="/import_errors" />
      <Read of={page} what="They can't be shown.">
        {(it) => (
          <For each={it().import_errors} fallback={it().total_entries ? <Beyond total={it().total_entries} size={PAGE} /> : <Nothing>Every file in the DAG folder can be read.</Nothing>}>
            {(one) => (
              <article class="alert unread" data-row>
                <header>
                  <h2><code>{one.filename}<Show when={place(one).line}>{(line) => `:${line()}`}</Show></code></h2>
                  <span class="when">last read <Time at={one.timestamp} ago /></span>
                </header>
                <p class="why"><b>{one.dagbok.exception}</b>: {one.dagbok.message}</p>
                <Show when={place(one).source}>{(line) => <code class="source">{line()}</code>}</Show>
                <Show when={one.dagbok.keeps.length}><p class="dim">In force as it was read before: <For each={one.dagbok.keeps}>{(dag) => <A class="pair" href={dagPath(dag)}>{dag}</A>}</For></p></Show>
                <pre class="value" tabindex="0" role="region" aria-label={`Traceback of ${one.filename}`}>{one.stack_trace}</pre>
              </article>
            )}
          </For>
        )}
      </Read>
      <Show when={(page.latest?.total_entries ?? 0) > PAGE ? page.latest : undefined}>{(it) => <div class="foot"><Pages from={it().from} shown={it().import_errors.length} total={it().total_entries} size={PAGE} below /></div>}</Show>
    </>
  );
}
