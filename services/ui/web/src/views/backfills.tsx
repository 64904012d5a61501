/** The backfills of a DAG. */
import { For, Show } from "solid-js";
import { askBackfill, askChange } from "../backfill";
import { A } from "@solidjs/router";
import { get, part, type Shapes } from "../base";
import { kept, seq } from "../live";
import { Beyond, dagPath, Nothing, Pages, Read, Time, useOffset } from "../parts";
import { short } from "../time";

type Backfill = Shapes["BackfillResponse"];
const PAGE = 50;

export default function Backfills(props: { dag: string; zone: string }) {
  const offset = useOffset(PAGE);
  const page = kept(
    () => [props.dag, offset()],
    async (signal) => {
      const from = offset();
      const found = await get<Shapes["BackfillCollection"]>("backfills", { dag_id: props.dag, limit: PAGE, offset: from, order_by: "-id" }, signal);
      // When the end is expected is said of one alone; a DAG has no more than one that is not over.
      const whole = (one: Backfill) => (one.dagbok.state === "running" ? get<Backfill>(`backfills/${part(String(one.id))}`, {}, signal) : one);
      return { ...found, backfills: await Promise.all(found.backfills.map(whole)), from };
    },
    { key: "id", whose: () => props.dag, when: seq, every: 5_000 },
  );
  const ask = () => askBackfill(props.dag, props.zone, undefined, undefined, page.again);
  const change = (one: Backfill, verb: "pause" | "unpause" | "cancel") => askChange(one, verb, page.again);
  const runs = (one: Backfill) => `${dagPath(props.dag)}/runs?${new URLSearchParams({ dates_from: one.from_date, dates_to: one.to_date })}`;
  const left = (one: Backfill) => ["running", "paused"].includes(one.dagbok.state);
  return (
    <>
      <div class="filter padded"><button type="button" onClick={ask}>Backfill…</button><span class="dim">makes the runs of past dates, or lets them run again</span><Show when={page.latest}>{(it) => <Pages from={it().from} shown={it().backfills.length} total={it().total_entries} size={PAGE} words={["newer", "older"]} />}</Show></div>
      <Read of={page} what="The backfills can't be shown.">
        {(it) => (
          <Show when={it().backfills.length} fallback={it().total_entries ? <Beyond total={it().total_entries} size={PAGE} /> : <Nothing>Nobody has asked for a backfill of it.</Nothing>}>
            <table class="list">
              <thead><tr><th scope="col">No.</th><th scope="col">State</th><th scope="col">Dates</th><th scope="col">How far</th><th scope="col">Asked for</th><th scope="col">End</th><th scope="col"><span class="unseen">Acts</span></th></tr></thead>
              <tbody>
                <For each={it().backfills}>
                  {(one) => (
                    <tr data-row>
                      <td>{one.id}</td>
                      <td title={one.dagbok.message}>{one.dagbok.state}</td>
                      <td><A class="go" href={runs(one)} title="the runs of these dates">{short(one.from_date)} to {short(one.to_date)}</A></td>
                      <td><Progress of={one.dagbok} /></td>
                      <td><Time at={one.created_at} full /> <span class="dim">by {one.dagbok.created_by}{one.dagbok.reason ? `: ${one.dagbok.reason}` : ""}</span></td>
                      <td><Show when={one.completed_at} fallback={<Show when={one.dagbok.expected} fallback={<span class="dim">–</span>}>{(end) => <span class="dim">about <Time at={end().p50} full /></span>}</Show>}>{(end) => <Time at={end()} full />}</Show></td>
                      <td class="acts">
                        <Show when={left(one)}>
                          <button type="button" class="small" onClick={() => change(one, one.is_paused ? "unpause" : "pause")}>{one.is_paused ? "Let go on" : "Pause"}</button>
                          <button type="button" class="small" onClick={() => change(one, "cancel")}>Cancel</button>
                        </Show>
                      </td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
            <Show when={it().total_entries > PAGE}><div class="foot"><Pages from={it().from} shown={it().backfills.length} total={it().total_entries} size={PAGE} words={["newer", "older"]} below /></div></Show>
          </Show>
        )}
      </Read>
    </>
  );
}

function Progress(props: { of: Backfill["dagbok"] }) {
  const parts = (): [string, number, string][] => [
    ["done", props.of.done, "done"],
    ["failed", props.of.failed, "failed"],
    ["running", props.of.running, "running"],
    ["waiting", props.of.queued, "waiting"],
    ["notrun", Object.values(props.of.skipped).reduce((sum, count) => sum + count, 0), "passed over"],
  ];
  /** Where somebody cancelled it: what nobody comes back to. */
  const never = () => props.of.total - props.of.left - parts().reduce((sum, [, count]) => sum + count, 0);
  const words = () => [...parts(), ["", props.of.left, "to come"] as const, ["", never(), "never begun"] as const].filter(([, count]) => count > 0).map(([, count, word]) => `${count} ${word}`).join(", ");
  return (
    <span class="progress">
      <span class="stack" aria-hidden="true"><For each={parts()}>{([family, count]) => <i class={family} style={{ width: `${(100 * count) / Math.max(1, props.of.total)}%` }} />}</For></span>
      <span>{words()}</span>
    </span>
  );
}
