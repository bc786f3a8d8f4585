/** The item in the status bar. */

import { type Disposable, StatusBarAlignment, ThemeColor, window } from "vscode";
import { SECTION } from "./settings.ts";
import { describe, type View } from "./view.ts";

// Right of the cursor's place and the language, where such items stand.
const PRIORITY = 90;

export class StatusItem implements Disposable {
  readonly #item = window.createStatusBarItem(
    `${SECTION}.status`,
    StatusBarAlignment.Right,
    PRIORITY,
  );

  constructor() {
    this.#item.name = "lsp-stablecode";
    this.#item.command = `${SECTION}.showMenu`;
    this.#item.show();
  }

  /** Show what there is to say. */
  show(view: View): void {
    const { text, tooltip, severity } = describe(view, timeOfDay);
    this.#item.text = text;
    // Not Markdown, which paths and messages of others are not written in.
    this.#item.tooltip = `lsp-stablecode\n\n${tooltip}`;
    this.#item.accessibilityInformation = {
      label: `lsp-stablecode: ${tooltip.split("\n", 1)[0]}`,
    };
    this.#item.backgroundColor =
      severity === "none"
        ? undefined
        : new ThemeColor(`statusBarItem.${severity}Background`);
  }

  dispose(): void {
    this.#item.dispose();
  }
}

function timeOfDay(timeMs: number): string {
  return new Date(timeMs).toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
  });
}
