/** Runs over all DAGs, or of one. */
import { A, useSearchParams } from "@solidjs/router";
import { For, Show } from "solid-js";
import { get, part, type Query, type Shapes } from "../base";
import { kept, pulse, seq } from "../live";
import { search } from "../search";
import { stands } from "../states";
import { Beyond, Crumbs, dagPath, Mark, Nothing, Pages, Read, runPath, Time, useOffset } from "../parts";
import { between, length, short } from "../time";

const PAGE = 50;
const STATES = ["running", "queued", "failed", "cancelled", "success"];

export default function RunsView() {
  pulse();
  return (
    <>
      <Crumbs of={[{ text: "Runs" }]} />
      <RunList />
    </>
  );
}

export function RunList(props: { dag?: string }) {
  const [query, setQuery] = useSearchParams<{ state?: string; q?: string; page?: string; end_date_gte?: string; before?: string; dates_from?: string; dates_to?: string }>();
  const offset = useOffset(PAGE);
  const words = () => search(query.q ?? "");
  const asked = (): Query => ({ limit: PAGE, offset: offset(), order_by: "-run_after", ...(query.state ? { state: query.state } : {}), end_date_gte: query.end_date_gte, logical_date_gte: query.dates_from, logical_date_lte: query.dates_to, ...words().query, ...(query.before ? { run_after_lte: query.before } : {}) });
  const page = kept(
    // What is asked of "the last seven days" is another at every moment.
    () => [props.dag, query],
    async (signal) => {
      const from = offset();
      const found = await get<Shapes["RunCollection"]>(`dags/${props.dag ? part(props.dag) : "~"}/dagRuns`, asked(), signal);
      // Runs of two DAGs may have the same id.
      return { ...found, from, dag_runs: found.dag_runs.map((run) => ({ ...run, row: `${run.dag_id}/${run.dag_run_id}` })) };
    },
    { key: "row", whose: () => props.dag, when: seq, every: 5_000 },
  );
  /** Another list is looked at from its begin on. */
  const put = (to: { state?: string | null; q?: string | null; end_date_gte?: null; dates_from?: null; dates_to?: null }) => setQuery({ ...to, page: null, before: null });
  const further = (to: string) => setQuery({ before: to, page: null });
  return (
    <>
      <div class="filter padded">
        <For each={STATES}>
          {(one) => <button type="button" class="chip" aria-pressed={query.state === one} onClick={() => put({ state: query.state === one ? null : one })}>{one}</button>}
        </For>
        <Show when={query.end_date_gte}>
          {(since) => <button type="button" class="chip" aria-pressed="true" title="show those that ended before, too" onClick={() => put({ end_date_gte: null })}>ended since {short(since())} ×</button>}
        </Show>
        <Show when={query.dates_from && query.dates_to}>
          <button type="button" class="chip" aria-pressed="true" title="show those of other dates, too" onClick={() => put({ dates_from: null, dates_to: null })}>dates from {short(query.dates_from ?? "")} to {short(query.dates_to ?? "")} ×</button>
        </Show>
        <Show when={query.before}>
          {(before) => <button type="button" class="chip" aria-pressed="true" title="begin with the newest again" onClick={() => setQuery({ before: null, page: null })}>due up to {short(before())} ×</button>}
        </Show>
        <input type="search" aria-label="Find runs" class="wide" placeholder="state:failed dag:reco* since:7d lr=0.001 nov 19, or part of an id" value={query.q ?? ""} onChange={(event) => put({ q: event.currentTarget.value || null })} />
        <Show when={page.latest}>{(it) => <Pages from={it().from} shown={it().dag_runs.length} total={it().total_entries} size={PAGE} least={!it().dagbok?.total_is_exact} words={["newer", "older"]} />}</Show>
      </div>
      <Show when={words().odd.length}><p class="note padded">Not understood: {words().odd.join(", ")}. There are state:, dag:, type:, by:, id:, since: and until: (7d, 12h, 2026-11-19), name=value of what a run was given, and days as nov 19.</p></Show>
      <Read of={page} what="The runs can't be shown.">
        {(it) => (
          <Show when={it().dag_runs.length} fallback={<Nothing>{it().dagbok?.complete === false ? <Broken of={it()} go={further} none /> : it().total_entries ? <Beyond total={it().total_entries} size={PAGE} /> : query.state || query.q || query.end_date_gte || query.before || query.dates_from ? <>No run is like that. <button type="button" class="link" onClick={() => put({ state: null, q: null, end_date_gte: null, dates_from: null, dates_to: null })}>Show all</button></> : "There is no run yet."}</Nothing>}>
            <table class="list">
              <thead><tr><th scope="col">State</th><Show when={!props.dag}><th scope="col">DAG</th></Show><th scope="col">Run</th><th scope="col">Type</th><th scope="col">Began</th><th scope="col" class="num">Took</th><th scope="col">Failed</th><th scope="col">By</th></tr></thead>
              <tbody>
                <For each={it().dag_runs}>
                  {(run) => (
                    <tr data-row>
                      <td><Mark state={stands(run.state, run.dagbok.ended)} word /></td>
                      <Show when={!props.dag}><td class="name"><A href={dagPath(run.dag_id)}>{run.dag_id}</A></td></Show>
                      <td class="name"><A href={runPath(run.dag_id, run.dag_run_id)} title={run.dag_run_id}>{short(run.logical_date ?? run.run_after)}</A><Show when={run.partition_key}> <code class="pair" title="the partition that it is for">{run.partition_key}</code></Show></td>
                      <td><Show when={run.dagbok.backfill_id} fallback={run.run_type.replaceAll("_", " ")}>{(id) => <>{run.run_type === "backfill" ? "" : `${run.run_type.replaceAll("_", " ")}, `}<A href={`${dagPath(run.dag_id)}/backfills`}>backfill {id()}</A></>}</Show></td>
                      <td><Time at={run.start_date ?? undefined} full /></td>
                      <td class="num">{run.start_date ? length(between(run.start_date, run.end_date ?? undefined) ?? 0) : "–"}</td>
                      <td class="clip">{run.dagbok.failed_tasks.join(", ") || ""}</td>
                      <td>{run.triggering_user_name ?? run.triggered_by}</td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
            <div class="foot">
              <Pages from={it().from} shown={it().dag_runs.length} total={it().total_entries} size={PAGE} least={!it().dagbok?.total_is_exact} words={["newer", "older"]} below />
              <Show when={it().dagbok?.complete === false}><span class="dim"><Broken of={it()} go={further} /></span></Show>
            </div>
          </Show>
        )}
      </Read>
    </>
  );
}

/** That not all runs were looked through, how far back that was, and the way on. */
function Broken(props: { of: { dagbok?: Shapes["RunListExtra"] }; go: (to: string) => void; none?: boolean }) {
  const to = () => props.of.dagbok?.looked_to;
  return (
    <>
      {props.none ? "No run is like that among the 2,000 that were looked through" : "2,000 runs were looked through"}
      <Show when={to()} fallback=": ask for less, such as one DAG or a state.">
        {(at) => <>, back to {short(at())}. <button type="button" class="link" onClick={() => props.go(at())}>Look at older ones</button></>}
      </Show>
    </>
  );
}
