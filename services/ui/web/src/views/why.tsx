/** Why something waits: one sentence, then all that keeps it. */
import { A } from "@solidjs/router";
import { For, Show } from "solid-js";
import { get, part, type Shapes } from "../base";
import { kept } from "../live";
import { Read, taskPath, Time } from "../parts";
import { length, near } from "../time";

type Answer = Shapes["WhyAnswer"];

export function Why(props: { dag: string; run?: string; task?: string; map?: number; key: unknown }) {
  const answer = kept(
    () => [props.dag, props.run, props.task, props.map],
    (signal) => {
      const base = props.run ? `dagbok/runs/${part(props.dag)}/${part(props.run)}` : `dagbok/dags/${part(props.dag)}`;
      const path = props.task ? `${base}/tasks/${part(props.task)}/why` : `${base}/why`;
      return get<Answer>(path, props.task && (props.map ?? -1) >= 0 ? { map_index: props.map } : {}, signal);
    },
    { whose: () => [props.dag, props.run, props.task, props.map], when: () => props.key, apart: 500 },
  );
  return (
    <div class="why">
      <Read of={answer} what="Why it stands so is not known.">
        {(it) => (
          <>
            <p class="says"><Said text={it().message} /></p>
            <Show when={it().expected}>{(expected) => <p>Expected <Time at={expected().p50} />{near(expected().p90) === near(expected().p50) ? "" : `, at the latest ${near(expected().p90)} in nine of ten cases`}{expected().of ? `, by ${expected().of} earlier tries` : ""}.</p>}</Show>
            {/* One reason that the sentence has said already is not said twice. */}
            <Show when={!(it().is.reasons.length === 1 && it().message.endsWith(it().is.reasons[0]?.message ?? "") && !it().is.reasons[0]?.holders.length)}><Piece dag={it().dag_id} run={it().dag_run_id ?? undefined} piece={it().is} /></Show>
            <For each={it().roots}>{(root) => <Piece dag={it().dag_id} run={it().dag_run_id ?? undefined} piece={root} named />}</For>
            <p class="dim">As of <Time at={it().at} />, by the {it().by}{it().seq ? ` · seq ${it().seq}` : ""}</p>
          </>
        )}
      </Read>
    </div>
  );
}

/** A sentence of the rules: the instants in it as the page has instants. */
function Said(props: { text: string }) {
  const parts = () => props.text.split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:[\d.]+Z)/);
  return <For each={parts()}>{(one, at) => (at() % 2 ? <Time at={one} full /> : one)}</For>;
}

function Piece(props: { dag: string; run: string | undefined; piece: Shapes["WhyPiece"]; named?: boolean }) {
  return (
    <Show when={props.piece.reasons.length || props.named}>
      <ul class="reasons">
        <Show when={props.named && props.piece.task_id}>
          {(task) => <li class="of"><A href={taskPath(props.dag, props.run ?? "", task(), props.piece.map_index)}>{task()}{props.piece.map_index >= 0 ? `[${props.piece.map_index}]` : ""}</A> <span class="dim">{props.piece.state.replaceAll("_", " ")}{props.piece.since ? ` since ${near(props.piece.since)}` : ""}</span></li>}
        </Show>
        <For each={props.piece.reasons}>
          {(reason) => (
            <li>
              <Said text={reason.message} />
              <For each={reason.holders}>
                {(holder) => (
                  <div class="holder">
                    held by <A href={taskPath(holder.dag_id, holder.dag_run_id, holder.task_id, holder.map_index)}>{holder.dag_id} · {holder.task_id}</A>
                    <Show when={holder.since}>{(since) => <span class="dim"> for {length((Date.now() - Date.parse(since())) / 1_000)}</span>}</Show>
                  </div>
                )}
              </For>
            </li>
          )}
        </For>
      </ul>
    </Show>
  );
}
