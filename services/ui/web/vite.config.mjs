// What the first page needs as one script and one style sheet, and a script for each view that is opened seldom, each
// named by what is in it. What a run's page shows is in the first one, the graph's layout apart: that page asks for a task and
// its log beside. What those share with the first page stays in its script, so that it is one request.
import solid from "vite-plugin-solid";

const LATER = /[\\/](marks|backfill|views[\\/](backfills|past|operate|secrets|assets|code|duty|python|usage))\.tsx?$|dagre|graphlib/;

export default {
  base: "./",
  plugins: [solid()],
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: false,
    rolldownOptions: {
      input: "src/main.tsx",
      output: { codeSplitting: { groups: [{ name: "app", test: (id) => !LATER.test(id) }] } },
    },
    manifest: true,
  },
};
