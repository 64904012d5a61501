// What the first page needs as one script and one style sheet, and a script for each view that is opened seldom, each
// named by what is in it. What those share with the first page stays in its script, so that it is one request.
import solid from "vite-plugin-solid";

const LATER = /[\\/](graph[\\/]\w+|marks|backfill|views[\\/](backfills|past|operate|secrets|assets|code|duty|python|table))\.tsx?$|dagre|graphlib/;

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
