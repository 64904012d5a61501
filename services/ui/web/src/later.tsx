/** Parts of the application that are loaded when they are asked for, and what is said where one can't be. */
import { type Component, createSignal, type JSX, lazy, Show } from "solid-js";

const [gone, setGone] = createSignal(false);

/** Loads a part and does something with it. Where it does not come the page says so, once. */
export async function later<T>(load: () => Promise<T>, go: (it: T) => unknown): Promise<void> {
  let it: T;
  try {
    it = await load();
  } catch {
    setGone(true);
    return;
  }
  await go(it);
}

/** A view that is loaded when it is first drawn. */
export function view<M, P extends Record<string, any>>(load: () => Promise<M>, pick: (it: M) => Component<P>): Component<P> {
  return lazy(async () => {
    try {
      return { default: pick(await load()) };
    } catch {
      setGone(true);
      return { default: Absent as Component<P> };
    }
  });
}
const Absent = (): JSX.Element => <p class="nothing">It can't be shown until the page is loaded again.</p>;

/** That a part did not come: this page is of another version than the server, or the server is away. Nothing loads the page again by itself: it might do so for ever. */
export function Gone() {
  return (
    <Show when={gone()}>
      <div class="upgraded" role="alert">
        <span>A part of this page can't be loaded: Dagbok was upgraded since the page was opened, or can't be reached.</span>
        <button type="button" class="small" onClick={() => location.reload()}>Load the page again</button>
        <button type="button" class="link" onClick={() => setGone(false)}>not now</button>
      </div>
    </Show>
  );
}
