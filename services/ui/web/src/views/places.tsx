/** The places of what an installation runs on. */
import { A } from "@solidjs/router";
import { For } from "solid-js";

const PLACES = [["/pools", "Pools"], ["/executors", "Executors"], ["/connections", "Connections"], ["/variables", "Variables"], ["/import_errors", "Import errors"], ["/health", "Health"], ["/audit", "Audit"]] as const;

export function Places(props: { here: string }) {
  return (
    <nav class="tabs" aria-label="Operate">
      <For each={PLACES}>{([path, name]) => <A href={path} aria-current={props.here === path ? "page" : undefined} class={props.here === path ? "on" : ""}>{name}</A>}</For>
    </nav>
  );
}
