/** Assets: what tasks make, who waits for it, and what came. */
import { A, useSearchParams } from "@solidjs/router";
import { For, Show } from "solid-js";
import { get, type Shapes } from "../base";
import { kept, pulse, seq } from "../live";
import { Beyond, Crumbs, dagPath, Nothing, Pages, Read, runPath, taskPath, Time, useOffset } from "../parts";

const PAGE = 100;
/** Events of an asset that are shown at first, and how many more each time; no answer has more than the last of them. */
const EVENTS = 50;
const MOST = 1_000;

export default function AssetsView() {
  pulse();
  const [query, setQuery] = useSearchParams<{ q?: string; asset?: string; page?: string; events?: string }>();
  const offset = useOffset(PAGE);
  const page = kept(
    () => [query.q, offset()],
    async (signal) => {
      const from = offset();
      return { ...(await get<Shapes["AssetCollection"]>("assets", { limit: PAGE, offset: from, name_pattern: query.q }, signal)), from };
    },
    { key: "id", when: seq },
  );
  const wanted = () => Math.min(MOST, Math.max(EVENTS, Number(query.events ?? EVENTS) || EVENTS));
  const events = kept(
    () => query.asset && [query.asset, wanted()],
    (signal) => get<Shapes["AssetEventCollection"]>("assets/events", { asset_id: query.asset, order_by: "-timestamp", limit: wanted() }, signal),
    { key: "id", whose: () => query.asset, when: () => page.latest?.assets.find((one) => String(one.id) === query.asset)?.last_asset_event?.id },
  );
  return (
    <>
      <Crumbs of={[{ text: "Assets" }]} />
      <div class="filter padded"><input type="search" aria-label="Find assets by name" placeholder="part of a name" value={query.q ?? ""} onChange={(event) => setQuery({ q: event.currentTarget.value || null, page: null })} /><Show when={page.latest}>{(it) => <Pages from={it().from} shown={it().assets.length} total={it().total_entries} size={PAGE} />}</Show></div>
      <Read of={page} what="The assets can't be shown.">
        {(it) => (
          <Show when={it().assets.length} fallback={it().total_entries ? <Beyond total={it().total_entries} size={PAGE} /> : <Nothing>{query.q ? "No asset is called so." : "No DAG makes an asset or waits for one."}</Nothing>}>
            <table class="list">
              <thead><tr><th scope="col">Asset</th><th scope="col">Made by</th><th scope="col">Read by</th><th scope="col">Waited for by</th><th scope="col">Came last</th></tr></thead>
              <tbody>
                <For each={it().assets}>
                  {(asset) => (
                    <tr data-row classList={{ chosen: query.asset === String(asset.id) }}>
                      <td class="name"><A noScroll href={`?${new URLSearchParams({ ...(query.q ? { q: query.q } : {}), ...(query.page ? { page: query.page } : {}), asset: String(asset.id) })}`} title={asset.uri}>{asset.name}</A><Show when={asset.uri !== asset.name}><div class="dim clip">{asset.uri}</div></Show></td>
                      <td><For each={asset.producing_tasks} fallback={<span class="dim">no task</span>}>{(one) => <A class="pair" href={dagPath(one.dag_id)}>{one.dag_id}.{one.task_id}</A>}</For></td>
                      <td><For each={asset.consuming_tasks} fallback={<span class="dim">no task</span>}>{(one) => <A class="pair" href={dagPath(one.dag_id)}>{one.dag_id}.{one.task_id}</A>}</For></td>
                      <td><For each={asset.scheduled_dags} fallback={<span class="dim">no DAG</span>}>{(one) => <A class="pair" href={dagPath(one.dag_id)}>{one.dag_id}</A>}</For></td>
                      <td><Time at={asset.last_asset_event?.timestamp} ago /></td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
            <Show when={it().total_entries > PAGE}><div class="foot"><Pages from={it().from} shown={it().assets.length} total={it().total_entries} size={PAGE} below /></div></Show>
          </Show>
        )}
      </Read>
      <Show when={query.asset ? events.latest : undefined}>
        {(it) => (
          <section class="padded" aria-label="Events of the asset">
            <h2>What came <span class="count">{it().total_entries.toLocaleString("en")}</span></h2>
            <Show when={it().asset_events.length} fallback={<Nothing>Nothing has come yet.</Nothing>}>
              <table class="list">
                <thead><tr><th scope="col">When</th><th scope="col">Partition</th><th scope="col">From</th><th scope="col">Made runs</th><th scope="col">Extra</th></tr></thead>
                <tbody>
                  <For each={it().asset_events}>
                    {(event) => (
                      <tr>
                        <td><Time at={event.timestamp} full /></td>
                        <td><Show when={event.partition_key} fallback={<span class="dim">–</span>}><code>{event.partition_key}</code></Show></td>
                        <td><Show when={event.source_dag_id && event.source_run_id && event.source_task_id} fallback={<span class="dim">somebody, by hand</span>}><A href={taskPath(event.source_dag_id ?? "", event.source_run_id ?? "", event.source_task_id ?? "", event.source_map_index)}>{event.source_dag_id}.{event.source_task_id}</A></Show></td>
                        <td><For each={event.created_dagruns} fallback={<span class="dim">none yet</span>}>{(run) => <A class="pair" href={runPath(run.dag_id, run.run_id)}>{run.dag_id}</A>}</For></td>
                        <td class="clip"><code>{JSON.stringify(event.extra)}</code></td>
                      </tr>
                    )}
                  </For>
                </tbody>
              </table>
              <Show when={it().total_entries > it().asset_events.length}>
                <p class="foot dim">The newest {it().asset_events.length.toLocaleString("en")} of {it().total_entries.toLocaleString("en")}. <Show when={wanted() < MOST} fallback="Older ones stand in the audit.">
                  <button type="button" class="link" onClick={() => setQuery({ events: String(Math.min(MOST, wanted() + 4 * EVENTS)) }, { replace: true })}>Show more</button></Show></p>
              </Show>
            </Show>
          </section>
        )}
      </Show>
    </>
  );
}
