/** Assets: what tasks make, who waits for it, and what came. */
import { A, useSearchParams } from "@solidjs/router";
import { For, Show } from "solid-js";
import { get, type Shapes } from "../base";
import { kept, pulse, seq } from "../live";
import { Crumbs, dagPath, Nothing, Read, runPath, taskPath, Time } from "../parts";

const PAGE = 100;

export default function AssetsView() {
  pulse();
  const [query, setQuery] = useSearchParams<{ q?: string; asset?: string }>();
  const page = kept(() => [query.q], (signal) => get<Shapes["AssetCollection"]>("assets", { limit: PAGE, name_pattern: query.q }, signal), { key: "id", when: seq });
  const events = kept(
    () => query.asset,
    (signal) => get<Shapes["AssetEventCollection"]>("assets/events", { asset_id: query.asset, order_by: "-timestamp", limit: 50 }, signal),
    { key: "id", whose: () => query.asset, when: () => page.latest?.assets.find((one) => String(one.id) === query.asset)?.last_asset_event?.id },
  );
  return (
    <>
      <Crumbs of={[{ text: "Assets" }]} />
      <div class="filter padded"><input type="search" aria-label="Find assets by name" placeholder="part of a name" value={query.q ?? ""} onChange={(event) => setQuery({ q: event.currentTarget.value || null })} /></div>
      <Read of={page} what="The assets can't be shown.">
        {(it) => (
          <Show when={it().assets.length} fallback={<Nothing>{query.q ? "No asset is called so." : "No DAG makes an asset or waits for one."}</Nothing>}>
            <table class="list">
              <thead><tr><th scope="col">Asset</th><th scope="col">Made by</th><th scope="col">Read by</th><th scope="col">Waited for by</th><th scope="col">Came last</th></tr></thead>
              <tbody>
                <For each={it().assets}>
                  {(asset) => (
                    <tr data-row classList={{ chosen: query.asset === String(asset.id) }}>
                      <td class="name"><A href={`?${new URLSearchParams({ ...(query.q ? { q: query.q } : {}), asset: String(asset.id) })}`} title={asset.uri}>{asset.name}</A><Show when={asset.uri !== asset.name}><div class="dim clip">{asset.uri}</div></Show></td>
                      <td><For each={asset.producing_tasks} fallback={<span class="dim">no task</span>}>{(one) => <A class="pair" href={dagPath(one.dag_id)}>{one.dag_id}.{one.task_id}</A>}</For></td>
                      <td><For each={asset.consuming_tasks} fallback={<span class="dim">no task</span>}>{(one) => <A class="pair" href={dagPath(one.dag_id)}>{one.dag_id}.{one.task_id}</A>}</For></td>
                      <td><For each={asset.scheduled_dags} fallback={<span class="dim">no DAG</span>}>{(one) => <A class="pair" href={dagPath(one.dag_id)}>{one.dag_id}</A>}</For></td>
                      <td><Time at={asset.last_asset_event?.timestamp} ago /></td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
            <Show when={it().total_entries > it().assets.length}><p class="foot dim">The first {it().assets.length} of {it().total_entries.toLocaleString("en")}.</p></Show>
          </Show>
        )}
      </Read>
      <Show when={query.asset ? events.latest : undefined}>
        {(it) => (
          <section class="padded" aria-label="Events of the asset">
            <h2>What came <span class="count">{it().total_entries}</span></h2>
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
            </Show>
          </section>
        )}
      </Show>
    </>
  );
}
