// The application as one script and one style sheet, each named by what is in it.
import solid from "vite-plugin-solid";

export default {
  base: "./",
  plugins: [solid()],
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: false,
    rollupOptions: { input: "src/main.tsx" },
    manifest: true,
  },
};
