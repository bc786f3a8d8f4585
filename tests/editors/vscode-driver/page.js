// What a test reads off the screen; runs in VS Code's window.

window.seen = {
  hasFocus() {
    return !!document.activeElement?.closest(".monaco-editor");
  },

  /** Wait until all is done that was put off until now: first asked, first done. */
  async idle() {
    for (let round = 0; round < 2; round++) {
      await new Promise((resolve) => requestIdleCallback(resolve));
    }
  },

  /** The ghost text: its first line stands in the cursor's, the rest below it. */
  ghost() {
    const text = (node) => node.textContent.replaceAll("\u00a0", " ");
    const all = (where) => [...document.querySelectorAll(where)].map(text);
    const first = all("[class*='ghost-text-decoration']").join("");
    const below = all(".suggest-preview-text .view-line");
    return [first, ...below].join("\n").replace(/^\n$/, "");
  },

  /** The text of the line that holds ghost text, with it. */
  ghostLine() {
    const line = document.querySelector("[class*='ghost-text-decoration']")?.closest(".view-line");
    return line?.textContent.replaceAll("\u00a0", " ") ?? "";
  },

  /** Note every different ghost line that is painted from now on, until `stop()`. */
  watch() {
    const lines = new Set();
    let watching = true;
    const look = () => {
      lines.add(window.seen.ghostLine());
      if (watching) requestAnimationFrame(look);
    };
    look();
    window.seen.stop = () => {
      watching = false;
      lines.delete("");
      return [...lines];
    };
  },

  /** Have `time` be the milliseconds from the next key to a frame with ghost text. */
  timeNextKey() {
    window.seen.time = new Promise((resolve) => {
      const onKey = (event) => {
        const look = () => {
          if (window.seen.ghost() === "") requestAnimationFrame(look);
          else resolve(performance.now() - event.timeStamp);
        };
        requestAnimationFrame(look);
      };
      window.addEventListener("keydown", onKey, { capture: true, once: true });
    });
  },
};
