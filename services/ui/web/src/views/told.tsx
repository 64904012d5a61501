/** Who was told of a run: every alert that is or was about it, each with its ledger. */
import { For } from "solid-js";
import { get, part, type Shapes } from "../base";
import { kept, seq } from "../live";
import { Nothing, Read, Told } from "../parts";
import { Ledger } from "./alerts";

/** How often it is asked for: alerts have a log of their own. */
const AGAIN_MS = 3_000;

export function ToldOf(props: { dag: string; run: string; told: Shapes["UiTold"] }) {
  const of = () => [props.dag, props.run];
  const page = kept(of, (signal) => get<Shapes["AlertCollection"]>(`dagbok/runs/${part(props.dag)}/${part(props.run)}/told`, undefined, signal), { key: "alert_id", whose: of, when: seq, every: AGAIN_MS });
  return (
    <>
      <p class="filter padded"><Told told={props.told} /></p>
      <Read of={page} what="Who was told can't be shown.">
        {(it) => <For each={it().alerts} fallback={<Nothing>No alert is or was about this run, so nobody was told of it.</Nothing>}>{(alert) => <Ledger alert={alert} full then={page.again} />}</For>}
      </Read>
    </>
  );
}
