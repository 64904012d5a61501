/** The places of what an installation runs on. */
import { A } from "@solidjs/router";
import { For } from "solid-js";
import { act, Buttons, Dialog, open } from "../acts";
import { send } from "../base";

const close = () => open(undefined);
const PLACES = [["/pools", "Pools"], ["/executors", "Executors"], ["/connections", "Connections"], ["/variables", "Variables"], ["/import_errors", "Import errors"], ["/health", "Health"], ["/audit", "Audit"]] as const;

export function Places(props: { here: string }) {
  return (
    <nav class="tabs" aria-label="Operate">
      <For each={PLACES}>{([path, name]) => <A href={path} aria-current={props.here === path ? "page" : undefined} class={props.here === path ? "on" : ""}>{name}</A>}</For>
    </nav>
  );
}

/** Deletes something by its name. */
export function Delete(props: { what: string; name: string; path: string; says: string[]; then?: () => void }) {
  const go = async () => {
    close();
    await act(`Delete the ${props.what} ${props.name}`, () => send("DELETE", props.path));
    props.then?.();
  };
  return (
    <Dialog title={`Delete the ${props.what} ${props.name}`} close={close}>
      <ul class="consequences"><For each={props.says}>{(one) => <li>{one}</li>}</For></ul>
      <Buttons yes="Delete it" danger go={() => void go()} />
    </Dialog>
  );
}
